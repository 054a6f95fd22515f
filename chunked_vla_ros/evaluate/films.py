"""
Film strips of some episodes: those that failed, and those that did not, from beginning to end.

The pictures are rendered from the positions that episodes kept. Knows nothing about policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.evaluate.episode import EpisodeRecord
from chunked_vla_ros.evaluate.station import scene_model
from chunked_vla_ros.report.film_strip import film_frame, FilmFrame
from chunked_vla_ros.sim.cameras import CameraRig

MOST_FAILURES, MOST_SUCCESSES = 4, 2
MOMENTS, WIDTH_PX = 8, 160

MomentT = TypeVar('MomentT')


@dataclass(frozen=True)
class EpisodeFilm:
    """
    The pictures of one episode by one camera.

    :ivar label: Which policy it was and how it was run.
    """

    label: str
    record: EpisodeRecord
    camera: str
    frames: tuple[FilmFrame, ...]


def worth_seeing(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Return the first failures and the first successes."""
    return [*[one for one in records if not one.success][:MOST_FAILURES],
            *[one for one in records if one.success][:MOST_SUCCESSES]]


def films(robot: RobotSpec, records: Sequence[tuple[str, EpisodeRecord]]) -> list[EpisodeFilm]:
    """
    Return the films of ``records``, each with its label, by the robot's first camera.

    :raises CameraError: if nothing can be rendered.
    """
    shown = [(label, one) for label, one in records if one.film]
    if not robot.cameras or not shown:
        return []
    camera = robot.cameras[0]
    rig = CameraRig(scene_model(), [camera])
    try:
        return [EpisodeFilm(label, one, camera.name, tuple(
            film_frame(moment.time_s, rig.render(np.array(moment.configuration))[camera.name],
                       WIDTH_PX)
            for moment in spaced(one.film))) for label, one in shown]
    finally:
        rig.close()


def spaced(moments: Sequence[MomentT]) -> list[MomentT]:
    """Return the first, the last and some between, evenly."""
    if not moments:
        return []
    places = np.unique(np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int))
    return [moments[place] for place in places]
