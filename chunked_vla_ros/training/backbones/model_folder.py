"""
A vision-language model in a local folder: what it is, and its weights from safetensors only.

Nothing is fetched, no code of the folder is run, no pickle is opened. Knows nothing about what the
model is used for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

# Mean and standard deviation of the pictures that CLIP saw (Radford et al. 2021, its source), for
# a folder that does not name its own.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.pkl')
# Where a folder says how its pictures were normalised: by the present and the former name.
PROCESSOR_FILES = ('processor_config.json', 'preprocessor_config.json')
# With it transformers would look for another model, and for more files, elsewhere.
ADAPTER = 'adapter_config.json'
INSTALL = 'pip install -r requirements/hf.txt'
LOCAL: Mapping[str, Any] = {'local_files_only': True, 'trust_remote_code': False}


@dataclass(frozen=True)
class ModelFolder:
    """
    What a folder says of its model.

    :ivar path: The folder.
    :ivar config: Of transformers, by the model's own kind.
    :ivar mean: Of red, green, blue in 0..1, that the model's pictures are normalised by.
    :ivar std: Likewise.
    """

    path: Path
    config: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Return the architecture as transformers calls it, such as ``kosmos-2``."""
        return str(self.config.model_type)

    @property
    def image_size(self) -> tuple[int, int]:
        """Return height and width of the pictures that the model saw."""
        size = self.config.vision_config.image_size
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    def special_tokens(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of tokens that tokenizer.json adds; empty: it lacks one of them."""
        said = _json(self.path / 'tokenizer.json').get('added_tokens') or []
        added = {token['content']: int(token['id']) for token in said}
        return [added[name] for name in names] if set(names) <= set(added) else []

    def model(self, with_weights: bool) -> nn.Module:
        """
        Return the model, in float32.

        :param with_weights: ``False``: random ones, to be filled from a checkpoint.
        :raises ValueError: one line, if its weights are not there, damaged or not safetensors.
        """
        transformers = _library()
        # A bar for each file is for interactive use; what fails is told by us.
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        if not with_weights:
            fresh: nn.Module = transformers.AutoModel.from_config(
                self.config, trust_remote_code=False)
            return fresh.float()
        self._check_files()
        try:
            model, found = transformers.AutoModel.from_pretrained(
                self.path, config=self.config, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True, **LOCAL)
        except Exception as error:
            raise ValueError(
                f'{self.path}: its weights cannot be read: {_one_line(error)}; copy the folder '
                'again') from error
        missing = sorted(found['missing_keys'])
        if missing:
            raise ValueError(
                f'{self.path}: its files lack {len(missing)} of the weights of {self.kind}, such '
                f'as {missing[0]}; copy the folder again')
        loaded: nn.Module = model
        return loaded

    def _check_files(self) -> None:
        if (self.path / ADAPTER).exists():
            raise ValueError(f'{self.path} has {ADAPTER}: it holds an adapter, not a whole model; '
                             'merge the two and name the folder of the result')
        if any(self.path.glob('*.safetensors')):
            return
        pickles = sorted(path.name for pattern in PICKLES for path in self.path.glob(pattern))
        if pickles:
            raise ValueError(
                f'{self.path} has its weights in {pickles[0]}, a pickle, which may run any code '
                'and is never opened; get the model as *.safetensors')
        raise ValueError(f'{self.path} has no weights: no *.safetensors in it')


def read_folder(model_path: str) -> ModelFolder:
    """
    Return what the folder ``model_path`` says of its model.

    :raises ValueError: one line, if it is none, of a kind that would run its own code, or if
        transformers is not installed.
    """
    if not model_path:
        raise ValueError(
            'policy.model_path is empty, expected the folder of a vision-language model')
    path = Path(model_path)
    if not (path / 'config.json').is_file():
        raise ValueError(
            f'policy.model_path is {model_path!r}, expected a folder with config.json and '
            '*.safetensors (nothing is downloaded)')
    transformers = _library()
    try:
        config = transformers.AutoConfig.from_pretrained(path, **LOCAL)
    except Exception as error:
        raise ValueError(f'{path / "config.json"} names no model that transformers knows: '
                         f'{_one_line(error)}') from error
    said = _pictures(path)
    return ModelFolder(path, config, _three(said.get('image_mean'), CLIP_MEAN),
                       _three(said.get('image_std'), CLIP_STD))


def _library() -> Any:
    """Return transformers, whose import takes seconds."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f'the backbone transformers needs a package that is not installed ({error.name}); '
            f'{INSTALL}') from error
    return transformers


def _pictures(path: Path) -> dict[str, Any]:
    for name in PROCESSOR_FILES:
        said = _json(path / name)
        said = said.get('image_processor') or said
        if 'image_mean' in said:
            return said
    return {}


def _three(said: Any, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    if isinstance(said, list) and len(said) == len(otherwise):
        return tuple(float(value) for value in said)
    return otherwise


def _json(path: Path) -> dict[str, Any]:
    """Return what a file says; empty where there is none."""
    try:
        said = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f'{path} cannot be read: {_one_line(error)}') from error
    if not isinstance(said, dict):
        raise ValueError(f'{path} holds no JSON object')
    return said


def _one_line(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
