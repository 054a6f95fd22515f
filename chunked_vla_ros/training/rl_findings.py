"""
What offline RL has to say besides its curves: what the data support, and what was learnt from.

Knows no network and no page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.rl_support import Support
from chunked_vla_ros.core.training_windows import episode_of, IntArray
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.training.rl_selection import Selection


@dataclass(frozen=True)
class RlFindings:
    """
    What was found.

    :ivar start: Where it began, in words.
    :ivar selection: ``None`` while nothing is chosen.
    """

    start: str
    support: Support
    selection: Selection | None = None

    def shares(self, episode_starts: IntArray, episodes: IntArray) -> FloatArray:
        """Return which share of the chunks of each of ``episodes`` (M,) counts, (M,)."""
        assert self.selection is not None
        of = episode_of(self.selection.rows, episode_starts)
        kept = self.selection.kept
        return np.array([kept[of == episode].mean() if (of == episode).any() else np.nan
                         for episode in episodes], np.float64)
