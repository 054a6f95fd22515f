"""
QC made cheaper, as the benchmark runs it: candidates drawn once, values of all rows tabulated.

Right where the behaviour flow is frozen while the critic learns. An update is one of the critic,
a regression on looked-up values, and one of the flow, so that both learn as often as in QC, though
one after the other. Knows no clock.
"""

from __future__ import annotations

import numpy as np
import torch

from chunked_vla_ros.bench.train_rl_inputs import Arrays, BATCHES, SEED, Sizes
from chunked_vla_ros.bench.train_rl_torch import batch_of, facts_of, load_weights, method_of
from chunked_vla_ros.training.candidate_cache import CandidateCache, ValueTable
from chunked_vla_ros.training.q_chunking import (
    build_q_chunking,
    critic_loss,
    flow_loss,
    integrate,
    make_adam,
)

# Updates from one table to the next.
TABULATE_EVERY = 100
# Rows valued in one pass: what their candidates need in passing stays in the processor's cache.
ROWS_AT_ONCE = 16


class CachedSide:
    """
    Critic and flow of QC, and a data set of random rows with its candidates.

    :ivar facts: The framework, its version and its device.
    """

    def __init__(self, sizes: Sizes, arrays: Arrays) -> None:
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.facts = facts_of(device)
        self._sizes = sizes
        self._batches = [batch_of(sizes, arrays, number, device) for number in range(BATCHES)]
        self._generator = torch.Generator().manual_seed(SEED)
        self._agent = build_q_chunking(method_of(sizes), sizes.observation, sizes.action)
        load_weights(self._agent, sizes, arrays)
        self._agent.to(device)
        self._optimizer = make_adam(self._agent, sizes.learning_rate)
        random = np.random.default_rng(SEED)
        self._observations = torch.from_numpy(random.normal(
            size=(sizes.rows, sizes.observation)).astype(np.float32)).to(device)
        self._table = ValueTable(sizes.rows, TABULATE_EVERY, ROWS_AT_ONCE).to(device)
        self._cache = self._candidates()

    def once(self) -> None:
        """Draw the candidates of all rows again: what is paid once, before the first update."""
        self._cache = self._candidates()

    def run(self, updates: int) -> int:
        """Make at least so many updates with a whole number of tables; return how many."""
        updates = -(-updates // TABULATE_EVERY) * TABULATE_EVERY
        for number in range(updates):
            self._table.refresh(number, self._values)
            self._learn(number % BATCHES)
        if self._observations.device.type == 'cuda':
            torch.cuda.synchronize()
        return updates

    def _candidates(self) -> CandidateCache:
        sizes, flow = self._sizes, self._agent.flow
        return CandidateCache.draw(
            lambda seen, noise: integrate(flow.given(seen), noise, sizes.flow_steps),
            self._observations, (sizes.candidates, sizes.horizon, sizes.action), self._generator,
            ROWS_AT_ONCE * sizes.candidates)

    def _values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (M,): the target critic's value of what the online critic likes best."""
        seen, chunks = self._observations[rows], self._cache.at(rows)
        best = self._agent.critic.given(seen)(chunks).mean(0).argmax(1)
        chunk = chunks[torch.arange(len(rows), device=rows.device), best]
        values: torch.Tensor = self._agent.target_critic.given(seen)(chunk).mean(0)
        return values

    def _learn(self, number: int) -> None:
        batch, sizes = self._batches[number], self._sizes
        rows = torch.randint(sizes.rows, (sizes.batch,), generator=self._generator)
        next_values = self._table.at(rows.to(batch.returns.device))
        target = batch.returns[:, -1] + batch.bootstrap[:, -1] * next_values
        judged, _ = critic_loss(self._agent.critic(batch.observation, batch.actions), target,
                                batch.counted[:, -1])
        noise = torch.randn(batch.actions.shape, generator=self._generator)
        time = torch.rand(sizes.batch, generator=self._generator)
        imitated, _ = flow_loss(
            self._agent.flow.given(batch.observation), batch.actions,
            noise.to(target.device), time.to(target.device), batch.valid)
        self._optimizer.zero_grad(set_to_none=True)
        (judged + imitated).backward()
        self._optimizer.step()
        self._agent.follow()
