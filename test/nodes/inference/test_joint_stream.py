"""Joints are called back one by one while a plan is near, and taken in batches otherwise."""

from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec  # noqa: E402
from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402
from chunked_vla_ros.nodes.conversions import ns_to_stamp  # noqa: E402
from chunked_vla_ros.nodes.joint_stream import JointStream  # noqa: E402
from chunked_vla_ros.policies.exchange import PolicyExchange  # noqa: E402
from chunked_vla_ros.policies.runner import PolicyRunner  # noqa: E402
from chunked_vla_ros.policies.runner_records import RunnerSettings  # noqa: E402
from chunked_vla_ros.policies.worker import PlanAnswer  # noqa: E402

MS, START_NS = 1_000_000, 1_000_000_000_000
ROBOT = load_robot('ur5e_sim')
# Spins of 5 ms in which what was sent arrives, though nobody is told.
SETTLE = 40
SPEC = PolicySpec('scripted', ROBOT.joint_names, ROBOT.dim_kinds, 0.05, 4)


class Bench:
    """A stream whose clock, robot and policy the test plays; messages go over DDS."""

    def __init__(self, domain):
        self.context, self.asked, self.now, self.sent = rclpy.Context(), [], START_NS, 0
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('joint_stream', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.runner = PolicyRunner(
            ROBOT, PolicyExchange(SimpleNamespace(spec=SPEC), lambda policy: None),
            RunnerSettings(replan_period_s=0.2), self.asked.append, lambda: '0' * 32)
        self.runner.activate(self.now)
        self.stream = JointStream(self.node, ROBOT, self.runner, lambda: self.now)
        # Reliable, so that what was published and acknowledged lies in the stream's queue.
        self.publisher = self.node.create_publisher(JointState, ROBOT.state.topic, qos.PLAYED)

    @property
    def heard(self):
        return self.runner.assembler.joints.meter.total

    def send(self, count=1, **changes):
        """Publish samples, the last of them dated now."""
        for age in reversed(range(count)):
            msg = JointState(**{'name': list(ROBOT.joint_names),
                                'position': ROBOT.home.tolist(), **changes})
            msg.header.stamp = ns_to_stamp(self.now - age * MS)
            self.publisher.publish(msg)

    def spin(self, until=lambda: False, times=400):
        """Let the executor call back what it waits for until ``until``; return whether it was."""
        for _ in range(times):
            if until():
                return True
            self.executor.spin_once(timeout_sec=0.005)
        return until()

    def close(self):
        self.stream.destroy()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def bench(domain):
    bench = Bench(domain)
    assert bench.spin(lambda: bench.publisher.get_subscription_count() == 1)
    yield bench
    bench.close()


def arrived(bench, count):
    """Take at ticks until ``count`` samples have been heard."""
    def taken():
        bench.stream.tick()
        return bench.heard >= count
    return bench.spin(taken)


def test_without_a_run_samples_wait_for_the_tick_and_all_of_them_are_counted(bench):
    bench.send(10)
    assert not bench.spin(lambda: bench.heard, times=SETTLE)
    assert arrived(bench, 10)
    assert bench.heard == 10
    assert bench.asked == []
    # The newest is what an observation would be made of.
    stamp_ns, sample = bench.runner.assembler.joints.newest(bench.now)
    assert stamp_ns == START_NS
    assert sample.position == pytest.approx(ROBOT.home)


def test_a_plan_that_is_due_is_asked_for_by_the_sample_itself(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.send()
    assert bench.spin(lambda: bench.asked)
    assert bench.asked[0].observation.stamp_ns == START_NS


def test_while_the_policy_works_and_until_the_next_plan_is_near_nothing_is_called_back(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.send()
    assert bench.spin(lambda: bench.asked)
    bench.now += 40 * MS
    bench.send()
    assert not bench.spin(lambda: bench.heard > 1, times=SETTLE)
    plan = ActionPlan(np.tile(ROBOT.home, (4, 1)))
    assert bench.runner.accept(PlanAnswer(bench.asked[0], plan, '', '', 40 * MS), bench.now)
    bench.now += 129 * MS    # 31 ms before the next
    bench.send()
    assert not bench.spin(lambda: bench.heard > 1, times=SETTLE)
    bench.now += 2 * MS
    assert bench.spin(lambda: bench.heard == 3)
    assert len(bench.asked) == 1
    bench.now = START_NS + 200 * MS
    bench.send()
    assert bench.spin(lambda: len(bench.asked) == 2)
    assert bench.asked[1].observation.stamp_ns == bench.now


def test_of_samples_that_waited_the_newest_is_asked_with(bench):
    bench.send(10)
    assert not bench.spin(lambda: bench.heard, times=SETTLE)
    bench.runner.start('', 0.0, bench.now)
    assert bench.spin(lambda: bench.asked)
    # All ten had arrived when the run began.
    assert bench.asked[0].observation.stamp_ns == START_NS
    assert len(bench.asked) == 1


def test_what_came_during_a_slow_inference_is_no_reason_to_ask_but_the_next_sample_is(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.send()
    assert bench.spin(lambda: bench.asked)
    bench.now += 300 * MS
    bench.send(5)
    assert not bench.spin(lambda: bench.heard > 1, times=SETTLE)
    bench.runner.run.plan_blocked('as if answered', bench.now)
    bench.stream.catch_up()
    assert bench.heard == 6
    assert len(bench.asked) == 1
    bench.now += 2 * MS
    bench.send()
    assert bench.spin(lambda: len(bench.asked) == 2)
    assert bench.asked[1].observation.stamp_ns == bench.now


def test_a_sample_without_a_joint_is_refused_by_name(bench):
    names = [name for name in ROBOT.joint_names if name != 'elbow_joint']
    bench.send(name=names, position=[0.0] * len(names))
    assert arrived(bench, 1)
    assert bench.runner.assembler.joints.refused == 1
    assert 'elbow_joint' in bench.runner.assembler.joints.last_refusal


def test_a_gripper_that_speaks_last_on_the_same_topic_does_not_hide_the_arm(bench):
    bench.send(3)
    bench.publisher.publish(JointState(name=['somebody_elses_finger'], position=[0.5]))
    assert arrived(bench, 3)
    stamp_ns, _ = bench.runner.assembler.joints.newest(bench.now)
    assert stamp_ns == START_NS
