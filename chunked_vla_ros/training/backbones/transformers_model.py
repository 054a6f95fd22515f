"""
The backbone of large models: a vision-language model of Hugging Face, from a local folder.

Trained whole, or by low-rank matrices beside its frozen layers (LoRA, Hu et al. 2021). Which
models are known is one table here; what each does with pictures and words is its own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from chunked_vla_ros.training.backbones.backbone import Seen
from chunked_vla_ros.training.backbones.dual_encoder import DualEncoderReader
from chunked_vla_ros.training.backbones.image_features import channels_first
from chunked_vla_ros.training.backbones.kosmos2 import Kosmos2Reader
from chunked_vla_ros.training.backbones.model_folder import INSTALL, ModelFolder, read_folder
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig

# By the name that transformers has for the architecture.
READERS: Mapping[str, type[Kosmos2Reader] | type[DualEncoderReader]] = {
    'kosmos-2': Kosmos2Reader, 'clip': DualEncoderReader, 'siglip': DualEncoderReader}


class TransformersBackbone(nn.Module):
    """
    Pictures and tokens through a vision-language model to context tokens.

    With ``pretrained`` false its weights are random, or about to be filled from a checkpoint,
    which holds all of them; config.json of the folder is needed all the same.

    :raises ValueError: one line, if the folder is none, its model not known or not fitting, or if
        there is no camera.
    """

    places = 0
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: VlaConfig, shape: PolicyShape) -> None:
        super().__init__()
        if not shape.cameras:
            raise ValueError(
                'policy.backbone transformers needs a camera, there is none: name data that have '
                'one of the contract, or set policy.backbone=compact')
        folder = read_folder(config.model_path)
        if folder.kind not in READERS:
            raise ValueError(
                f'{folder.path}: the architecture {folder.kind} is not known here; known: '
                f'{", ".join(READERS)}')
        check_words(folder, shape)
        self.reader = READERS[folder.kind](
            folder.model(config.pretrained), folder, len(shape.cameras), config.width)
        if config.lora_rank:
            add_lora(self.reader.model, config.lora_rank)
        self.train(self.training)
        self._size = folder.image_size
        self.register_buffer('mean', torch.tensor(folder.mean))
        self.register_buffer('std', torch.tensor(folder.std))

    def train(self, mode: bool = True) -> TransformersBackbone:
        """
        Switch to training, but leave the model as at inference.

        Its dropout would draw numbers that differ with the number of processes and after a resume;
        gradients flow as before.
        """
        super().train(mode)
        self.reader.model.eval()
        return self

    def forward(self, images: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor) -> Seen:
        """Return context and mask as `Backbone` says."""
        context, mask = self.reader(
            [self._picture(image) for image in images], present, tokens, tokens_mask)
        return Seen(context, mask)

    def _picture(self, image: torch.Tensor) -> torch.Tensor:
        """
        Return (B, 3, height, width) as the model saw its pictures.

        The whole image, stretched where its sides differ: nothing of the scene is cut off.
        """
        x = channels_first(image, max(self._size))
        if x.shape[-2:] != self._size:
            x = nn.functional.interpolate(
                x, size=self._size, mode='bilinear', align_corners=False)
        return (x - self.mean[:, None, None]) / self.std[:, None, None]


def check_words(folder: ModelFolder, shape: PolicyShape) -> None:
    """
    Hold the tokens of the policy against the text model in ``folder``.

    :raises ValueError: one line, if it cannot read them.
    """
    text = folder.config.text_config
    if shape.vocabulary > text.vocab_size:
        raise ValueError(
            f'{folder.path}: tokenizer.json has {shape.vocabulary} tokens, the model knows '
            f'{text.vocab_size}; take the tokenizer that came with the model')
    if shape.token_length > text.max_position_embeddings:
        raise ValueError(
            f'token_length is {shape.token_length}, {folder.kind} in {folder.path} reads at most '
            f'{text.max_position_embeddings}')


def add_lora(model: nn.Module, rank: int) -> None:
    """
    Freeze ``model`` and put trainable matrices of ``rank`` beside each of its linear layers.

    They start as no change (one of each pair is zero), are scaled by 1, and drop nothing out.

    :raises ValueError: one line, if peft is not installed.
    """
    try:
        from peft import inject_adapter_in_model, LoraConfig
    except ImportError as error:
        raise ValueError(
            f'lora_rank {rank} needs a package that is not installed ({error.name}); {INSTALL}, '
            'or set policy.lora_rank=0') from error
    # Layers that are trained if all is; the others get no gradient.
    layers = [name for name, layer in model.named_modules()
              if isinstance(layer, nn.Linear) and layer.weight.requires_grad]
    model.requires_grad_(False)
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=layers), model)
