"""
One method of the RL benchmark as a whole: networks, optimizer, updates and chunks to act with.

Every random number comes from the seed and a count, none from before: a run that is broken off
and goes on does what it would have done. Legend: B states, S observation features, A action
width, h points of a chunk. Knows no environment and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
import torch

from chunked_vla_ros.bench.rl_options import Budget, OFFLINE_ONLY, ONLINE_ONLY
from chunked_vla_ros.sim.ogbench_lockstep import IntArray
from chunked_vla_ros.sim.ogbench_task import Float32Array
from chunked_vla_ros.training.at_once import in_parts
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import build_q_chunking, Draws, make_adam, update
from chunked_vla_ros.training.q_chunking_cached import CachedQChunking
from chunked_vla_ros.training.q_chunking_methods import METHODS
from chunked_vla_ros.training.rlpd import Rlpd, RLPD_METHODS, RlpdDraws

# Streams of random numbers of one run.
NETWORKS, BATCHES, EVALUATION, ONLINE, FIRST_ACTIONS, CANDIDATES = range(6)


def numbers(seed: int, *of: int) -> np.random.Generator:
    """Return the random numbers that belong to ``of`` in the run of ``seed``."""
    return np.random.default_rng([seed, *of])


class Learner:
    """
    A method that learns, with ``features`` S of an observation and actions of ``width`` A.

    :ivar horizon: h, steps of a chunk of the data.
    :ivar points: Of the chunks it acts with.
    :ivar batch_size: Chunks that an update is to be given.
    :ivar files: Names of `tensors`.
    """

    files: tuple[str, ...] = ('networks', 'optimizer')

    def __init__(self, name: str, features: int, width: int, budget: Budget, seed: int,
                 device: torch.device) -> None:
        self._seed, self._width, self.batch_size = seed, width, budget.batch_size
        # No global state is left behind: who runs beside this draws what it would have drawn.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(numbers(seed, NETWORKS).integers(2**62)))
            self._method, self.agent, self._draws = _built(name, features, width, budget)
        self.agent.to(device)
        self._device = device
        self._generator = torch.Generator(device)
        self.optimizer = make_adam(self.agent, self._method.learning_rate)
        self.horizon, self.points = self._method.horizon, self._method.points

    def generator(self, count: int) -> torch.Generator:
        """Return the random numbers of update number ``count``."""
        self._generator.manual_seed(int(numbers(self._seed, BATCHES, count).integers(2**62)))
        return self._generator

    def learn(self, batch: ChunkBatch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make one update; return numbers to look at, which stay on the device."""
        draws = self._draws(generator, self._method, len(batch.returns), self._width)
        metrics: dict[str, torch.Tensor] = update(self.agent, self.optimizer, batch, draws)
        return metrics

    def plan(self, observations: Float32Array, stream: int, first: IntArray,
             second: IntArray) -> Float32Array:
        """
        Return chunks (B, h, A) for ``observations`` (B, S).

        :param first: (B,), with ``second`` (B,) what the random numbers of each belong to.
        """
        shape = self._method.noise_shape(1, self._width)[1:]
        noise = np.stack([
            numbers(self._seed, stream, int(one), int(two)).standard_normal(shape, np.float32)
            for one, two in zip(first, second, strict=True)])
        with torch.no_grad():
            chunks: Float32Array = self.agent.act(
                torch.from_numpy(observations).to(self._device),
                torch.from_numpy(noise).to(self._device)).cpu().numpy()
        return chunks

    def first_action(self, count: int) -> Float32Array:
        """Return a chunk (1, A) of one random action."""
        return numbers(self._seed, FIRST_ACTIONS, count).uniform(
            -1.0, 1.0, (1, self._width)).astype(np.float32)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all that was learnt, by file."""
        moments = {f'{number}.{name}': value
                   for number, one in self.optimizer.state_dict()['state'].items()
                   for name, value in one.items()}
        return {'networks': self.agent.state_dict(), 'optimizer': moments}

    def load(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """
        Take over what `tensors` returned.

        :raises RuntimeError: it is of other networks.
        """
        self.agent.load_state_dict(dict(tensors['networks']))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.get('optimizer', {}).items():    # none before an update
            number, _, name = key.partition('.')
            state.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), 'state': state})


class CachedLearner(Learner):
    """
    QC, cached: in the first half of the updates the flow learns, in the second its critic.

    Each is given two batches and makes two updates, so that both learn as often as in QC.
    """

    files = (*Learner.files, 'cached')

    def __init__(self, name: str, observations: Float32Array, width: int, budget: Budget,
                 seed: int, device: torch.device) -> None:
        super().__init__(name, observations.shape[1], width, budget, seed, device)
        self.batch_size *= 2
        self._first_half = -(-budget.updates // 2)
        rows = torch.from_numpy(observations).to(device)
        self._cached = CachedQChunking(
            self.agent, rows, width, budget.batch_size).to(device)
        # Calls of `learn`, kept in a checkpoint.
        self._made = torch.zeros(1, dtype=torch.int64)
        self._drawn = False

    def learn(self, batch: ChunkBatch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Make two updates, of the flow or of the critic; return numbers to look at."""
        assert batch.next_row is not None    # there is no online phase
        metrics: dict[str, torch.Tensor] = {}
        of_critic = int(self._made) - self._first_half
        if of_critic >= 0 and not self._drawn:
            # The same ones if the run was broken off: the flow stands still.
            self._cached.draw(torch.Generator().manual_seed(
                int(numbers(self._seed, CANDIDATES).integers(2**62))))
            self._drawn = True
        for number, chunks in enumerate(in_parts(batch, 2)):
            if of_critic >= 0:
                self._cached.refresh(2 * of_critic + number)
                loss, metrics = self._cached.judged(chunks, chunks.next_row)
            else:
                loss, metrics = self._cached.imitated(chunks, generator)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if of_critic >= 0:
                self.agent.follow()
        self._made += 1
        return {'loss': loss.detach(), **metrics}

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all that was learnt and what was tabulated, by file."""
        return {**super().tensors(), 'cached': {'made': self._made, **self._tabulated}}

    def load(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take over what `tensors` returned."""
        super().load(tensors)
        own = tensors['cached']
        self._made.copy_(own['made'])
        for name, tensor in self._tabulated.items():
            tensor.copy_(own[name])

    @property
    def _tabulated(self) -> dict[str, torch.Tensor]:
        table = self._cached.table
        return {} if table is None else {'values': table.values}


def make_learner(name: str, observations: Float32Array, width: int, budget: Budget, seed: int,
                 device: torch.device) -> Learner:
    """Return the learner of a method by name on data of ``observations`` (R, S)."""
    if name in OFFLINE_ONLY:
        return CachedLearner(name, observations, width, budget, seed, device)
    return Learner(name, observations.shape[1], width, budget, seed, device)


def _built(name: str, features: int, width: int, budget: Budget) -> tuple[Any, Any, Any]:
    """Return the method, its networks and what draws its random numbers."""
    sizes: dict[str, Any] = {
        'hidden': (budget.width,) * budget.layers, 'batch_size': budget.batch_size}
    if name in ONLINE_ONLY:
        gaussian = dataclasses.replace(RLPD_METHODS[name], **sizes)
        return gaussian, Rlpd(gaussian, features, width), RlpdDraws.draw
    sizes |= {'flow_steps': budget.flow_steps}
    if budget.candidates:
        sizes |= {'candidates': budget.candidates}
    chosen = dataclasses.replace(METHODS[OFFLINE_ONLY.get(name, name)], **sizes)
    return chosen, build_q_chunking(chosen, features, width), Draws.draw
