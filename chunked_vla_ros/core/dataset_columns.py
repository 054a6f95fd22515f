"""
The columns of a dataset in LeRobot's words: names, types, shapes, and an episode's values.

The columns beyond LeRobot's own say what a row cannot show: reward, success, intervention, and by
which clock and how old each sample was. Knows no file format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.dataset_episode import DatasetEpisode

STATE, ACTION, CAMERA = 'observation.state', 'action', 'observation.images.'
EPISODE_INDEX, INDEX, TASK_INDEX = 'episode_index', 'index', 'task_index'
REWARD, DONE, SUCCESS = 'next.reward', 'next.done', 'next.success'
INTERVENTION, STAMP = 'intervention', 'stamp_ns'
SOURCE_STAMP, AGE = 'source_stamp_ns.', 'age_s.'
VIDEO, IMAGE = 'video', 'image'

Feature = dict[str, Any]


def scalar_columns(streams: tuple[str, ...]) -> dict[str, str]:
    """Return the type of each column of one number, by name; the age of each of ``streams``."""
    return {
        'timestamp': 'float32', 'frame_index': 'int64', EPISODE_INDEX: 'int64', INDEX: 'int64',
        TASK_INDEX: 'int64', REWARD: 'float32', DONE: 'bool', SUCCESS: 'bool',
        INTERVENTION: 'bool', STAMP: 'int64',
        **{f'{SOURCE_STAMP}{stream}': 'int64' for stream in streams},
        **{f'{AGE}{stream}': 'float32' for stream in streams}}


def features_of(episode: DatasetEpisode, camera_type: str = VIDEO) -> dict[str, Feature]:
    """
    Return what info.json says of each column.

    :param camera_type: `VIDEO` or `IMAGE`.
    """
    names = list(episode.joint_names)
    vector: Feature = {'dtype': 'float32', 'shape': [len(names)], 'names': names}
    features: dict[str, Feature] = {STATE: vector, ACTION: dict(vector)}
    for camera, shape in sorted(episode.frame_shapes.items()):
        features[f'{CAMERA}{camera}'] = {
            'dtype': camera_type, 'shape': list(shape), 'names': ['height', 'width', 'channels']}
    for name, kind in scalar_columns(tuple(sorted(episode.stamps_ns))).items():
        features[name] = {'dtype': kind, 'shape': [1], 'names': None}
    return features


def cameras_of(features: dict[str, Feature]) -> list[str]:
    """Return the columns that hold frames."""
    return [name for name, feature in features.items() if feature['dtype'] in (VIDEO, IMAGE)]


def columns_of(episode: DatasetEpisode) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """
    Return the values of every column that holds no frames, N rows, and the tasks they name.

    Numbers of the episode, and of the row in the dataset, are those of a dataset of its own.
    """
    count = len(episode.times_ns)
    tasks = tuple(dict.fromkeys(episode.tasks))
    place = {task: index for index, task in enumerate(tasks)}
    columns: dict[str, NDArray[Any]] = {
        STATE: episode.state, ACTION: episode.action,
        'timestamp': np.arange(count) / episode.fps, 'frame_index': np.arange(count),
        EPISODE_INDEX: np.zeros(count, np.int64), INDEX: np.arange(count),
        TASK_INDEX: np.array([place[task] for task in episode.tasks]),
        REWARD: episode.reward, DONE: episode.done, SUCCESS: episode.success,
        INTERVENTION: episode.intervention, STAMP: episode.times_ns,
        **{f'{SOURCE_STAMP}{name}': stamps for name, stamps in episode.stamps_ns.items()},
        **{f'{AGE}{name}': ages for name, ages in episode.ages_s.items()}}
    types = {STATE: 'float32', ACTION: 'float32',
             **scalar_columns(tuple(sorted(episode.stamps_ns)))}
    return {name: columns[name].astype(kind) for name, kind in types.items()}, tasks
