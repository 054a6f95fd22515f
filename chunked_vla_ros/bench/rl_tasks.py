"""
What the runs of the RL benchmark need of a task: data that are labelled for it, environments.

One task is held at a time. Knows no method.
"""

from __future__ import annotations

from contextlib import ExitStack
import os
from pathlib import Path

import torch

from chunked_vla_ros.bench.rl_options import BenchRlOptions, phases
from chunked_vla_ros.bench.rl_play import play_data, PlayData, PlaySet
from chunked_vla_ros.bench.rl_replay import play_labels
from chunked_vla_ros.bench.rl_results import RunKey
from chunked_vla_ros.bench.rl_run import Run, Settings, Stage
from chunked_vla_ros.bench.rl_screen import Screen
from chunked_vla_ros.core.chunk_transitions import EndRule
from chunked_vla_ros.sim.ogbench_lockstep import LockStep
from chunked_vla_ros.sim.ogbench_task import parse_task, Task, TaskEpisodes

# More of them wait for each other: all act for a chunk, then one call plans for all.
MOST_PROCESSES = 8


class Bench:
    """Makes the runs; use it in a ``with``."""

    def __init__(self, options: BenchRlOptions, screen: Screen, deadline_s: float) -> None:
        """
        Choose the device.

        :param deadline_s: Of `time.monotonic`.
        :raises ValueError: there is no such device.
        """
        self._options, self._screen, self._deadline_s = options, screen, deadline_s
        self.settings = Settings(options.chosen.budget, options.discount,
                                 EndRule(options.end_rule), options.data_seed,
                                 _device(options.device))
        self._task: Task | None = None
        self._stage: Stage | None = None
        self._data: tuple[PlaySet, PlayData] | None = None
        self._held, self._bar = ExitStack(), ExitStack()
        self._processes = options.processes or min(MOST_PROCESSES, os.cpu_count() or 1)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._held.close()

    def run(self, key: RunKey, folder: Path) -> Run:
        """
        Return the run, as far as it is, ready to go on.

        :raises OutOfTimeError: the data are not complete yet.
        """
        stage = self._stage_of(parse_task(key.task))
        self._bar.close()
        total = sum(phases(key.method, self.settings.budget))
        bar = self._bar.enter_context(self._screen.bar(str(key), total))
        run = Run(key, self.settings, stage, folder, self._deadline_s, bar.advance)
        bar.advance(run.record.updates + run.record.online_steps)
        return run

    def _stage_of(self, task: Task) -> Stage:
        if self._stage is None or task != self._task:
            self._held.close()
            self._stage = self._task = None
            episodes = TaskEpisodes(task, self.settings.budget.longest)
            data = self._play(task.scene)
            rewards, done = episodes.relabel(data.positions)
            lockstep = self._held.enter_context(LockStep(
                episodes, min(self._options.places, self.settings.budget.episodes),
                self._processes))
            self._screen.say(f'{task}: {len(rewards)} rows of play, the task is done in '
                             f'{100.0 * done.mean():.2f} % of them')
            self._task, self._stage = task, Stage(
                data.observations, data.actions, play_labels(data, rewards, done), episodes,
                lockstep)
        return self._stage

    def _play(self, scene: str) -> PlayData:
        options, budget = self._options, self.settings.budget
        wanted = PlaySet(scene, budget.play_episodes, budget.play_rows, options.data_seed)
        if self._data is None or self._data[0] != wanted:
            with self._screen.bar(f'{scene}: play data', wanted.episodes) as bar:
                self._data = wanted, play_data(
                    wanted, Path(options.cache), self._processes, self._deadline_s, bar.advance)
        return self._data[1]


def _device(name: str) -> torch.device:
    """:raises ValueError: there is no such device here."""
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'--device is {name!r}: {str(error).splitlines()[0]}') from error
    return device
