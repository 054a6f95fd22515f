"""A small finished demonstration with numbers that one can check by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import (
    ExecutorSample,
    MotionRecord,
    StampedMotion,
)
from chunked_vla_ros.core.types import ActionChunk
from chunked_vla_ros.demo.demo_page import ShownEpisode
from chunked_vla_ros.demo.results import DemoResults, EpisodeResult, GraphHealth, Timing

JOINTS = ('shoulder_pan_joint', 'finger_joint')
SESSION = 'ab' * 16
# A stamp of today in [ns], where a float64 is already coarse.
ORIGIN_NS = 1_795_219_200_000_000_000


def make_sample(
        stamp_ns: int, position: list[float], chunk_id: int = 0, session_id: str = SESSION,
        latency_s: float = 0.04, counters: Counters | None = None,
        lateness_s: tuple[float, float] = (1e-4, 2e-3)) -> ExecutorSample:
    """Return one state of the executor."""
    return ExecutorSample(
        stamp_ns=stamp_ns, mode=1, session_id=session_id, chunk_id=chunk_id,
        observation_to_command_s=latency_s, position=np.array(position),
        velocity=np.zeros(len(position)), acceleration=np.zeros(len(position)),
        counters=counters or Counters(), lateness_p50_s=lateness_s[0],
        lateness_p99_s=lateness_s[1], reason='')


def make_demo(**changes: object) -> DemoResults:
    """Return two episodes, one of which failed, with ``changes`` applied."""
    values: dict[str, object] = {
        'command': 'chunked-vla demo --episodes 2', 'robot': 'ur5e_sim',
        'position_set': 'random', 'policy': {'policy_id': 'expert', 'horizon': '16'},
        'versions': {'python': '3.11.2'},
        'episodes': (
            EpisodeResult(0, 'put the red cube on the left pad', True, 'success', 6.0, 15),
            EpisodeResult(1, 'put the blue cube on the left pad', False, 'timeout', 30.0, 70,
                          'no success within 30 s')),
        'timing': Timing((0.03, 0.05), 1e-4, 2e-3), 'counters': Counters(ticks=200, holds=1),
        'health': GraphHealth(0.998, {'camera front': (19.9, 20.0)}, {'sim': 0, 'inference': 0}),
        'duration_s': 41.0}
    return DemoResults(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def executor_sample() -> Callable[..., ExecutorSample]:
    """Return the maker of executor states."""
    return make_sample


@pytest.fixture
def finished_demo() -> Callable[..., DemoResults]:
    """Return the maker of finished demonstrations."""
    return make_demo


@pytest.fixture
def shown() -> ShownEpisode:
    """Return one second of motion in which the arm lags its command by 10 mrad."""
    stamps = ORIGIN_NS + np.arange(0, 1_000_000_001, 20_000_000)
    angle = np.linspace(0.0, 1.0, stamps.size)
    still = np.zeros(stamps.size)
    chunks = tuple(
        ActionChunk(
            session_id=SESSION, chunk_id=k, start_ns=ORIGIN_NS + k * 400_000_000,
            observation_ns=ORIGIN_NS, valid_for_ns=10**9, joint_names=JOINTS[::-1],
            positions=np.stack([np.zeros(16), (k * 8 + np.arange(16)) * 0.05], axis=1),
            offsets_ns=np.arange(16) * 50_000_000)
        for k in range(2))
    return ShownEpisode(
        make_demo().episodes[0],
        MotionRecord(
            measured=StampedMotion(stamps, np.stack([angle - 0.01, still], axis=1)),
            commands=StampedMotion(np.empty(0, np.int64), np.empty((0, 2))),
            command_sequence=np.empty(0, np.int64),
            executor=tuple(
                make_sample(int(stamp), [one, 0.0])
                for stamp, one in zip(stamps, angle, strict=True)),
            chunks=chunks),
        JOINTS, (0,))
