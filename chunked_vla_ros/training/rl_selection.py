"""
Which demonstrated chunks a policy learns from.

By how much more than usual they achieved; or, as controls, by the outcome of their episode alone.
Legend: N chunks, E episodes, W windows of the policy. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import episode_of, IntArray, Windows
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
