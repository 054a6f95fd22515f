"""
OGBench's single tasks with cubes, as an agent that learns from rewards meets them.

A reward is minus the number of cubes that are not in place before the action; a step that begins
with all of them in place ends the task ("pre" timing, as in Q-chunking's experiments). Nothing
draws a number that its seed does not decide. Legend: S observation features, A action width, h
points of a chunk. Knows no policy and no learning.
"""

from __future__ import annotations

from collections.abc import Iterable
import copy
from dataclasses import dataclass
import re
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray
import ogbench.manipspace  # noqa: F401  names the environments
from ogbench.manipspace.envs.cube_env import CubeEnv

Float32Array = NDArray[np.float32]

SCENES = ('cube-single', 'cube-double')
NUMBERS = range(1, 6)
ACTION_WIDTH = 5
NAME = re.compile(r'(.+)-task([0-9]+)')


class TaskError(ValueError):
    """There is no such task; the message is one line."""


@dataclass(frozen=True)
class Task:
    """One of OGBench's fixed tasks: a scene such as ``cube-double``, and a number from 1."""

    scene: str
    number: int

    def __str__(self) -> str:
        return f'{self.scene}-task{self.number}'

    @property
    def environment_id(self) -> str:
        """Return gymnasium's name of its environment."""
        return f'{self.scene}-singletask-task{self.number}-v0'


def parse_task(text: str) -> Task:
    """
    Return the task that ``text`` names, such as ``cube-double-task2``.

    :raises TaskError: one line that says which there are.
    """
    match = NAME.fullmatch(text)
    if match is None or match[1] not in SCENES or int(match[2]) not in NUMBERS:
        raise TaskError(f'task is {text!r}, expected {" or ".join(SCENES)} followed by '
                        f'-task{NUMBERS[0]} to -task{NUMBERS[-1]}')
    return Task(match[1], int(match[2]))


@dataclass(frozen=True)
class Step:
    """
    What came of one action.

    :ivar observation: Shape (S,), after it.
    :ivar terminated: Whether the task was done before it.
    :ivar truncated: Whether time is up.
    """

    observation: Float32Array
    reward: float
    terminated: bool
    truncated: bool

    @property
    def over(self) -> bool:
        """Return whether the episode ends with it."""
        return self.terminated or self.truncated


class SeededCubes(CubeEnv):
    """
    OGBench's environment, with the numbers seeded that it draws when it settles the goal.

    Copies share the compiled model, which takes a second and 100 MB; its own state is a
    `mujoco.MjData`.
    """

    @property
    def action_space(self) -> Any:
        """Return the space of actions, whose samples depend on the last reset's seed."""
        if '_own_actions' not in self.__dict__:
            self._own_actions = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_WIDTH,), np.float32)
        return self._own_actions

    def start(self, seed: int) -> tuple[Any, dict[str, Any]]:
        """Begin the episode of ``seed``; return its observation and what is known of it."""
        self.action_space.seed(seed)
        began: tuple[Any, dict[str, Any]] = self.reset(seed=seed)
        return began

    def twin(self) -> SeededCubes:
        """Return another that acts for itself and shares the model."""
        other = copy.copy(self)
        other.__dict__.pop('_own_actions', None)
        other._data = mujoco.MjData(self._model)    # noqa: SLF001  of its own class
        return other


def make_cubes(environment_id: str, **more: Any) -> tuple[SeededCubes, int]:
    """Return a ready environment by gymnasium's name, and its time limit in steps."""
    spec = gymnasium.spec(environment_id)
    cubes = SeededCubes(**{**spec.kwargs, 'visualize_info': False, **more})
    cubes.start(0)
    return cubes, int(spec.max_episode_steps or 0)


class TaskEpisodes:
    """
    One task's episodes, one at a time.

    :ivar limit: Steps after which time is up.
    """

    def __init__(self, task: Task, limit: int = 0) -> None:
        """Build the scene; ``limit`` 0 is the task's own."""
        self.task = task
        self._cubes, own_limit = make_cubes(task.environment_id)
        self.limit = limit or own_limit
        self._steps = 0

    def twin(self) -> TaskEpisodes:
        """Return others of the same task, which share the model."""
        other = copy.copy(self)
        other._cubes, other._steps = self._cubes.twin(), 0    # noqa: SLF001  of its own class
        return other

    def start(self, seed: int) -> Float32Array:
        """Begin the episode of ``seed``; return the observation, (S,)."""
        self._steps = 0
        observation, _ = self._cubes.start(seed)
        return np.asarray(observation, np.float32)

    def step(self, action: NDArray[np.floating[Any]]) -> Step:
        """Act once with ``action`` (A,), each in [-1, 1]."""
        observation, reward, terminated, _, _ = self._cubes.step(np.clip(action, -1.0, 1.0))
        self._steps += 1
        return Step(np.asarray(observation, np.float32), float(reward), bool(terminated),
                    self._steps >= self.limit)

    def advance(self, chunk: NDArray[np.floating[Any]]) -> list[Step]:
        """Act with the actions of ``chunk`` (h, A) in turn, without a look, until it is over."""
        steps: list[Step] = []
        for action in chunk:
            steps.append(self.step(action))
            if steps[-1].over:
                break
        return steps

    def relabel(self, positions: Float32Array) -> tuple[Float32Array, NDArray[np.bool_]]:
        """Return what each of ``positions`` (R, Q) of the joints earns, and whether it is done."""
        from ogbench.relabel_utils import relabel_dataset
        labels = {'qpos': positions}
        relabel_dataset(self.task.environment_id, _Unwrapped(self._cubes), labels)
        return labels['rewards'], labels['masks'] == 0.0


class _Unwrapped:
    """What the relabelling asks of an environment: the task set, and the environment inside."""

    def __init__(self, cubes: SeededCubes) -> None:
        self.unwrapped = cubes

    def reset(self) -> None:
        self.unwrapped.start(0)


def task_names() -> Iterable[str]:
    """Return the name of every task."""
    return (str(Task(scene, number)) for scene in SCENES for number in NUMBERS)
