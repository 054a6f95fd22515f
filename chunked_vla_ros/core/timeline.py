"""
Merge an episode's rows and images into one sequence, ordered by when each is due.

Times only: who waits for them has the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
import heapq
from operator import attrgetter

from chunked_vla_ros.core.episode import Episode

JOINT_STATES, CAMERAS, TRAJECTORY = 'joint_states', 'cameras', 'trajectory'


@dataclass(frozen=True)
class TimelineItem:
    """
    Something to publish.

    :ivar due_ns: When, in [ns] after the episode's start as it was recorded.
    :ivar stream: ``joint_states``, ``trajectory`` or the name of a camera.
    :ivar row: Row of the episode, or number of the image.
    :ivar image: The image's compressed bytes, b'' for rows.
    """

    due_ns: int
    stream: str
    row: int
    image: bytes = b''


def timeline(episode: Episode, streams: Collection[str],
             images: Mapping[str, Iterable[tuple[float, bytes]]]) -> Iterator[TimelineItem]:
    """
    Yield what is to be published, ordered by time; images are drawn one by one as they are due.

    :param streams: Which of ``joint_states`` and ``trajectory``; the latter needs an action.
    :param images: Per camera (time in [s], compressed bytes), ordered.
    """
    parts = [_rows(episode, JOINT_STATES)] if JOINT_STATES in streams else []
    if TRAJECTORY in streams and episode.action is not None:
        parts.append(_rows(episode, TRAJECTORY))
    parts += [_images(camera, frames) for camera, frames in images.items()]
    return heapq.merge(*parts, key=attrgetter('due_ns'))


def _rows(episode: Episode, stream: str) -> Iterator[TimelineItem]:
    for row, at_s in enumerate(episode.times_s):
        yield TimelineItem(round(float(at_s) * 1e9), stream, row)


def _images(camera: str, frames: Iterable[tuple[float, bytes]]) -> Iterator[TimelineItem]:
    for number, (at_s, image) in enumerate(frames):
        yield TimelineItem(round(at_s * 1e9), camera, number, image)
