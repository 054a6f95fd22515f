"""
QC made cheaper, as the benchmark runs it: candidates drawn once, values of few rows tabulated.

An update is one of the critic and one of the flow, so that both learn as often as in QC. Knows no
clock.
"""

from __future__ import annotations

import numpy as np
import torch

from chunked_vla_ros.bench.train_rl_inputs import Arrays, BATCHES, SEED, Sizes
from chunked_vla_ros.bench.train_rl_torch import batch_of, facts_of, load_weights, method_of
from chunked_vla_ros.training.q_chunking import build_q_chunking, make_adam
from chunked_vla_ros.training.q_chunking_cached import CachedQChunking, TABULATE_EVERY


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
        agent = build_q_chunking(method_of(sizes), sizes.observation, sizes.action)
        load_weights(agent, sizes, arrays)
        agent.to(device)
        self._optimizer = make_adam(agent, sizes.learning_rate)
        random = np.random.default_rng(SEED)
        observations = torch.from_numpy(random.normal(
            size=(sizes.rows, sizes.observation)).astype(np.float32)).to(device)
        self.cached = CachedQChunking(
            agent, observations, sizes.action, sizes.batch).to(device)
        self.once()

    def once(self) -> None:
        """Draw the candidates of all rows again: what is paid once, before the first update."""
        self.cached.draw(self._generator)

    def run(self, updates: int) -> int:
        """Make at least so many updates with a whole number of tables; return how many."""
        updates = -(-updates // TABULATE_EVERY) * TABULATE_EVERY
        for number in range(updates):
            self.cached.refresh(number)
            self._learn(number % BATCHES)
        if self.cached.candidates.device.type == 'cuda':
            torch.cuda.synchronize()
        return updates

    def _learn(self, number: int) -> None:
        batch, sizes = self._batches[number], self._sizes
        rows = torch.randint(sizes.rows, (sizes.batch,), generator=self._generator)
        judged, _ = self.cached.judged(batch, rows.to(batch.returns.device))
        imitated, _ = self.cached.imitated(batch, self._generator)
        self._optimizer.zero_grad(set_to_none=True)
        (judged + imitated).backward()
        self._optimizer.step()
        self.cached.agent.follow()
