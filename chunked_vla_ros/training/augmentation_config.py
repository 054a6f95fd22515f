"""How far images are changed at random; each default and bound has its home here. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter


@dataclass(frozen=True)
class AugmentationConfig:
    """
    How far images may be changed; 0 everywhere leaves them as they are.

    Colours are changed by one factor for each example and camera, drawn evenly between 1 less and
    1 plus the number.
    """

    shift_px: int = parameter(
        8, 'an image is moved by up to so many pixels each way, its border repeated',
        minimum=0, maximum=512)
    brightness: float = parameter(
        0.2, 'share by which an image gets brighter or darker', minimum=0.0, maximum=0.9)
    contrast: float = parameter(
        0.2, 'share by which differences from grey change', minimum=0.0, maximum=0.9)
    saturation: float = parameter(
        0.2, 'share by which colours get stronger or weaker', minimum=0.0, maximum=0.9)
    channels: float = parameter(
        0.05, 'share by which red, green and blue change apart: the tint of a lamp',
        minimum=0.0, maximum=0.9)
