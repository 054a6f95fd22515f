"""
The simulator's tasks: which cube onto which pad, in words, and where everything starts.

A start is determined by seed, position set and task name alone. Knows nothing about MuJoCo or ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
import re

import numpy as np

CUBES = ('red', 'green', 'blue')
CUBE_HALF_SIZE_M = 0.02
# Pads by the side that the robot sees them on: y points left (REP 103).
PADS = {'left': (0.43, 0.27), 'right': (0.43, -0.27)}
PAD_HALF_SIZE_M = 0.05
POSITION_SETS = ('fixed', 'random', 'unseen')
# Between cube centres: an open gripper beside one cube must not touch the next.
CLEARANCE_M = 0.11
_DRAWS = 1000


class TaskError(ValueError):
    """A task, a position set or an instruction that there is not; one line."""


@dataclass(frozen=True)
class Region:
    """A rectangle on the table in the base frame, in [m]."""

    x: tuple[float, float]
    y: tuple[float, float]

    def draw(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return a point of the rectangle, uniformly."""
        return float(rng.uniform(*self.x)), float(rng.uniform(*self.y))


# Training happens in RANDOM; UNSEEN is 2 cm or more farther out in x, and within reach.
RANDOM = Region(x=(0.32, 0.52), y=(-0.13, 0.13))
UNSEEN = Region(x=(0.54, 0.62), y=(-0.17, 0.17))
FIXED = ((0.42, 0.0), (0.36, 0.12), (0.36, -0.12))


@dataclass(frozen=True)
class Task:
    """Put one cube on one pad."""

    cube: str
    pad: str

    @property
    def name(self) -> str:
        """Return the short name, such as ``red_left``."""
        return f'{self.cube}_{self.pad}'

    @property
    def instruction(self) -> str:
        """Return what the operator would say."""
        return f'put the {self.cube} cube on the {self.pad} pad'


TASKS = {task.name: task for task in (Task(cube, pad) for cube in CUBES for pad in PADS)}
_INSTRUCTION = re.compile(
    rf'\b(?P<cube>{"|".join(CUBES)}) cube\b.*\b(?P<pad>{"|".join(PADS)}) pad\b')


def parse_instruction(instruction: str) -> Task:
    """
    Return the task that ``instruction`` asks for.

    :raises TaskError: if it names no cube or no pad.
    """
    match = _INSTRUCTION.search(instruction.lower())
    if match is None:
        example = next(iter(TASKS.values())).instruction
        raise TaskError(f'cannot act on {instruction!r}, expected words such as {example!r}')
    return Task(match['cube'], match['pad'])


@dataclass(frozen=True)
class CubeStart:
    """Where one cube starts: centre in [m] on the table, rotation about z in [rad]."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True)
class Start:
    """An episode's start: its task and every cube's place, in the order of ``CUBES``."""

    task: Task
    cubes: tuple[CubeStart, ...]


def draw_start(seed: int, position_set: str = 'random', task: str = '') -> Start:
    """
    Return the start that seed, position set and task name determine; '' stands for a default.

    The position set defaults to ``random``, the task is drawn from the seed.

    :raises TaskError: naming what there is.
    """
    position_set = position_set or 'random'
    if position_set not in POSITION_SETS:
        raise TaskError(f'no position set {position_set!r}, expected one of '
                        f'{", ".join(POSITION_SETS)}')
    if task and task not in TASKS:
        raise TaskError(f'no task {task!r}, expected one of {", ".join(TASKS)}')
    # Two streams: naming the task that would be drawn anyway must not move the cubes.
    task_rng, cube_rng = (np.random.default_rng(part)
                          for part in np.random.SeedSequence(seed).spawn(2))
    drawn = sorted(TASKS)[int(task_rng.integers(len(TASKS)))]
    chosen = TASKS[task or drawn]
    if position_set == 'fixed':
        return Start(chosen, tuple(CubeStart(x, y, 0.0) for x, y in FIXED))
    return Start(chosen, _scatter(cube_rng, RANDOM if position_set == 'random' else UNSEEN))


def _scatter(rng: np.random.Generator, region: Region) -> tuple[CubeStart, ...]:
    """Draw whole layouts until one keeps its distances: no cube is favoured by its order."""
    for _ in range(_DRAWS):
        places = np.array([region.draw(rng) for _ in CUBES])
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        if np.all(gaps[np.triu_indices(len(CUBES), 1)] >= CLEARANCE_M):
            yaws = rng.uniform(-np.pi / 4, np.pi / 4, len(CUBES))
            return tuple(CubeStart(float(x), float(y), float(yaw))
                         for (x, y), yaw in zip(places, yaws, strict=True))
    raise RuntimeError(f'{region} cannot hold {len(CUBES)} cubes {CLEARANCE_M} m apart')
