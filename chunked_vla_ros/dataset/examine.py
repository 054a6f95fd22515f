"""
Read a dataset episode by episode into measures, pictures and lines for plots, in bounded memory.

What cannot be read becomes part of the result, not an error. Judges and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from chunked_vla_ros.core.camera_measures import CameraMeasures, measure_camera
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures, measure_episode
from chunked_vla_ros.core.dataset_norms import DatasetHead
from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import Dataset, DatasetError
from chunked_vla_ros.dataset.camera_numbers import look_at
from chunked_vla_ros.report.film_strip import FilmFrame

# What a page may carry: small pictures in all, per camera and episode, and points of a line.
MOST_PICTURES, MOST_PER_CAMERA = 1600, 8
MOST_POINTS = 240
PICTURE_WIDTH = 112
LINES_KEPT = 8_000_000


@dataclass(frozen=True)
class Lines:
    """State and action of an episode, thinned: times (N,), state (N, J), action (N, A)."""

    times_s: FloatArray
    state: FloatArray
    action: FloatArray | None


@dataclass(frozen=True)
class Examined:
    """
    One episode: its measures, and what a page shows of it.

    :ivar strips: By camera, a few small pictures.
    :ivar lines: ``None`` where it cannot be read, or nothing is to be shown.
    """

    measures: EpisodeMeasures
    strips: Mapping[str, tuple[FilmFrame, ...]] = field(default_factory=dict)
    lines: Lines | None = None


def head_of(dataset: Dataset) -> DatasetHead:
    """Return what a dataset says of itself."""
    return DatasetHead(dataset.fps, dataset.timed, dataset.state_names, dataset.action_names,
                       dataset.cameras)


def examine(dataset: Dataset, frames: bool, shown: bool,
            progress: Callable[[], None]) -> Iterator[Examined]:
    """
    Yield every episode.

    :param frames: Whether to look at the cameras.
    :param shown: Whether to keep pictures and lines for a page.
    :param progress: Called after each episode.
    """
    per_camera = 0
    if shown and dataset.cameras:
        per_camera = MOST_PICTURES // (len(dataset.episodes) * len(dataset.cameras))
        per_camera = min(max(per_camera, 1), MOST_PER_CAMERA)
    for index in dataset.episodes:
        yield _examine(dataset, index, frames, shown, per_camera)
        progress()


def _examine(dataset: Dataset, index: int, frames: bool, shown: bool,
             per_camera: int) -> Examined:
    try:
        episode = dataset.episode(index)
        columns, facts = dataset.columns(index), dataset.facts(index)
    except DatasetError as error:
        return Examined(EpisodeMeasures(index, error=str(error)))
    cameras: dict[str, CameraMeasures] = {}
    strips: dict[str, tuple[FilmFrame, ...]] = {}
    for camera in dataset.cameras if frames else ():
        try:
            look = look_at(dataset.frames(index, camera), len(episode.times_s), per_camera,
                           PICTURE_WIDTH)
        except DatasetError as error:
            cameras[camera] = CameraMeasures(0, error=str(error))
            continue
        cameras[camera], strips[camera] = measure_camera(look.numbers), look.shown
    return Examined(measure_episode(episode, columns, facts, cameras), strips,
                    _lines(episode, len(dataset.episodes)) if shown else None)


def _lines(episode: Episode, episodes: int) -> Lines:
    """
    Return an episode's lines, with fewer points the more episodes and joints there are.

    The largest step of each joint is among them: a jump must show.
    """
    columns = len(episode.state_names) + len(episode.action_names)
    points = min(MOST_POINTS, max(LINES_KEPT // (8 * episodes * columns), 16))
    chosen = np.linspace(0, len(episode.times_s) - 1, points).round().astype(int)
    if len(episode.times_s) > 1:
        steps = np.abs(np.diff(episode.state, axis=0)).argmax(axis=0)
        chosen = np.concatenate([chosen, steps, steps + 1])
    chosen = np.unique(chosen)
    return Lines(episode.times_s[chosen], episode.state[chosen],
                 None if episode.action is None else episode.action[chosen])
