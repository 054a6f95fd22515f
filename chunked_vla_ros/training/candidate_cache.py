"""
Chunks that a frozen policy proposes at every row of the data, sampled once, and tables of values.

While a critic learns, the behaviour policy that its bootstrap asks does not change: N chunks for
each row, drawn once, serve all updates. The values of all rows are then worked out anew every so
many updates, and an update in between is a plain regression on looked-up numbers. Knows nothing
about rewards. B batch, R rows of data, N candidates, h points, A action width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

# (observation (B, S), noise (B, N, h, A)) -> chunks (B, N, h, A)
Proposal = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# Rows, or chunks, in one pass.
AT_ONCE = 4096


@dataclass(frozen=True)
class CandidateCache:
    """
    What a policy would do at each row.

    :ivar chunks: (R, N, h, A).
    """

    chunks: torch.Tensor

    @staticmethod
    def draw(propose: Proposal, observations: torch.Tensor, shape: tuple[int, int, int],
             generator: torch.Generator, at_once: int = AT_ONCE) -> CandidateCache:
        """
        Return ``shape`` = (N, h, A) chunks for each of ``observations`` (R, S).

        :param generator: A CPU one; the same draws whatever the device and ``at_once``.
        :raises ValueError: N is below 1, or the policy proposed something not finite.
        """
        candidates = shape[0]
        if candidates < 1:
            raise ValueError(f'candidates is {candidates}, expected 1 or more')
        # All at once: torch draws other numbers in portions of another size.
        noise = torch.randn(len(observations), *shape, generator=generator)
        with torch.no_grad():
            chunks = torch.cat([
                propose(observations[rows], noise[rows].to(observations.device))
                for rows in _portions(len(observations), max(1, at_once // candidates))])
        if not torch.isfinite(chunks).all():
            raise ValueError('the policy proposes chunks that are not finite; look at its loss')
        return CandidateCache(chunks)

    def at(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the candidates (B, N, h, A) of ``rows`` (B,)."""
        return self.chunks.index_select(0, rows)

    def one_at(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one of the candidates at each of ``rows`` (B,), (B, h, A), by a CPU generator."""
        candidates = self.at(rows)
        which = torch.randint(candidates.shape[1], (len(rows),), generator=generator)
        return candidates[torch.arange(len(rows)), which.to(candidates.device)]


class ValueTable(nn.Module):
    """
    A value for each row of the data, as it was at the last tabulation.

    Lags behind the critic as a target network would, so none is needed beside it.

    :ivar values: (R,), a buffer: a training that goes on finds it as it was.
    """

    values: torch.Tensor

    def __init__(self, rows: int, every: int, at_once: int = AT_ONCE) -> None:
        """
        Make one of zeros.

        :param every: Updates from one tabulation to the next.
        :raises ValueError: ``every`` is below 1.
        """
        super().__init__()
        if every < 1:
            raise ValueError(f'values are tabulated every {every} updates, expected 1 or more')
        self._every, self._at_once = every, at_once
        self.register_buffer('values', torch.zeros(rows))

    @staticmethod
    def of(value_of: Callable[[torch.Tensor], torch.Tensor], rows: int, at_once: int,
           device: torch.device) -> ValueTable:
        """
        Return one of so many ``rows`` as ``value_of`` values them now.

        :raises ValueError: as `refresh`.
        """
        table = ValueTable(rows, 1, at_once)
        table.to(device)
        table._tabulate(value_of)
        return table

    def at(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the values of ``rows``, in their shape."""
        return self.values[rows]

    def refresh(self, updates: int, value_of: Callable[[torch.Tensor], torch.Tensor]) -> bool:
        """
        Tabulate anew where it is time, and say whether it was: at 0, ``every``, 2 ``every``, ...

        :param updates: Made so far.
        :param value_of: Rows (M,) to values (M,).
        :raises ValueError: A value is not finite; the table is as it was.
        """
        if updates % self._every:
            return False
        self._tabulate(value_of)
        return True

    def _tabulate(self, value_of: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.no_grad():
            numbers = torch.arange(len(self.values), device=self.values.device)
            found = torch.cat([value_of(numbers[rows])
                               for rows in _portions(len(numbers), self._at_once)])
        bad = (~torch.isfinite(found)).nonzero()
        if len(bad):
            raise ValueError(f'the value of row {int(bad[0])} is {float(found[bad[0]]):g}: the '
                             'critic diverged')
        self.values.copy_(found)


def _portions(count: int, at_once: int) -> Iterator[slice]:
    return (slice(start, start + at_once) for start in range(0, count, at_once))
