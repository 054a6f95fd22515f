"""What the objects on the table look like: one home for the model and for the scene's markers."""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.sim.tasks import CUBE_HALF_SIZE_M, CUBES, PAD_HALF_SIZE_M, PADS

PAD_HALF_HEIGHT_M = 0.001
_COLOURS = {
    'red': (0.86, 0.16, 0.18, 1.0), 'green': (0.10, 0.62, 0.22, 1.0),
    'blue': (0.18, 0.36, 0.86, 1.0),
    'left': (0.95, 0.78, 0.20, 1.0), 'right': (0.55, 0.30, 0.75, 1.0),
}


@dataclass(frozen=True)
class Look:
    """A coloured box: half edge lengths in [m]; red, green, blue, alpha."""

    half_size_m: tuple[float, float, float]
    colour: tuple[float, float, float, float]


LOOKS = {
    **{f'cube/{name}': Look((CUBE_HALF_SIZE_M,) * 3, _COLOURS[name]) for name in CUBES},
    **{f'pad/{name}': Look((PAD_HALF_SIZE_M, PAD_HALF_SIZE_M, PAD_HALF_HEIGHT_M), _COLOURS[name])
       for name in PADS},
}
