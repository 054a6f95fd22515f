"""
How far predicted chunks are from recorded ones, beside predictions that need no learning.

Open loop: each chunk is held against what the person did next; the arm never goes where the
prediction would have taken it. Knows no policy, no file and no robot.

Legend: N windows, H points of a chunk, J joints, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import FloatArray, frozen_array, ShapeError

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class RecordedWindows:
    """
    What was recorded where a policy is asked.

    :ivar state: Measured at the window's first row, shape (N, J), in the joints' units.
    :ivar last_action: Commanded one row before it, or ``state`` where an episode begins, (N, J).
    :ivar chunks: Commanded from the first row on, shape (N, H, J).
    :ivar valid: False where the episode was over, shape (N, H).
    :ivar episode: Which episode, counted from 0, shape (N,).
    """

    state: FloatArray
    last_action: FloatArray
    chunks: FloatArray
    valid: BoolArray
    episode: IndexArray

    def __post_init__(self) -> None:
        chunks = frozen_array(self.chunks, (None, None, None), 'chunks')
        count, horizon, joints = chunks.shape
        object.__setattr__(self, 'chunks', chunks)
        for name in ('state', 'last_action'):
            object.__setattr__(
                self, name, frozen_array(getattr(self, name), (count, joints), name))
        if self.valid.shape != (count, horizon) or self.valid.dtype != np.bool_:
            raise ShapeError(f'valid must be ({count}, {horizon}) bool, got '
                             f'{self.valid.shape} {self.valid.dtype}')
        if self.episode.shape != (count,):
            raise ShapeError(f'episode must be ({count},), got {self.episode.shape}')
        if not count or not self.valid.any():
            raise ValueError('there is no window to compare')
        if not np.isfinite(chunks).all():
            raise ValueError('a recorded chunk is not finite')


def baselines(held_out: RecordedWindows, training: RecordedWindows) -> dict[str, FloatArray]:
    """
    Return what could be said of the ``held_out`` windows without a model, (N, H, J) by name.

    ``hold state``: the arm stays where it is measured. ``hold action``: the last command stays;
    a policy is not shown it, so this one knows more. ``mean chunk``: the mean of the training
    chunks. ``mean relative chunk``: their mean movement, from where the arm is.

    :raises ShapeError: if the training chunks have another horizon or other joints.
    """
    shape = held_out.chunks.shape
    if training.chunks.shape[1:] != shape[1:]:
        raise ShapeError(f'training chunks must be (any, {shape[1]}, {shape[2]}), got '
                         f'{training.chunks.shape}')
    moved = training.chunks - training.state[:, None]
    return {
        'hold state': np.broadcast_to(held_out.state[:, None], shape),
        'hold action': np.broadcast_to(held_out.last_action[:, None], shape),
        'mean chunk': np.broadcast_to(_mean(training.chunks, training.valid), shape),
        'mean relative chunk': held_out.state[:, None] + _mean(moved, training.valid)}


def _mean(chunks: FloatArray, valid: BoolArray) -> FloatArray:
    """Return the mean (H, J) over valid entries; a point no chunk has repeats the one before."""
    counts = valid.sum(axis=0)
    sums = np.where(valid[:, :, None], chunks, 0.0).sum(axis=0)
    means: FloatArray = sums / np.maximum(counts, 1)[:, None]
    # Which points any chunk reaches is a beginning of the horizon: episodes end, never resume.
    reached = int(np.flatnonzero(counts)[-1])
    means[reached + 1:] = means[reached]
    return means


@dataclass(frozen=True)
class ChunkErrors:
    """
    Absolute errors of one predictor, averaged over valid entries only.

    :ivar mean: Over windows, points and joints.
    :ivar rms: Root mean square over the same.
    :ivar by_step: Mean per point of the chunk, shape (H,); NaN where no window has it.
    :ivar by_joint: Mean per joint, shape (J,).
    :ivar by_episode: Mean per episode, shape (E,); NaN where it has no window.
    """

    mean: float
    rms: float
    by_step: FloatArray
    by_joint: FloatArray
    by_episode: FloatArray


def chunk_errors(predicted: FloatArray, recorded: RecordedWindows,
                 scale: FloatArray | None = None) -> ChunkErrors:
    """
    Return how far ``predicted`` (N, H, J) is from what was recorded.

    :param scale: Errors are divided by it, shape (J,): with the spread of each joint, joints of
        different units count alike.
    :raises ShapeError: another shape than the recorded chunks'.
    :raises ValueError: if a prediction is not finite.
    """
    error = _error(predicted, recorded, scale)
    valid = recorded.valid
    weights = valid.sum(axis=1)
    per_window = np.where(valid[:, :, None], error, 0.0).mean(axis=2).sum(axis=1)
    episodes = int(recorded.episode.max()) + 1
    entries = np.bincount(recorded.episode, weights, episodes)
    return ChunkErrors(
        mean=float(error[valid].mean()), rms=float(np.sqrt((error[valid] ** 2).mean())),
        by_step=_ratio(np.where(valid, error.mean(axis=2), 0.0).sum(axis=0), valid.sum(axis=0)),
        by_joint=error[valid].mean(axis=0),
        by_episode=_ratio(np.bincount(recorded.episode, per_window, episodes), entries))


def _error(predicted: FloatArray, recorded: RecordedWindows,
           scale: FloatArray | None) -> FloatArray:
    if predicted.shape != recorded.chunks.shape:
        raise ShapeError(
            f'predicted must have shape {recorded.chunks.shape}, got {predicted.shape}')
    if not np.isfinite(predicted).all():
        raise ValueError('a predicted chunk is not finite')
    error = np.abs(predicted - recorded.chunks)
    return error if scale is None else error / scale


def _ratio(sums: NDArray[Any], counts: NDArray[Any]) -> FloatArray:
    counted = counts.astype(np.float64)
    return np.where(counted > 0, sums / np.maximum(counted, 1.0), np.nan)


@dataclass(frozen=True)
class Comparison:
    """
    One predictor against another on the same windows.

    :ivar ratio: Its mean error as a share of the other's; below 1 is better.
    :ivar by_episode: That share in each episode that has windows.
    :ivar better_episodes: How many of them are below 1.
    :ivar better_windows: Share of the windows whose mean error is smaller.
    """

    ratio: float
    by_episode: tuple[float, ...]
    better_episodes: int
    better_windows: float


def compare(predicted: FloatArray, other: FloatArray, recorded: RecordedWindows,
            scale: FloatArray | None = None) -> Comparison:
    """
    Return how ``predicted`` compares with ``other``, both (N, H, J).

    :raises ShapeError, ValueError: as `chunk_errors`.
    """
    mine, theirs = (chunk_errors(one, recorded, scale) for one in (predicted, other))
    shares = mine.by_episode / np.maximum(theirs.by_episode, np.finfo(float).tiny)
    shares = shares[np.isfinite(shares)]
    counted = recorded.valid.any(axis=1)
    windows = [
        np.where(recorded.valid[:, :, None], _error(one, recorded, scale), 0.0).sum(axis=(1, 2))
        for one in (predicted, other)]
    return Comparison(
        mine.mean / max(theirs.mean, float(np.finfo(float).tiny)),
        tuple(float(share) for share in shares), int((shares < 1.0).sum()),
        float((windows[0] < windows[1])[counted].mean()))


def joint_scale(training: RecordedWindows) -> FloatArray:
    """
    Return the standard deviation of each joint's first recorded target, shape (J,).

    A joint that never moved counts in its own unit (1.0), as there is no spread to divide by.
    """
    deviation = training.chunks[:, 0].std(axis=0)
    return np.where(deviation > 1e-6, deviation, 1.0)


def grouped(errors: Mapping[str, ChunkErrors], columns: Mapping[str, list[int]]
            ) -> dict[str, dict[str, float]]:
    """Return by group of joints and by predictor the mean error over the group's joints."""
    return {group: {name: float(one.by_joint[places].mean()) for name, one in errors.items()}
            for group, places in columns.items() if places}
