"""The options of imitation; each default and bound has its home here. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter


@dataclass(frozen=True)
class ImitationConfig:
    """How demonstrations are imitated."""

    flow_draws: int = parameter(
        4, 'noises and times drawn for each observation of a batch: the expert costs little '
        'beside the images', minimum=1, maximum=64)
    max_delay_steps: int = parameter(
        0, 'longest prefix of a chunk that is given as already committed (training-time real-time '
        'chunking); 0: the policy takes no prefix', minimum=0, maximum=99)
    emphasis: int = parameter(
        1, 'how often windows are shown that begin within 0.4 s of the start or of a turning '
        'point, for once that others are: there the way ahead must be seen', minimum=1,
        maximum=100)
    instruction_dropout: float = parameter(
        0.0, 'share of samples whose instruction is withheld', minimum=0.0, maximum=1.0)
    camera_dropout: float = parameter(
        0.0, 'share of images that are withheld; one camera is always left', minimum=0.0,
        maximum=1.0)
    state_dropout: float = parameter(
        0.0, 'share of samples whose measured joints are withheld: what they give away of the '
        'motion under way is no reason not to look', minimum=0.0, maximum=1.0)
    state_blur: float = parameter(
        0.0, 'standard deviation of what blurs the measured joints for the network alone [rad]; '
        'targets stay as they are: few demonstrations are not told apart by joints that hardly '
        'move', minimum=0.0, maximum=10.0)
    gripper_blur: float = parameter(
        0.0, 'the same for grippers and other binary joints: how far one closes depends on what '
        'it holds and how', minimum=0.0, maximum=10.0)
    state_noise: float = parameter(
        0.0, 'standard deviation of an error of the measured joints that the targets do not '
        'follow [rad]: teaches to come back', minimum=0.0, maximum=0.5)
