"""
One run of the RL benchmark: learn offline, then online, evaluate, and save so that it can go on.

Offline: an update after the other. Online: open-loop chunks in the environment and an update for
each step. A checkpoint is written at evaluations and when time is up, online at the end of an
episode: what comes after depends on it alone. Knows no table of results and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
import time
from typing import Any

import numpy as np
import torch

from chunked_vla_ros.bench.rl_learner import EVALUATION, make_learner, ONLINE
from chunked_vla_ros.bench.rl_options import Budget, ONLINE_ONLY, phases
from chunked_vla_ros.bench.rl_play import OutOfTimeError, SEEDS_OF_A_SET
from chunked_vla_ros.bench.rl_replay import OwnEpisode, Replay, Windows
from chunked_vla_ros.bench.rl_results import Point, record_from_json, RunKey, RunRecord
from chunked_vla_ros.core.chunk_transitions import EndRule, Trajectories
from chunked_vla_ros.data.checkpoint_folder import checkpoint_path, newest_checkpoint, STATE
from chunked_vla_ros.sim.ogbench_lockstep import LockStep
from chunked_vla_ros.sim.ogbench_task import ACTION_WIDTH, Float32Array, Step, TaskEpisodes
from chunked_vla_ros.training.checkpoint_files import (
    Contents,
    prune,
    read_state,
    read_tensors,
    write_contents,
)

# The environment's seeds: data have those below.
EVALUATION_SEEDS, ONLINE_SEEDS = 1_000_000_000, 500_000_000
SAVE_EVERY_S = 120.0
# How often a learner is looked at, in updates: looking waits for a GPU.
LOOK_EVERY = 250


@dataclass(frozen=True)
class Settings:
    """What all runs share."""

    budget: Budget
    discount: float
    rule: EndRule
    data_seed: int
    device: torch.device

    def to_json(self) -> dict[str, Any]:
        """Return what a run that goes on must agree with, as JSON-ready values."""
        return {**self.budget.to_json(), 'discount': self.discount, 'end_rule': self.rule.value,
                'data_seed': self.data_seed}

    def check(self, theirs: object, path: Path) -> None:
        """
        Check what `to_json` of a run from before came to, kept in ``path``.

        :raises LearningError: it was begun with others.
        """
        said = theirs if isinstance(theirs, dict) else {}
        other = ', '.join(f'{name} {said.get(name)} instead of {value}'
                          for name, value in self.to_json().items() if said.get(name) != value)
        if other:
            raise LearningError(f'{path}: has {other}; give the options it was begun with, or '
                                'another --out')


@dataclass(frozen=True)
class Stage:
    """A task as a run meets it: its data (R, S) and (R, A) with labels, and its environments."""

    observations: Float32Array
    actions: Float32Array
    labels: Trajectories
    episodes: TaskEpisodes
    lockstep: LockStep


class LearningError(ValueError):
    """A run cannot go on; the message is one line."""


class Run:
    """
    Goes on until it is finished or time is up.

    :ivar record: How far it is.
    """

    def __init__(self, key: RunKey, settings: Settings, stage: Stage, folder: Path,
                 deadline_s: float, tell: Callable[[int], None]) -> None:
        """
        Make the networks, or take over the newest checkpoint in ``folder``.

        :param deadline_s: Of `time.monotonic`.
        :param tell: Hears how many updates or steps more were made.
        :raises CheckpointError: the checkpoint cannot be read.
        :raises LearningError: it is of other settings.
        """
        self._settings, self._stage, self._folder = settings, stage, folder
        self._deadline_s, self._tell = deadline_s, tell
        self.record = RunRecord(key)
        self._updates, self._online_steps = phases(key.method, settings.budget)
        self._learner = make_learner(key.method, stage.observations, ACTION_WIDTH,
                                     settings.budget, key.seed, settings.device)
        windows = Windows(self._learner.horizon, settings.discount, settings.rule)
        self._replay = Replay(
            windows.table(stage.observations, stage.actions, stage.labels, settings.device),
            windows, half=key.method in ONLINE_ONLY)
        self._metrics: Mapping[str, torch.Tensor] = {}
        self._evaluating_s = 0.0
        self._take_over()
        self._saved_s = time.monotonic()

    def go(self) -> RunRecord:
        """
        Learn to the end; return the record.

        :raises OutOfTimeError: time is up, and everything is saved.
        :raises LearningError: a loss is not finite; the last checkpoint was before that.
        """
        record = self.record
        if record.finished:
            return record
        if self._updates and not record.online_steps:
            # Due where the last slice had no time left for it.
            self._evaluate_if_due(self.record.updates, self._updates)
            while self.record.updates < self._updates:
                self._learn()
                self.record = replace(self.record, updates=self.record.updates + 1)
                self._tell(1)
                if self._is_due(self.record.updates, self._updates):
                    self._save_if_due(spare_s=self._evaluating_s)
                    self._evaluate()
                    self._save()
                self._save_if_due()
        while self.record.online_steps < self._online_steps:
            self._episode()
            if self.record.online_steps < self._online_steps:
                self._save_if_due()
        self.record = replace(self.record, finished=True)
        self._save()
        return self.record

    def _learn(self) -> None:
        began_s = time.perf_counter()
        count = self.record.learned
        generator = self._learner.generator(count)
        batch = self._replay.batch(generator, self._learner.batch_size)
        try:
            self._metrics = self._learner.learn(batch, generator)
        except ValueError as error:
            raise LearningError(f'{self.record.key}: {error} after {count} updates; '
                                f'{self._folder} has the last checkpoint before') from error
        if count % LOOK_EVERY == 0:
            self._check()
        self.record = replace(self.record, learned=count + 1, learn_s=(
            self.record.learn_s + time.perf_counter() - began_s))

    def _check(self) -> None:
        for name, value in self._metrics.items():
            if not torch.isfinite(value):
                raise LearningError(
                    f'{self.record.key}: {name} is {float(value)} after {self.record.learned} '
                    f'updates; {self._folder} has the last checkpoint before')

    def _is_due(self, count: int, last: int) -> bool:
        """Return whether it is time to evaluate: at every so many, and at the last."""
        points = self.record.points
        done = bool(points) and (points[-1].updates, points[-1].online_steps) == (
            self.record.updates, self.record.online_steps)
        every = self._settings.budget.evaluate_every
        return count > 0 and (count == last or count % every == 0) and not done

    def _evaluate_if_due(self, count: int, last: int) -> None:
        if self._is_due(count, last):
            self._evaluate()

    def _evaluate(self) -> None:
        self._check()
        began_s = time.perf_counter()
        first = EVALUATION_SEEDS + self.record.key.seed * SEEDS_OF_A_SET
        outcomes = self._stage.lockstep.run(
            range(first, first + self._settings.budget.episodes),
            lambda seen, seeds, chunks: self._learner.plan(seen, EVALUATION, seeds, chunks))
        steps = [each.steps for each in outcomes if each.success]
        self._evaluating_s = time.perf_counter() - began_s
        self.record = replace(
            self.record, evaluate_s=self.record.evaluate_s + self._evaluating_s).with_point(Point(
                self.record.updates, self.record.online_steps, len(steps), len(outcomes),
                float(np.mean(steps)) if steps else None,
                self._numbers))

    def _episode(self) -> None:
        """Act for one episode, or until the steps are used up, and learn at each step."""
        began_s, learnt_s = time.perf_counter(), self.record.learn_s + self.record.evaluate_s
        number = self.record.online_episodes
        seen = [self._stage.episodes.start(
            ONLINE_SEEDS + self.record.key.seed * SEEDS_OF_A_SET + number)]
        actions: list[Float32Array] = []
        steps: list[Step] = []
        while not (steps and steps[-1].over) and self._steps_left:
            for action in self._chunk(seen[-1], number, len(steps)):
                steps.append(self._stage.episodes.step(action))
                actions.append(action)
                seen.append(steps[-1].observation)
                self._stepped()
                if steps[-1].over or not self._steps_left:
                    break
        self._replay.add(OwnEpisode(
            np.stack(seen), np.stack(actions),
            np.array([step.reward for step in steps], np.float32), steps[-1].terminated))
        elsewhere_s = self.record.learn_s + self.record.evaluate_s - learnt_s
        self.record = replace(
            self.record, online_episodes=number + 1,
            act_s=self.record.act_s + time.perf_counter() - began_s - elsewhere_s)

    @property
    def _steps_left(self) -> int:
        return self._online_steps - self.record.online_steps

    def _chunk(self, seen: Float32Array, episode: int, step: int) -> Float32Array:
        """Return what is done next: RLPD begins with random actions."""
        if (self.record.key.method in ONLINE_ONLY
                and self.record.online_steps < self._settings.budget.online_start):
            return self._learner.first_action(self.record.online_steps)
        chunk: Float32Array = self._learner.plan(
            seen[None], ONLINE, np.array([episode]), np.array([step]))[0]
        return chunk

    def _stepped(self) -> None:
        """Count a step online, and learn and evaluate where it is time for it."""
        budget = self._settings.budget
        self.record = replace(self.record, online_steps=self.record.online_steps + 1)
        if self.record.online_steps >= budget.online_start and self._replay.ready:
            self._learn()
        self._tell(1)
        self._evaluate_if_due(self.record.online_steps, self._online_steps)

    def _save_if_due(self, spare_s: float = 0.0) -> None:
        """Save now and then; stop if less than ``spare_s`` is left."""
        now_s = time.monotonic()
        if now_s + spare_s > self._deadline_s:
            self._save()
            raise OutOfTimeError(f'{self.record.key} is not finished yet')
        if now_s > self._saved_s + SAVE_EVERY_S:
            self._save()

    def _save(self) -> None:
        if (checkpoint_path(self._folder, self._count) / STATE).exists():
            return
        self._check()
        state = {'record': self.record.to_json(), 'settings': self._settings.to_json(),
                 'in_table': self._replay.in_table, 'evaluating_s': self._evaluating_s,
                 'metrics': self._numbers}
        tensors = {**self._learner.tensors(), 'replay': self._replay.tensors()}
        write_contents(self._folder, self._count, Contents(
            state, {name: each for name, each in tensors.items() if each}, {}))
        prune(self._folder, keep=1)
        self._saved_s = time.monotonic()

    @property
    def _numbers(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._metrics.items()}

    @property
    def _count(self) -> int:
        """Return a number that grows with everything that is saved."""
        record = self.record
        return 2 * (record.updates + record.online_steps) + len(record.points) + record.finished

    def _take_over(self) -> None:
        newest = newest_checkpoint(self._folder)
        if newest is None:
            return
        state = read_state(newest)
        self._settings.check(state.get('settings'), newest)
        self.record = record_from_json(state['record'])
        self._evaluating_s = float(state['evaluating_s'])
        self._metrics = {name: torch.tensor(value) for name, value in state['metrics'].items()}
        self._learner.load({name: read_tensors(newest / f'{name}.safetensors')
                            for name in self._learner.files
                            if (newest / f'{name}.safetensors').is_file()})
        own = newest / 'replay.safetensors'
        self._replay.load(read_tensors(own) if own.is_file() else {}, int(state['in_table']))
