"""A real leader's recorded motion over DDS: leader topic, teleop_node, executor, arm."""

from collections.abc import Iterator
from pathlib import Path
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from chunked_vla_ros.bench.motion_audit import jumps, limit_use, track
from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.motion_log import MotionLog

REAL = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'demos' / 'franka_fr3'
ROBOT = load_robot('franka_fr3')
STEP_S, STALL_NS = 0.01, 15_000_000
# The liveliest stretch of the recording; the leader stands still after every so many poses.
POSES, POSES_PER_STRETCH = 240, 60
SHOWN_AGAIN_S = 0.05

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not REAL.is_dir(), reason='real demonstrations are absent (shared/data)')]


def lively_poses() -> np.ndarray:
    """Return the `POSES` successive poses, 10 ms apart, in which the hand moved most."""
    rows = np.load(sorted(REAL.glob('*.npy'))[0])
    times_s = (rows[:, 0] - rows[0, 0]) * 1e-9
    grid_s = np.arange(0.0, times_s[-1], STEP_S)
    path = np.stack([np.interp(grid_s, times_s, column) for column in rows[:, 1:8].T], axis=1)
    moved = np.concatenate([[0.0], np.abs(np.diff(path, axis=0)).sum(axis=1).cumsum()])
    begin = int((moved[POSES:] - moved[:-POSES]).argmax())
    return path[begin:begin + POSES]


class Twins:
    """A leader that shows pose after pose, and an arm that obeys at once."""

    def __init__(self, peer: Any) -> None:
        self.path = lively_poses()
        self.peer, self.node = peer, peer.node
        self.position = self.path[0].copy()
        self.states: list[ExecutorState] = []
        self.targets: dict[int, np.ndarray] = {}    # by stamp in [ns]
        self.log = MotionLog(peer.node, ROBOT, commands=True)
        self.joints = self.node.create_publisher(JointState, 'joint_states', qos.SENSOR)
        self.leader = self.node.create_publisher(JointState, 'leader/joint_states', qos.SENSOR)
        subscribe = self.node.create_subscription
        subscribe(Float64MultiArray, 'position_command', self._obey, qos.COMMAND)
        subscribe(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        subscribe(JointState, 'teleop/joint_targets', self._note, qos.SENSOR)
        self.node.create_timer(0.008, lambda: self.joints.publish(self._message(self.position)))

    def _obey(self, msg: Float64MultiArray) -> None:
        self.position = np.array(msg.data)

    def _note(self, msg: JointState) -> None:
        self.targets[conversions.stamp_to_ns(msg.header.stamp)] = np.array(msg.position)

    def _message(self, position: np.ndarray) -> JointState:
        msg = JointState(name=list(ROBOT.joint_names), position=position.tolist())
        msg.header.stamp = self.node.get_clock().now().to_msg()
        return msg

    def show(self, position: np.ndarray) -> np.ndarray:
        """Show a pose, again until a target made of it is heard; return that target."""
        stamps: list[int] = []
        shown_s = 0.0

        def heard() -> bool:
            nonlocal shown_s
            if time.monotonic() - shown_s > SHOWN_AGAIN_S:
                shown_s = time.monotonic()
                msg = self._message(position)
                stamps.append(conversions.stamp_to_ns(msg.header.stamp))
                self.leader.publish(msg)
            return any(stamp in self.targets for stamp in stamps)
        self.wait(heard, 'target')
        return self.targets[next(stamp for stamp in stamps if stamp in self.targets)]

    def shows_arm_at(self, pose: np.ndarray) -> bool:
        self.show(pose)
        return bool(np.abs(self.position - pose).max() < 1e-3)

    def wait(self, condition: Any, what: str) -> None:
        self.peer.wait_for(condition, what, instead=lambda: self.states[-1:])


def exact(target: np.ndarray, pose: np.ndarray) -> bool:
    return bool(np.abs(target - pose).max() < 1e-9)


@pytest.fixture
def twins(peer: Any, domain: int) -> Iterator[Twins]:
    twins = Twins(peer)
    robot = {'robot': 'franka_fr3'}
    nodes = [NodeSpec('chunk_executor_node', 'chunk_executor', parameters=robot),
             NodeSpec('teleop_node', 'teleop', parameters={
                 **robot, 'hand': 'leader', 'speed_share': 0.9, 'leader_timeout_s': 2.0})]
    with Supervisor(nodes, env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        twins.wait(lambda: twins.states and twins.states[-1].mode == Mode.HOLD, 'HOLD')
        yield twins
    assert set(graph.poll().values()) == {0}, graph.log_tail('teleop')


def test_a_real_leader_is_followed_pose_by_pose_and_without_a_jump(twins: Twins) -> None:
    assert twins.peer.call(Trigger, 'teleop/take_over', Trigger.Request()).success
    twins.show(twins.path[0])
    twins.log.start()
    at_once = 0
    for number, pose in enumerate(twins.path):
        # The next is shown when this one has been heard, and no sooner than a hand would: then a
        # machine without time makes the motion slower and nothing else.
        shown_s = time.monotonic()
        if exact(twins.show(pose), pose):
            at_once += 1
        else:
            # Let go of and taken over anew, as after half a second without the executor: what the
            # leader went on by meanwhile fades.
            twins.wait(lambda pose=pose: exact(twins.show(pose), pose), f'exact pose {number}')
        if (number + 1) % POSES_PER_STRETCH == 0:
            twins.wait(lambda pose=pose: twins.shows_arm_at(pose), f'arm at pose {number}')
        twins.wait(lambda shown_s=shown_s: time.monotonic() - shown_s >= STEP_S, 'next pose')
    assert at_once > POSES / 2
    record = twins.peer.record_of(twins.log)
    motion = track(record.executor, record.commands.times_ns, STALL_NS)
    assert limit_use(motion, ROBOT.limits).violations == 0
    for at_splices in (False, True):
        assert jumps(motion, ROBOT.limits, at_splices=at_splices).jumps == 0
