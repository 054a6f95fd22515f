"""
Which demonstrated chunks a policy learns from.

By how much more than usual they achieved; or, as controls, by the outcome of their episode alone.
Legend: N chunks, E episodes, W windows of the policy. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import episode_of, IntArray, Windows
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.rewarded_rows import RewardedRows
from chunked_vla_ros.training.advantage import draw_by_weight, keep_fraction, soft_weights
from chunked_vla_ros.training.rl_config import ALL, FASTEST, KEEP, RlConfig
from chunked_vla_ros.training.step_draws import SELECTION, step_generator


@dataclass(frozen=True)
class Selection:
    """
    What was chosen.

    :ivar rows: (N,) int64, where the chunks begin; ``weights`` (N,): 0 for what is left out.
    :ivar advantages: (N,); ``None`` where no critic was asked.
    """

    rows: IntArray
    weights: npt.NDArray[np.float32]
    advantages: npt.NDArray[np.float32] | None = None

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Return which chunks count at all, (N,)."""
        chosen: npt.NDArray[np.bool_] = self.weights > 0.0
        return chosen

    def numbers(self) -> dict[str, float]:
        """Return what there is to say of it."""
        kept = self.kept
        counts = {'chunks': float(len(kept)), 'kept': float(kept.sum())}
        if self.advantages is None:
            return counts
        return {**counts,
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
    return Selection(rows, weights.cpu().numpy(), advantages.cpu().numpy())


def select_demonstrations(selection: str, rewarded: RewardedRows, episodes: IntArray,
                          rows: IntArray) -> Selection:
    """
    Return the chunks of whole episodes that ``selection``, of `CONTROLS`, names.

    :param episodes: (E,) numbers of those that are learnt from.
    :param rows: (N,), where their chunks begin.
    :raises ValueError: there is no such episode.
    """
    chosen = _chosen(selection, rewarded, np.asarray(episodes, np.int64))
    if not len(chosen):
        raise ValueError(f'rl.selection is {selection} and none of {len(episodes)} episodes '
                         'succeeded: label those that did')
    of = episode_of(rows, rewarded.rows.episode_starts)
    return Selection(rows, np.isin(of, chosen).astype(np.float32))


def _chosen(selection: str, rewarded: RewardedRows, episodes: IntArray) -> IntArray:
    """Return the numbers of the episodes that count; of an odd number the middle one counts."""
    if selection == ALL:
        return episodes
    good = episodes[rewarded.success[episodes]]
    if selection != FASTEST:
        return good
    tasks, lengths = rewarded.rows.instruction_of, rewarded.trajectories.lengths
    each = [good[tasks[good] == task] for task in np.unique(tasks[good])]
    ordered = [mine[np.argsort(lengths[mine], kind='stable')] for mine in each]
    halves: IntArray = np.sort(np.concatenate([
        mine[:(len(mine) + 1) // 2] for mine in ordered])) if ordered else good
    return halves


def selected_windows(selection: Selection, windows: Windows) -> IntArray:
    """
    Return the numbers of the windows (W,) that begin where a chosen chunk does.

    Of a window that is listed several times each counts.
    """
    found: IntArray = np.flatnonzero(_shares(selection, windows) > 0.0).astype(np.int64)
    return found


def order_of(selection: Selection, windows: Windows, batch_size: int, seed: int) -> WindowOrder:
    """Return in which order ``windows``, the selected ones, are shown: weighed, if they are."""
    return _order_by(_shares(selection, windows), batch_size, seed)


def emphasised_order(windows: Windows, rows: IntArray, batch_size: int, seed: int) -> WindowOrder:
    """
    Return the order of chunks that begin at ``rows`` (N,), each as often as a window does there.

    What imitation shows more often (`ImitationConfig.emphasis`) is shown more often here too.
    """
    listed = np.bincount(windows.rows, minlength=int(rows.max()) + 1)
    return _order_by(np.maximum(listed[rows], 1), batch_size, seed)


def _order_by(weights: npt.NDArray[Any], batch_size: int, seed: int) -> WindowOrder:
    if len(np.unique(weights)) == 1:
        return WindowOrder(len(weights), batch_size, seed)
    return WeighedOrder(weights, batch_size, seed)


class WeighedOrder(WindowOrder):
    """
    Windows drawn anew for every step, each as often as its weight says.

    Cloning those of a batch is, on average, weighted cloning of all (AWR). As of any order, a
    step's windows depend on seed and step alone.
    """

    def __init__(self, weights: npt.ArrayLike, batch_size: int, seed: int) -> None:
        """
        Draw from windows of ``weights`` (W,).

        :raises ValueError: as `WindowOrder`.
        """
        self._weights = torch.from_numpy(np.array(weights, np.float64))
        super().__init__(len(self._weights), batch_size, seed)

    def indices(self, step: int) -> IntArray:
        """Return the windows of step 0, 1, ...: shape (batch_size,)."""
        drawn: IntArray = draw_by_weight(
            self._weights, self.batch_size, step_generator(self.seed, step, SELECTION)).numpy()
        return drawn


def _shares(selection: Selection, windows: Windows) -> npt.NDArray[np.float64]:
    """Return the weight of the chunk at which each window begins, (W,); 0 where none does."""
    weight = np.zeros(int(max(selection.rows.max(), windows.rows.max())) + 1)
    weight[selection.rows] = selection.weights
    shares: npt.NDArray[np.float64] = weight[windows.rows]
    return shares
