"""
Drive seeded episodes through a running graph and keep what they show.

Order of one episode: arm at rest, scene, executor, policy; the simulator's event decides about
success. Prints nothing: the caller is told of every episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.motion_record import ExecutorSample
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.demo.demo_page import Film
from chunked_vla_ros.demo.results import EpisodeResult
from chunked_vla_ros.nodes.demo_client import DemoClient
from chunked_vla_ros.nodes.film_log import FilmLog
from chunked_vla_ros.nodes.motion_log import executor_samples, MotionLog, RawRecord
from chunked_vla_ros.report.film_strip import film_frame

FILM_PERIOD_NS = 500_000_000
FILM_WIDTH_PX = 160
# Two rows on the page; a long episode shows fewer moments.
MOST_FRAMES = 16


@dataclass(frozen=True)
class Episode:
    """What one episode left behind."""

    result: EpisodeResult
    raw: RawRecord
    executor: tuple[ExecutorSample, ...]
    film: Film


class EpisodeDriver:
    """Runs one episode after the other on ``client``'s graph."""

    def __init__(self, client: DemoClient, robot: RobotSpec, position_set: str,
                 timeout_s: float) -> None:
        self._client, self._position_set, self._timeout_s = client, position_set, timeout_s
        self.log = MotionLog(client.node, robot, commands=False)
        self._camera = robot.cameras[0] if robot.cameras else None
        self._film = FilmLog(
            client.node, self._camera, FILM_PERIOD_NS) if self._camera else None

    def run(self, seed: int, on_start: Callable[[str], None], task: str = '') -> Episode:
        """
        Run the episode of ``seed``; ``on_start`` hears its instruction.

        :param task: Short name such as ``red_left``; empty: drawn from the seed.

        :raises GraphFailure: if the graph does not play along; a failed task is a result.
        """
        # First let the arm finish what it was doing: a scene is not changed under a moving arm.
        self._client.reset_executor()
        start = self._client.reset_scene(seed, self._position_set, task)
        self._client.reset_executor()
        on_start(start.instruction)
        self.log.start()
        if self._film:
            self._film.start()
        outcome = self._client.run_policy(start, self._timeout_s)
        raw = self.log.take()
        result = EpisodeResult(
            seed=seed, instruction=start.instruction, success=outcome.task_success,
            termination=outcome.termination, cycle_time_s=outcome.duration_s,
            chunks=outcome.chunks, message=outcome.message)
        return Episode(result, raw, executor_samples(raw), self._develop(result))

    def _develop(self, result: EpisodeResult) -> Film:
        frames: tuple[CameraFrame, ...] = self._film.take() if self._film else ()
        shown = np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(int))
        return Film(
            result, self._camera.name if self._camera else '', tuple(
                film_frame(
                    (frames[index].stamp_ns - frames[0].stamp_ns) / 1e9, frames[index].pixels,
                    FILM_WIDTH_PX)
                for index in (shown if frames else ())))
