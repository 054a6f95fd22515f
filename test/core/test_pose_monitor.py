"""Measured joints: fresh, at rest, and where they were commanded to be at that instant."""

from collections.abc import Callable

import numpy as np
import pytest

from chunked_vla_ros.core.pose_monitor import PoseError, PoseMonitor
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind, JointSample

MS = 1_000_000
NOW = 10**9


def sample(stamp_ns: int, *position: float, velocity: float = 0.0) -> JointSample:
    return JointSample(stamp_ns, np.array(position), np.full(len(position), velocity))


@pytest.fixture
def monitor(make_robot: Callable[..., RobotSpec]) -> PoseMonitor:
    robot = make_robot((DimKind.CONTINUOUS, DimKind.BINARY))
    return PoseMonitor(robot, timeout_s=0.25, tolerance_rad=0.2, tolerated_s=0.1)


def test_sample_older_than_the_timeout_is_silence(monitor: PoseMonitor) -> None:
    assert monitor.silence(NOW) == 'waiting for joint_states'
    monitor.observe(sample(NOW, 0.0, 0.0), NOW)
    assert monitor.silence(NOW + 250 * MS) == ''
    assert monitor.silence(NOW + 300 * MS) == 'joint_states is 0.30 s old'


def test_repeated_stamp_is_not_news(monitor: PoseMonitor) -> None:
    monitor.observe(sample(NOW, 0.0, 0.0), NOW)
    monitor.observe(sample(NOW, 1.0, 0.0), NOW)
    assert monitor.take_start_pose().tolist() == [0.0, 0.0]


def test_measurement_is_compared_with_the_command_of_its_own_instant(monitor: PoseMonitor
                                                                     ) -> None:
    monitor.commanded(NOW, np.array([0.0, 0.0]))
    monitor.commanded(NOW + 100 * MS, np.array([1.0, 0.0]))
    monitor.observe(sample(NOW + 50 * MS, 0.0, 0.0), NOW + 50 * MS)
    assert monitor.astray() == ''


def seen(monitor: PoseMonitor, after_ms: int, *position: float) -> str:
    """Observe a sample and return what is astray by it."""
    stamp_ns = NOW + after_ms * MS
    monitor.observe(sample(stamp_ns, *position), stamp_ns)
    return monitor.astray()


def test_distance_beyond_the_tolerance_must_last_to_count(monitor: PoseMonitor) -> None:
    monitor.commanded(NOW, np.array([0.0, 0.0]))
    assert seen(monitor, 0, 0.21, 0.0) == ''
    assert seen(monitor, 99, 0.21, 0.0) == ''
    assert seen(monitor, 100, 0.21, 0.0) == (
        'joint_0 is 0.210 rad from its command, tolerance 0.200')


def test_one_sample_followed_by_silence_is_no_lasting_distance(monitor: PoseMonitor) -> None:
    monitor.commanded(NOW, np.array([0.0, 0.0]))
    assert seen(monitor, 0, 0.21, 0.0) == ''
    for _ in range(100):
        assert monitor.astray() == ''


def test_distance_that_ends_in_time_is_forgotten(monitor: PoseMonitor) -> None:
    monitor.commanded(NOW, np.array([0.0, 0.0]))
    assert seen(monitor, 0, 0.21, 0.0) == ''
    assert seen(monitor, 50, 0.19, 0.0) == ''
    assert seen(monitor, 60, 0.21, 0.0) == ''
    assert seen(monitor, 120, 0.21, 0.0) == ''


def test_gripper_that_holds_something_is_not_astray(monitor: PoseMonitor) -> None:
    monitor.commanded(NOW, np.array([0.0, 1.5]))
    assert seen(monitor, 0, 0.0, 0.0) == ''
    assert seen(monitor, 500, 0.0, 0.0) == ''


def test_moving_means_a_joint_that_must_track(monitor: PoseMonitor) -> None:
    monitor.observe(JointSample(NOW, np.zeros(2), np.array([0.0, 1.0])), NOW)
    assert not monitor.moving()
    monitor.observe(JointSample(NOW + 1, np.zeros(2), np.array([0.06, 0.0])), NOW + 1)
    assert monitor.moving()


def test_pose_a_little_outside_the_range_starts_at_its_end(monitor: PoseMonitor) -> None:
    monitor.observe(sample(NOW, 2.01, 0.0), NOW)
    assert monitor.take_start_pose().tolist() == [2.0, 0.0]
    monitor.observe(sample(NOW + 1, 2.03, 0.0), NOW + 1)
    with pytest.raises(PoseError, match=r'joint_0 is measured at 2.030 rad, outside -2.000'):
        monitor.take_start_pose()


def test_stamp_in_the_future_is_no_measurement(monitor: PoseMonitor) -> None:
    monitor.observe(sample(NOW, 0.0, 0.0), NOW)
    monitor.observe(sample(NOW + 3600 * 10**9, 1.0, 0.0), NOW + 10 * MS)
    assert monitor.silence(NOW + 10 * MS) == 'joint_states is stamped 3599.99 s in the future'
    monitor.observe(sample(NOW + 20 * MS, 0.0, 0.0), NOW + 20 * MS)
    assert monitor.silence(NOW + 20 * MS) == ''


def test_arm_whose_driver_reports_no_velocity_is_seen_to_move(monitor: PoseMonitor) -> None:
    for k in range(6):
        monitor.observe(sample(NOW + 10 * k * MS, 0.001 * k, 0.0), NOW + 10 * k * MS)
    assert monitor.moving()    # 0.1 rad/s
    for k in range(6, 14):
        monitor.observe(sample(NOW + 10 * k * MS, 0.006, 0.0), NOW + 10 * k * MS)
    assert not monitor.moving()


def test_gripper_that_holds_keeps_its_command_when_the_arm_is_armed_again(monitor: PoseMonitor
                                                                          ) -> None:
    monitor.observe(sample(NOW, 0.1, 0.45), NOW)
    monitor.commanded(NOW, np.array([0.0, 0.8]))
    assert monitor.take_start_pose().tolist() == [0.1, 0.8]
    monitor.observe(sample(NOW + 10 * MS, 0.1, 0.0), NOW + 10 * MS)
    assert monitor.take_start_pose().tolist() == [0.1, 0.0]
