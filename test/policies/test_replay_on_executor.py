"""Replay and executor together, on a clock of the test's: a stall delays the motion, no more."""

from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import ExecutorConfig, Mode
from chunked_vla_ros.core.retarget import Demonstration, retarget
from chunked_vla_ros.core.robot_spec import JointUnit
from chunked_vla_ros.core.types import ActionChunk, JointSample, Observation
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.policies.replay import ReplayPolicy

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos'
FRANKA = 'franka_fr3/franka_follower_20260223_162545_final_20260223_162556.npy'
MS = 1_000_000
START = 1_700_000_000_000 * MS
TICK_NS, REPLAN_NS = 5 * MS, 400 * MS


@pytest.fixture
def motion():
    """Return 6 s in which the arm goes from 0.5 rad by 1.5 rad and back, at up to 0.79 rad/s."""
    t_s = np.arange(0.0, 6.001, 0.01)
    arm = 0.5 + 0.75 * (1 - np.cos(2 * np.pi * t_s / 6))
    return Demonstration(t_s, np.stack([arm, 0 * t_s], axis=1), ('arm', 'finger'), 'swing.npy')


class Loop:
    """A policy asked every 0.4 s, an executor at 200 Hz, and an arm that follows at once."""

    def __init__(self, robot, motion, step_s=0.05, delay_ns=0):
        self.policy, self.delay_ns = ReplayPolicy(robot, motion, step_s), delay_ns
        self.executor = Executor(robot, ExecutorConfig())
        self.position = np.array(motion.positions[0])
        self.now_ns, self.next_ns = START, START + 100 * MS
        self.chunk_id, self.done, self.positions, self.waiting = 0, False, [], []

    def run(self, until_s, silent=False, stalled=False):
        while self.now_ns < START + until_s * 1000 * MS and not self.done:
            self.now_ns += TICK_NS
            sample = JointSample(self.now_ns, self.position, np.zeros_like(self.position))
            if self.now_ns >= self.next_ns and not silent:
                self.next_ns = self.now_ns + REPLAN_NS
                self.plan(Observation(self.now_ns, sample))
            while self.waiting and self.waiting[0].start_ns + self.delay_ns <= self.now_ns:
                self.executor.offer_chunk(self.waiting.pop(0))
            if stalled:
                continue
            self.executor.observe(sample)
            command = self.executor.step(self.now_ns, self.now_ns)
            if command is not None:
                self.position = command.state.position
            self.positions.append(self.position)

    def plan(self, observation):
        plan, spec = self.policy.plan(observation), self.policy.spec
        self.waiting.append(ActionChunk(
            session_id='ab' * 16, chunk_id=self.chunk_id, start_ns=self.now_ns,
            observation_ns=self.now_ns, valid_for_ns=1000 * MS, joint_names=spec.joint_names,
            positions=plan.positions, dim_kinds=spec.dim_kinds,
            offsets_ns=np.arange(spec.horizon) * round(spec.step_s * 1e9)))
        self.chunk_id, self.done = self.chunk_id + 1, plan.done

    @property
    def status(self):
        return self.executor.status(self.now_ns)


@pytest.fixture
def loop(robot, motion):
    return Loop(robot, motion)


def test_undisturbed_every_chunk_is_taken_and_time_zero_holds(loop):
    loop.run(20)
    assert loop.done
    assert loop.now_ns == pytest.approx(START + 6_100 * MS, abs=REPLAN_NS)
    assert loop.status.counters.rejected + loop.status.counters.stale == 0
    assert loop.policy.facts['replay_resumed'] == '0'


@pytest.mark.parametrize('stop', [{'silent': True}, {'stalled': True}])
def test_after_a_hold_the_whole_recording_is_still_played_only_later(loop, stop):
    loop.run(1.6)
    loop.run(3.2, **stop)
    loop.run(30)
    assert loop.done
    assert int(loop.policy.facts['replay_resumed']) in (1, 2)
    # Far point and end of the recording were reached, not skipped.
    assert np.max(loop.positions) == pytest.approx(2.0, abs=0.01)
    assert loop.position[0] == pytest.approx(0.5, abs=0.05)
    # It ends as much later as it says.
    late_s = float(loop.policy.facts['replay_late_s'])
    assert 1.0 < late_s < 4.0
    assert (loop.now_ns - START) * 1e-9 == pytest.approx(6.1 + late_s, abs=0.45)


def test_only_what_was_sent_before_the_wait_is_refused(loop):
    loop.run(1.6)
    loop.run(3.2, silent=True)
    loop.run(30)
    # One: the first after the silence, which does not know yet that the arm was held.
    assert loop.status.counters.rejected <= 1
    assert loop.status.counters.clamps == 0


def test_it_goes_on_after_several_holds(loop):
    for second in range(4):
        loop.run(1.0 + 3 * second)
        loop.run(2.5 + 3 * second, silent=True)
    loop.run(60)
    assert loop.done
    assert loop.status.mode in (Mode.RUNNING, Mode.HOLD)
    assert np.max(loop.positions) == pytest.approx(2.0, abs=0.01)


needs_data = pytest.mark.skipif(
    not REAL.is_dir(), reason='real demonstrations are absent (shared/data)')


@needs_data
@pytest.mark.parametrize('rate_hz', [10, 20, 30])
@pytest.mark.parametrize('episode', [10, 30])
def test_real_two_armed_teleoperation_is_followed_in_chunks_of_any_rate(rate_hz, episode):
    robot = load_robot('g1_arms')
    motion = retarget(
        load_demonstration(REAL / 'g1_bottle', episode), robot, step_s=1 / rate_hz).motion
    loop = Loop(robot, motion, 1 / rate_hz, delay_ns=100 * MS)
    loop.run(20)
    counters = loop.status.counters
    # The hands go to the ends of their ranges, which is neither a failure nor a stop.
    assert (counters.rejected, counters.stale, counters.holds, counters.clamps) == (0, 0, 0, 0)
    assert loop.policy.facts['replay_resumed'] == '0'
    commanded = np.array(loop.positions)
    at_s = 0.005 * np.arange(1, len(commanded) + 1) - 0.1
    late = (at_s > 1.0) & (at_s < motion.duration_s)
    arm = [joint.unit is JointUnit.RADIAN for joint in robot.joints]
    error = np.abs(commanded[late] - motion.at(at_s[late]))
    # Points 0.1 s apart leave 20 mrad to the spline between them, of what moves at 1.7 rad/s.
    assert error[:, arm].max() < 0.025 * 10 / rate_hz
    assert error.max() < 0.06


@needs_data
def test_real_motion_goes_on_after_the_control_loop_stood_still():
    robot = load_robot('franka_fr3')
    motion = retarget(load_demonstration(REAL / FRANKA), robot).motion
    loop = Loop(robot, motion)
    loop.run(3.0)
    # 0.7 s: too far behind for the next chunk. Without a wait all later ones were refused.
    loop.run(3.7, stalled=True)
    loop.run(30)
    assert loop.done
    assert loop.status.counters.rejected <= 2
    assert loop.position == pytest.approx(motion.positions[-1], abs=0.05)
