"""
The methods of the Q-chunking family by name, with their published numbers.

One class with three switches: how the policy comes out of flow and critic, whether whole chunks
or single actions are judged, and over how many steps the backup goes. Numbers: Li, Zhou and
Levine 2025 (arXiv 2507.07969), tables 3 to 5, where they differ by task those of cube-double and
scene. The discount is not here: `ChunkTransitions` holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chunked_vla_ros.training.q_networks import HIDDEN


class Extraction(Enum):
    """
    How the policy comes out of the behaviour flow and the critic.

    BEST_OF_N: the sample of the flow that the critic values most.
    DISTILLED: a one-step network that imitates the flow and climbs the critic.
    """

    BEST_OF_N = 'best of N'
    DISTILLED = 'distilled'


class Aggregate(Enum):
    """What the members of a critic say together."""

    MEAN = 'mean'
    MIN = 'min'


@dataclass(frozen=True, kw_only=True)
class ChunkBackup:
    """
    What the methods of all families are told of their critic.

    :ivar chunked: Whether critic and policy are about whole chunks. Otherwise they are about the
        first action alone, and a backup of several steps is biased (the "-n" methods, on purpose).
    :ivar horizon: h, steps of the backup.
    :ivar members: K of the critic.
    :ivar hidden: Features of each hidden layer of every network.
    :ivar target_share: How far the target critic follows in one update.
    :raises ValueError: a number that nothing can be done with.
    """

    chunked: bool
    horizon: int = 5
    members: int = 2
    hidden: tuple[int, ...] = HIDDEN
    aggregate: Aggregate = Aggregate.MEAN
    target_share: float = 0.005
    learning_rate: float = 3e-4
    batch_size: int = 256

    def __post_init__(self) -> None:
        self._check_counts('horizon', 'members', 'batch_size')
        if not 0.0 < self.target_share <= 1.0:
            raise ValueError(
                f'target_share is {self.target_share:g}, expected more than 0 and at most 1')

    @property
    def points(self) -> int:
        """Return how many points critic and policy are about."""
        return self.horizon if self.chunked else 1

    def _check_counts(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}, expected 1 or more')


@dataclass(frozen=True)
class Method(ChunkBackup):
    """
    One of the family.

    :ivar candidates: N of the best of N.
    :ivar alpha: What imitating the flow counts for a distilled policy.
    :raises ValueError: a number that nothing can be done with.
    """

    extraction: Extraction
    candidates: int = 32
    alpha: float = 300.0
    flow_steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_counts('candidates', 'flow_steps')
        if self.alpha < 0.0:
            raise ValueError(f'alpha is {self.alpha:g}, expected 0 or more')

    def noise_shape(self, count: int, width: int) -> tuple[int, ...]:
        """Return the shape of the noise that the policy needs at ``count`` states."""
        if self.extraction is Extraction.BEST_OF_N:
            return (count, self.candidates, self.points, width)
        return (count, self.points, width)


METHODS = {
    'qc': Method(Extraction.BEST_OF_N, chunked=True),
    'qc_fql': Method(Extraction.DISTILLED, chunked=True),
    'bfn': Method(Extraction.BEST_OF_N, chunked=False, horizon=1, candidates=4),
    'bfn_n': Method(Extraction.BEST_OF_N, chunked=False, candidates=4),
    'fql': Method(Extraction.DISTILLED, chunked=False, horizon=1),
    'fql_n': Method(Extraction.DISTILLED, chunked=False, alpha=100.0),
}
