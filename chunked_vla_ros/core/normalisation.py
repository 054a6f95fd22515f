"""
Statistics of the training data that make states and actions numbers of about unit size.

Legend: R rows, N windows, H points of a chunk, J joints. A joint that may be blended is learnt as
the way from the observed state to the target, and scaled for each point of the chunk by itself, as
the way grows with time; a binary one is learnt as it is. Knows no file and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from chunked_vla_ros.core.training_windows import Windows
from chunked_vla_ros.core.types import DimKind, FloatArray, frozen_array

# What spreads by less than this share of its range, or of 1, stands still: dividing by its
# spread would make noise of the sensor, or of float32, into something to be learnt.
STILL_SHARE = 1e-4
# In the joints' units: what trembles by less is no motion to be magnified. On a robot a joint may
# be held some hundredths of a radian away from where it was demonstrated.
LEAST_STATE_STD = 0.01
# The first points of a chunk are next to the observed state: what they differ by is the lag of a
# controller, a few mrad. Scaled to 1 it would outweigh the motion, so no point of a joint counts
# as spreading by less than this share of the one that spreads most.
LEAST_SHARE = 0.15


@dataclass(frozen=True)
class Normalisation:
    """
    What a policy's numbers mean.

    :ivar state_mean: Shape (J,) in the joints' units, as all but ``relative``.
    :ivar state_std: Shape (J,), above 0; 1 where the joint stands still, as fitted now not below
        ``LEAST_STATE_STD``.
    :ivar action_mean: Shape (H, J), of the target, less the observed state where ``relative``.
    :ivar action_std: Shape (H, J), above 0; 1 where a joint always moves alike.
    :ivar relative: Shape (J,), whether targets are learnt relative to the observed state.
    :ivar state_min: Shape (J,), as ``state_max``, ``action_min``, ``action_max``: of the rows.
    :ivar action_raw_mean: Shape (J,), of the rows' targets as they are; so ``action_raw_std``.
    """

    state_mean: FloatArray
    state_std: FloatArray
    action_mean: FloatArray
    action_std: FloatArray
    relative: np.ndarray[Any, np.dtype[np.bool_]]
    state_min: FloatArray
    state_max: FloatArray
    action_min: FloatArray
    action_max: FloatArray
    action_raw_mean: FloatArray
    action_raw_std: FloatArray

    def __post_init__(self) -> None:
        relative = np.array(self.relative)
        if relative.ndim != 1 or relative.dtype != np.bool_ or not len(relative):
            raise ValueError(f'relative is {str(self.relative)[:60]}, expected J booleans')
        relative.setflags(write=False)
        object.__setattr__(self, 'relative', relative)
        joints, horizon = len(relative), len(np.atleast_1d(self.action_mean))
        for spec in fields(self):
            if spec.name == 'relative':
                continue
            per_point = spec.name in ('action_mean', 'action_std')
            values = frozen_array(getattr(self, spec.name),
                                  (horizon, joints) if per_point else (joints,), spec.name)
            if not values.size or not np.isfinite(values).all():
                raise ValueError(f'{spec.name} has a value that is not finite, or none at all')
            object.__setattr__(self, spec.name, values)
        for name in ('state_std', 'action_std'):
            if (getattr(self, name) <= 0.0).any():
                raise ValueError(f'{name} has a value that is not above 0')

    @property
    def horizon(self) -> int:
        """Return H."""
        return len(self.action_mean)

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as lists, for JSON."""
        return {spec.name: getattr(self, spec.name).tolist() for spec in fields(self)}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Normalisation:
        """
        Return what `to_dict` wrote.

        :raises ValueError: one line that names the key that is missing, unknown or wrong.
        """
        names = [spec.name for spec in fields(Normalisation)]
        if not isinstance(content, Mapping):
            raise ValueError(f'normalisation is {str(content)[:60]}, expected keys and numbers')
        for name in names:
            if name not in content:
                raise ValueError(f'normalisation lacks {name}, expected {", ".join(names)}')
        for name in content:
            if name not in names:
                raise ValueError(f'normalisation has {str(name)[:60]!r}, expected only '
                                 f'{", ".join(names)}')
        arrays: dict[str, Any] = {}
        for name in names:
            try:
                arrays[name] = np.array(
                    content[name], None if name == 'relative' else np.float64)
            except (ValueError, TypeError) as error:
                raise ValueError(f'normalisation: {name} is {str(content[name])[:60]}, expected '
                                 'numbers in rows of one length') from error
        try:
            return Normalisation(**arrays)
        except ValueError as error:
            raise ValueError(f'normalisation: {error}') from error


def fit_normalisation(state: np.ndarray[Any, Any], action: np.ndarray[Any, Any],
                      windows: Windows, dim_kinds: Sequence[DimKind]) -> Normalisation:
    """
    Return the statistics of the windows, those of a training split and no others.

    :param state: Shape (R, J), as ``action``, of all rows; only those of windows are looked at.
    :param dim_kinds: J of them.
    :raises ValueError: there is no window, or a value is not finite.
    """
    if not len(windows):
        raise ValueError('there is no window to fit a normalisation to')
    observed, commanded = (np.asarray(table[windows.rows], np.float64)
                           for table in (state, action))
    relative = np.array([kind is DimKind.CONTINUOUS for kind in dim_kinds])
    means, stds = [], []
    for point in range(windows.horizon):
        rows = windows.rows + point * windows.stride
        inside = rows < windows.ends
        if inside.any():
            way = (np.asarray(action[rows[inside]], np.float64)
                   - np.where(relative, observed[inside], 0.0))
            means.append(way.mean(axis=0))
            stds.append(way.std(axis=0))
        else:    # longer than every episode: no loss ever looks here, but it must be finite
            means.append(means[-1])
            stds.append(stds[-1])
    spread = np.maximum(stds, LEAST_SHARE * np.max(stds, axis=0))
    return Normalisation(
        state_mean=observed.mean(axis=0),
        state_std=np.maximum(
            LEAST_STATE_STD, _moving(observed.std(axis=0), np.ptp(observed, axis=0))),
        action_mean=np.array(means), action_std=_moving(spread, np.ptp(commanded, axis=0)),
        relative=relative,
        state_min=observed.min(axis=0), state_max=observed.max(axis=0),
        action_min=commanded.min(axis=0), action_max=commanded.max(axis=0),
        action_raw_mean=commanded.mean(axis=0), action_raw_std=commanded.std(axis=0))


def _moving(spread: FloatArray, ranges: FloatArray) -> FloatArray:
    """Return standard deviations (..., J), 1 where a joint of range ``ranges`` (J,) is still."""
    still = spread < STILL_SHARE * np.maximum(1.0, ranges)
    return np.where(still, 1.0, spread)
