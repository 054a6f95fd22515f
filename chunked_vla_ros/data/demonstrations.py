"""
Load the motion of a recorded demonstration, as the graph replays it, from any dataset.

Commands where they were recorded, measured positions elsewhere. Knows nothing about the robot
that will follow.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.core.retarget import Demonstration
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.datasets import open_dataset

DemonstrationError = DatasetError


def load_demonstration(path: str | Path, episode: int | None = None) -> Demonstration:
    """
    Return a recorded motion: that of ``episode``, or of the dataset's first one.

    :param path: A dataset's directory, or a ``.npy`` recording.
    :raises DemonstrationError: one line that names file, found and expected content.
    """
    dataset = open_dataset(path)
    found = dataset.episode(dataset.episodes[0] if episode is None else episode)
    commanded = found.action is not None
    try:
        return Demonstration(
            found.times_s, found.state if found.action is None else found.action,
            found.action_names if commanded else found.state_names, found.source)
    except ValueError as error:
        raise DatasetError(f'{path}: {found.source}: {error}') from error
