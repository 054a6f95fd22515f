"""What the executor commands, in the modes and transitions that users see."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_follower import TeleopTarget
from chunked_vla_ros.core.types import DimKind, JointSample

MS = 1_000_000
START = 10**9


def ramp(rate_radps: float, points: int = 40) -> np.ndarray:
    """Both joints at ``rate_radps``, smoothly started: 1.95 s of motion."""
    t = np.arange(points) * 0.05
    line = rate_radps * (t - 0.2 * (1 - np.exp(-t / 0.2)))
    return np.stack([line, line], axis=1)


def test_nothing_is_commanded_before_the_arm_is_measured(bench: Any) -> None:
    bench.silent = True
    bench.run(50)
    assert bench.commands == [None] * 10
    assert bench.status.reason == 'waiting for joint_states'


def test_first_command_is_the_measured_pose(bench: Any) -> None:
    bench.position = np.array([0.3, -0.4])
    bench.run(5)
    assert bench.mode is Mode.HOLD
    assert bench.commands[0].state.position.tolist() == [0.3, -0.4]


def test_arm_measured_outside_its_range_is_not_armed(bench: Any) -> None:
    bench.position = np.array([2.5, 0.0])
    bench.run(20)
    assert bench.commands[-1] is None
    assert bench.status.reason == 'joint_0 is measured at 2.500 rad, outside -2.000 to 2.000'


def test_chunk_is_followed_by_time(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1005)
    assert bench.mode is Mode.RUNNING
    assert bench.commands[-1].state.position == pytest.approx(ramp(0.4)[20], abs=2e-3)
    assert bench.status.chunk_position == pytest.approx(20.0, abs=0.11)


def test_motion_to_the_end_of_a_range_arrives_there_without_a_stop(bench: Any) -> None:
    bench.position = np.array([1.0, 0.0])
    bench.run(20)
    s = np.minimum(np.arange(100) * 0.05 / 3.0, 1.0)
    rows = np.stack([1.0 + s**3 * (10 - 15 * s + 6 * s * s), np.zeros(100)], axis=1)
    for first in range(0, 80, 8):
        bench.offer(rows[first:first + 16])
        bench.run(400)
        assert bench.mode is Mode.RUNNING
    assert bench.position[0] == pytest.approx(2.0, abs=1e-4)
    assert bench.status.counters.clamps == 0


def test_late_chunk_skips_the_points_already_past(bench: Any) -> None:
    bench.run(20)
    rows = ramp(0.4)
    bench.executor.offer_chunk(bench.make_chunk(rows, start_ns=bench.now_ns - 120 * MS))
    bench.run(10)
    assert bench.status.counters.points_skipped == 3
    assert bench.status.observation_to_command_ns == 120 * MS


def test_permuted_names_give_the_same_motion(bench: Any) -> None:
    bench.run(20)
    rows = np.stack([ramp(0.4)[:, 0], np.zeros(40)], axis=1)
    bench.offer(rows[:, ::-1], joint_names=('joint_1', 'joint_0'))
    bench.run(500)
    assert bench.position[0] > 0.05
    assert bench.position[1] == pytest.approx(0.0, abs=1e-12)


def test_starved_arm_stops_within_limits_and_counts_a_hold(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1960)
    assert bench.mode is Mode.STOPPING
    bench.run(500)
    assert bench.mode is Mode.HOLD
    assert bench.speed == 0.0
    assert bench.status.reason == 'starved: no chunk arrived in time'
    assert bench.status.counters.holds == 1


def test_chunk_that_ends_at_rest_is_finished_not_starved(bench: Any) -> None:
    bench.run(20)
    bench.offer(np.zeros((10, 2)))
    bench.run(600)
    assert bench.status.reason == 'chunk finished'
    assert bench.status.counters.holds == 0


def test_new_chunk_takes_over_a_starved_arm_in_motion(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1980, until=lambda: bench.mode is Mode.STOPPING)
    bench.offer(bench.position + ramp(0.4) * [1, 1], observation_ns=bench.now_ns)
    bench.run(5)
    assert bench.mode is Mode.RUNNING
    assert bench.speed > 0.1


def test_first_chunk_far_from_the_measured_pose_is_refused(bench: Any) -> None:
    bench.run(20)
    bench.offer(np.full((20, 2), 0.11))
    bench.run(10)
    assert bench.mode is Mode.HOLD
    assert bench.status.rejections == {'start pose': 1}
    assert '0.110 rad from the measured pose' in bench.status.last_rejection


def test_jump_in_motion_is_refused_and_the_chunk_before_goes_on(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(500)
    bench.offer(np.full((20, 2), 0.5))
    bench.run(5)
    assert bench.status.rejections == {'jump': 1}
    assert (bench.mode, bench.status.chunk_id) == (Mode.RUNNING, 1)


def test_refused_chunk_never_displaces_a_valid_one(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.offer(np.full((20, 2), np.nan))
    bench.run(10)
    assert (bench.mode, bench.status.chunk_id) == (Mode.RUNNING, 1)
    assert bench.status.rejections == {'not finite': 1}


def test_message_that_is_no_chunk_is_counted(bench: Any) -> None:
    bench.run(20)
    bench.executor.offer_rejection(ChunkRejected(Rejection.WRONG_WIDTH, 'point 0 has 3'))
    bench.run(5)
    assert bench.status.rejections == {'wrong width': 1}
    assert bench.status.counters.rejected == 1


def test_stale_chunks_are_counted_apart(bench: Any) -> None:
    bench.run(1500)
    bench.executor.offer_chunk(bench.make_chunk(np.zeros((2, 2)), start_ns=START))
    bench.run(5)
    assert (bench.status.counters.stale, bench.status.counters.rejected) == (1, 0)


def test_flood_of_1000_chunks_keeps_only_the_newest_few(bench: Any) -> None:
    bench.run(20)
    for _ in range(1000):
        bench.offer(ramp(0.4))
    bench.run(5)
    assert bench.status.chunk_id == 1000
    assert bench.status.counters.accepted <= 8


def test_emergency_stop_is_bounded_latched_and_needs_a_reset(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1000)
    bench.executor.emergency_stop.set('emergency stop pressed')
    bench.run(5)
    assert bench.mode is Mode.STOPPING
    bench.run(500)
    assert (bench.mode, bench.speed) == (Mode.ESTOP, 0.0)
    assert not bench.executor.reset(bench.now_ns).done
    bench.executor.emergency_stop.set('')
    bench.offer(np.zeros((20, 2)))
    bench.run(10)
    assert bench.mode is Mode.ESTOP
    assert bench.status.rejections == {'executor is not listening': 1}
    assert bench.executor.reset(bench.now_ns).done
    bench.run(100)
    assert (bench.mode, bench.speed) == (Mode.HOLD, 0.0)


def test_emergency_stop_before_the_arm_is_measured_latches_too(bench: Any) -> None:
    bench.executor.emergency_stop.set('emergency stop pressed')
    bench.run(50)
    assert bench.mode is Mode.ESTOP
    assert bench.commands == [None] * 10


def test_silent_joints_stop_the_arm_and_disarm_it(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.2))
    bench.run(1000)
    bench.silent = True
    bench.run(260)
    assert bench.mode is Mode.STOPPING
    bench.run(500)
    assert bench.mode is Mode.HOLD
    assert bench.commands[-1] is None
    assert bench.status.reason.startswith('joint_states is 0.')


def test_arm_that_comes_back_elsewhere_is_held_there(bench: Any) -> None:
    bench.run(20)
    bench.silent = True
    bench.run(400)
    bench.silent, bench.position = False, np.array([0.7, 0.7])
    bench.run(10)
    assert bench.mode is Mode.HOLD
    assert bench.commands[-1].state.position.tolist() == [0.7, 0.7]


def test_frozen_stamp_counts_as_silence(bench: Any) -> None:
    bench.run(20)
    stamp_ns = bench.now_ns
    for _ in range(60):
        bench.executor.observe(JointSample(stamp_ns, bench.position, np.zeros(2)))
        bench.commands.append(bench.executor.step(bench.now_ns, bench.now_ns))
        bench.now_ns += 5 * MS
    assert bench.commands[-1] is None


def test_blocked_arm_is_a_latched_fault(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(300)
    bench.measured = np.zeros(2)
    bench.run(1200)
    assert bench.mode is Mode.FAULT
    assert 'joint_0' in bench.status.reason
    assert 'rad from its command' in bench.status.reason
    assert bench.executor.reset(bench.now_ns).done
    bench.run(10)
    assert bench.mode is Mode.HOLD
    assert bench.position.tolist() == [0.0, 0.0]


def test_hold_source_stops_the_arm_and_refuses_chunks(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(500)
    assert bench.executor.set_source(Source.HOLD).done
    bench.run(500)
    assert (bench.mode, bench.speed) == (Mode.HOLD, 0.0)
    bench.offer(np.tile(bench.position, (20, 1)))
    bench.run(5)
    assert bench.status.rejections == {'executor is not listening': 1}


def test_reset_is_refused_in_motion(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(500)
    answer = bench.executor.reset(bench.now_ns)
    assert not answer.done
    assert answer.message.startswith('RUNNING')


def test_teleoperation_reaches_a_distant_target_without_a_jump(bench: Any) -> None:
    bench.run(20)
    bench.executor.set_source(Source.TELEOP)
    bench.run(20)
    target = np.array([0.5, -0.5])
    for _ in range(40):
        bench.executor.teleop.offer(TeleopTarget(bench.now_ns, target))
        bench.run(100)
    assert bench.mode is Mode.TELEOP
    assert bench.position == pytest.approx(target)
    assert max(np.abs(c.state.velocity).max() for c in bench.commands) <= 0.5 + 1e-9


def test_teleoperation_that_falls_silent_holds(bench: Any) -> None:
    bench.run(20)
    bench.executor.set_source(Source.TELEOP)
    bench.run(20)
    bench.executor.teleop.offer(TeleopTarget(bench.now_ns, np.array([0.5, 0.5])))
    bench.run(600)
    assert bench.mode in (Mode.STOPPING, Mode.HOLD)
    assert bench.status.reason == 'teleoperation target is late'


def test_binary_joint_switches_at_its_limits_and_is_not_interpolated(
        make_robot: Callable[..., RobotSpec], make_bench: Callable[..., Any]) -> None:
    bench = make_bench(make_robot((DimKind.CONTINUOUS, DimKind.BINARY), lower=0.0))
    bench.run(20)
    rows = np.zeros((40, 2))
    rows[20:, 1] = 1.0
    bench.offer(rows)
    bench.run(950)
    assert bench.position[1] == 0.0
    bench.run(1000)
    assert bench.position[1] > 0.4
    assert max(np.abs(c.state.velocity).max() for c in bench.commands) <= 1.0 + 1e-9


def test_wrapped_joint_goes_the_short_way_round(
        make_robot: Callable[..., RobotSpec], make_bench: Callable[..., Any]) -> None:
    bench = make_bench(make_robot((DimKind.WRAPPED,), lower=-7.0, upper=7.0))
    bench.position = np.array([3.1])
    bench.run(20)
    bench.offer(np.full((30, 1), 3.15 - 2 * np.pi))
    bench.run(1000)
    assert bench.position == pytest.approx([3.15])


def test_clock_set_by_an_hour_stops_the_arm(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1000)
    before = bench.position
    steady_ns = bench.now_ns
    bench.now_ns += 3600 * 10**9
    command = bench.executor.step(bench.now_ns, steady_ns)
    assert np.abs(command.state.position - before).max() < 0.4 * 0.01
    assert bench.status.reason == 'the clock was set'


def test_preview_follows_the_chunk_and_ends_at_rest(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(0.4))
    bench.run(1000)
    rows = bench.executor.preview(range(20 * MS, 120 * MS, 20 * MS))
    assert [ahead for ahead, _ in rows[:6]] == [k * 20 * MS for k in range(6)]
    assert rows[5][1].position == pytest.approx(bench.position + 0.04, abs=1e-3)
    assert rows[-1][1].velocity == pytest.approx([0.0, 0.0], abs=1e-9)


def test_joint_below_its_limit_of_time_is_flagged_as_a_clamp(bench: Any) -> None:
    bench.run(20)
    bench.offer(ramp(1.5))
    bench.run(10)
    assert bench.status.counters.clamps == 1
    assert bench.status.limit_flags.all()


def test_press_that_is_released_before_the_next_tick_still_stops_the_arm(bench: Any) -> None:
    bench.run(20)
    bench.executor.emergency_stop.set('pressed')
    bench.executor.emergency_stop.set('')
    bench.run(20)
    assert (bench.mode, bench.status.reason) == (Mode.ESTOP, 'pressed')


def test_gripper_sent_as_an_arm_joint_or_the_reverse_is_refused(
        make_robot: Callable[..., RobotSpec], make_bench: Callable[..., Any]) -> None:
    bench = make_bench(make_robot((DimKind.CONTINUOUS, DimKind.BINARY)))
    bench.run(20)
    for kinds in ((DimKind.BINARY, DimKind.BINARY), (DimKind.WRAPPED, DimKind.CONTINUOUS)):
        bench.offer(np.zeros((20, 2)), dim_kinds=kinds)
    bench.run(5)
    assert bench.status.rejections == {'unsupported space, reference or kind': 2}


def test_chunk_whose_first_point_is_far_ahead_is_from_the_future(bench: Any) -> None:
    bench.run(20)
    bench.offer(np.zeros((2, 2)), offsets_ns=np.array([1000, 1050]) * MS)
    bench.run(5)
    assert bench.status.rejections == {'from the future': 1}


def test_anyones_trajectory_may_take_its_time_to_a_distant_first_point(bench: Any) -> None:
    bench.run(20)
    bench.offer([[0.5, 0.5]], offsets_ns=np.array([2000]) * MS, free_start=True)
    bench.run(2500)
    assert bench.position == pytest.approx([0.5, 0.5])
    bench.offer([[0.5, 0.9]], offsets_ns=np.array([10**7]) * MS, free_start=True)
    bench.run(5)
    assert bench.status.rejections == {'point times': 1}


def test_latch_outlives_its_executor(bench: Any) -> None:
    bench.executor.restore_latch(Mode.FAULT, 'joint_0 is away')
    bench.run(50)
    assert (bench.mode, bench.status.reason) == (Mode.FAULT, 'joint_0 is away')
    assert bench.executor.reset(bench.now_ns).done
