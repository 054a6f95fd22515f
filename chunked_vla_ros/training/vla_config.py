"""The options of the network; each default and bound has its home here. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter

COMPACT, EFFICIENTNET, TRANSFORMERS = BACKBONES = (
    'compact', 'efficientnet_lite0', 'transformers')


@dataclass(frozen=True)
class VlaConfig:
    """The network: a backbone that sees and reads, an action expert that answers."""

    backbone: str = parameter(
        COMPACT, 'what sees the images and reads the instruction', choices=BACKBONES)
    model_path: str = parameter(
        '', 'folder of the vision-language model, for the backbone `transformers`')
    pretrained: bool = parameter(True, 'start from published weights, where the backbone has some')
    lora_rank: int = parameter(
        0, 'rank of LoRA matrices, for the backbone `transformers`; 0: every weight is trained',
        minimum=0, maximum=1024)
    shapes: bool = parameter(
        True, 'backbone `compact` sees shapes as well as where colours are; a few dozen scenes '
        'can be learnt by heart with them')
    still_cameras: tuple[str, ...] = parameter(
        (), 'cameras that stand still beside the arm: where to go is asked of them whatever the '
        'joints are, so that it cannot be copied from a motion under way')
    width: int = parameter(128, 'features of a token', minimum=8, maximum=4096)
    heads: int = parameter(4, 'attention heads; width must be a multiple', minimum=1, maximum=64)
    layers: int = parameter(2, 'transformer layers over all that is seen', minimum=0, maximum=64)
    expert_layers: int = parameter(3, 'layers of the action expert', minimum=1, maximum=64)
    flow_steps: int = parameter(
        10, 'Euler steps from noise to actions', minimum=1, maximum=100)
    noise_scale: float = parameter(
        1.0, 'share of the noise of training that a chunk starts from when it acts; 0: always the '
        'same plan for what is seen, the smoothest, in the middle of what was demonstrated',
        minimum=0.0, maximum=1.0)
