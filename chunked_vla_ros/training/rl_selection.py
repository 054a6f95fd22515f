"""
Which demonstrated chunks a policy learns from, by how much more than usual they achieved.

Legend: N chunks, W windows of the policy. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import IntArray, Windows
from chunked_vla_ros.training.advantage import draw_by_weight, keep_fraction, soft_weights
from chunked_vla_ros.training.rl_config import KEEP, RlConfig
from chunked_vla_ros.training.step_draws import SELECTION, step_generator


@dataclass(frozen=True)
class Selection:
    """
    What was chosen.

    :ivar rows: (N,) int64, where the chunks begin; ``advantages`` (N,), ``weights`` (N,): 0 for
        what is left out.
    """

    rows: IntArray
    advantages: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Return which chunks count at all, (N,)."""
        chosen: npt.NDArray[np.bool_] = self.weights > 0.0
        return chosen

    def numbers(self) -> dict[str, float]:
        """Return what there is to say of it."""
        kept = self.kept
        return {'chunks': float(len(kept)), 'kept': float(kept.sum()),
                'advantage_of_kept': float(self.advantages[kept].mean()),
                'advantage_of_all': float(self.advantages.mean()),
                'advantage_spread': float(self.advantages.std())}


def select(config: RlConfig, rows: IntArray, advantages: torch.Tensor) -> Selection:
    """
    Return the chunks that ``config`` chooses by their ``advantages`` (N,); they begin at ``rows``.

    :raises ValueError: an advantage is not finite.
    """
    weights = (keep_fraction(advantages, config.keep_fraction).float()
               if config.selection == KEEP else soft_weights(advantages, config.temperature))
    return Selection(rows, advantages.cpu().numpy(), weights.cpu().numpy())


def selected_windows(selection: Selection, windows: Windows, seed: int) -> IntArray:
    """
    Return the numbers of the windows (W,) that begin where a chosen chunk does.

    Of a window that is listed several times each counts. Weighed ones are drawn, as many as there
    are, each as often as its weight says.
    """
    weight = np.zeros(int(max(selection.rows.max(), windows.rows.max())) + 1)
    weight[selection.rows] = selection.weights
    shares = weight[windows.rows]
    there = np.flatnonzero(shares > 0.0)
    if len(np.unique(shares[there])) == 1:
        return there.astype(np.int64)
    drawn = draw_by_weight(torch.from_numpy(shares), len(shares),
                           step_generator(seed, 0, SELECTION))
    found: IntArray = np.sort(drawn.numpy()).astype(np.int64)
    return found
