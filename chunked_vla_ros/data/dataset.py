"""
What every dataset reader offers, whatever the format, and the one error that it raises.

A reader is opened by `data.datasets`. Knows nothing about ROS and nothing about a robot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import importlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.episode import Episode

RgbArray = npt.NDArray[np.uint8]
# Booleans, whole numbers or floats, one for each row.
ColumnArray = npt.NDArray[Any]


class DatasetError(ValueError):
    """A dataset cannot be used; the message is one line with file, what was found and remedy."""


class Dataset(Protocol):
    """
    A dataset that is open for reading.

    :ivar layout: Name of the format, for people.
    :ivar fps: Rows per second in [Hz], nominal.
    :ivar timed: Whether the times of rows were recorded; ``False`` where they are only counted.
    :ivar robot_type: As the dataset names its robot, '' where it does not.
    :ivar state_names: J joint names of the dataset's own.
    :ivar action_names: A names, () where there is no action.
    :ivar cameras: Names of the cameras.
    :ivar episodes: Numbers of the episodes whose files are there, ascending.
    """

    layout: str
    fps: float
    timed: bool
    robot_type: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: tuple[str, ...]
    episodes: tuple[int, ...]

    def episode(self, index: int) -> Episode:
        """
        Return one episode, read anew.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        ...

    def columns(self, index: int) -> Mapping[str, ColumnArray]:
        """
        Return what else is known of each of N rows, (N,) each; {} where nothing is.

        ``next.reward``, ``next.done``, ``next.success``, ``intervention``, ``stamp_ns``, and by
        stream ``source_stamp_ns.<stream>`` and ``age_s.<stream>`` in [s].

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        ...

    def facts(self, index: int) -> Mapping[str, str]:
        """
        Return what is said of a whole episode: source, outcome, action_source, verdict; or {}.

        :raises DatasetError: one line that names the episodes that there are.
        """
        ...

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s] since the episode's first row, (H, W, 3) RGB), decoded one by one.

        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        ...


def need(module: str) -> Any:
    """
    Return an optional module.

    :raises DatasetError: one line that names what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DatasetError(
            f'{module.partition(".")[0]} is not installed and this dataset needs it: '
            'pip install -r requirements/data.txt (extra data)') from error


def absent(source: str, what: str, wanted: object, present: tuple[Any, ...]) -> DatasetError:
    """Return the error that says which of ``what`` there are."""
    shown = ', '.join(map(str, present[:20])) or '(none)'
    more = f', ... {len(present)} in all' if len(present) > 20 else ''
    return DatasetError(f'{source}: has no {what} {wanted}, expected one of {shown}{more}')


def cause(error: Exception) -> str:
    """Return why something failed, in one line."""
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return ' '.join(str(text).split())[:200]
