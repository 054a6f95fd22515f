"""
What happens to the cubes in an episode: which one moves first, which one is lifted first.

Reads poses as the world reports them; a policy never sees them. Knows no physics engine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chunked_vla_ros.core.types import Pose
from chunked_vla_ros.sim.tasks import CUBE_HALF_SIZE_M, CUBES, PADS, Start, Task

MOVED_M = 0.01
# Of the lower side over the table.
LIFTED_M = 0.05


class SceneWatch:
    """
    Watch the cubes of one episode from its start on.

    :ivar first_moved: First cube displaced by more than `MOVED_M`, empty so far.
    :ivar first_lifted: First cube lifted by more than `LIFTED_M`, empty so far.
    """

    def __init__(self, start: Start) -> None:
        self._starts = {
            cube: np.array([place.x, place.y, CUBE_HALF_SIZE_M])
            for cube, place in zip(CUBES, start.cubes, strict=True)}
        self._named = start.task.cube
        self.first_moved = self.first_lifted = ''

    @property
    def knows_all(self) -> bool:
        """Return whether there is nothing left to find out."""
        return bool(self.first_moved and self.first_lifted)

    def look(self, scene: Mapping[str, Pose]) -> None:
        """Take the present poses."""
        for cube in CUBES:
            place = scene[f'cube/{cube}'].position
            if not self.first_moved and np.linalg.norm(place - self._starts[cube]) > MOVED_M:
                self.first_moved = cube
            if not self.first_lifted and place[2] - CUBE_HALF_SIZE_M > LIFTED_M:
                self.first_lifted = cube

    @property
    def named_cube(self) -> tuple[float, float]:
        """Return where the cube began that the instruction names, x and y in [m]."""
        x, y, _ = self._starts[self._named]
        return float(x), float(y)


def distance_to_pad_m(scene: Mapping[str, Pose], task: Task) -> float:
    """Return how far the task's cube is from its pad's centre, seen from above, in [m]."""
    place = scene[f'cube/{task.cube}'].position[:2]
    return float(np.linalg.norm(place - PADS[task.pad]))
