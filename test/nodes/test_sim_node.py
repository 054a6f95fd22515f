"""The simulator node as a process of its own, seen and driven over DDS as any robot is."""

import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')
pytest.importorskip('ogbench', reason='no simulator in this environment')

from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import (
    joint_sample_from_msg,
    ns_to_duration,
    ns_to_stamp,
    stamp_to_ns,
)
from chunked_vla_ros.nodes.image_conversions import image_from_msg
from chunked_vla_ros.nodes.sensor_conversions import scene_from_msg
from chunked_vla_ros.srv import ResetScene

pytestmark = pytest.mark.timeout(180)
ROBOT = load_robot('ur5e_sim')
HOME = ROBOT.home
START_S = 60.0
START_NODE = ('import sys; from chunked_vla_ros.nodes.sim_node import main; '
              'sys.exit(main(sys.argv))')


def launch(domain, *arguments):
    """Start the node, with ROS arguments, in a domain."""
    environment = os.environ | {
        'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    ros = ['--ros-args', *arguments] if arguments else []
    return subprocess.Popen([sys.executable, '-c', START_NODE, *ros], env=environment,
                            stderr=subprocess.PIPE, text=True)


def ended(process):
    """Return exit code and standard error of a process that was told to end."""
    try:
        _, error = process.communicate(timeout=START_S)
    finally:
        process.kill()
    return process.returncode, error


class Robot:
    """What a client of the robot sees of it."""

    def __init__(self, peer):
        self.peer = peer
        self.joints, self.events, self.instructions, self.findings = [], [], [], []
        self.scenes, self.clocks = [], []
        self.images = {camera.name: [] for camera in ROBOT.cameras}
        self.infos = {camera.name: [] for camera in ROBOT.cameras}
        subscribe = peer.node.create_subscription
        subscribe(JointState, 'joint_states', self.joints.append, qos.SENSOR)
        subscribe(EpisodeEvent, 'episode_event', self.events.append, qos.EVENT)
        subscribe(String, 'instruction', self.instructions.append, qos.LATCHED)
        subscribe(MarkerArray, 'scene', self.scenes.append, qos.STATUS)
        subscribe(DiagnosticArray, '/diagnostics', self.findings.append, qos.STATUS)
        subscribe(Clock, '/clock', self.clocks.append, qos.SENSOR)
        for camera in ROBOT.cameras:
            subscribe(Image, camera.stream.topic, self.images[camera.name].append, qos.SENSOR)
            subscribe(CameraInfo, camera.info_topic, self.infos[camera.name].append, qos.SENSOR)
        self.position = peer.node.create_publisher(
            Float64MultiArray, 'position_command', qos.COMMAND)
        self.trajectory = peer.node.create_publisher(
            JointTrajectory, 'joint_trajectory', qos.COMMAND)

    def measured(self):
        """Return the newest joint positions (J,)."""
        return joint_sample_from_msg(self.joints[-1], ROBOT.joint_names, 0).position

    def reset(self, **request):
        return self.peer.call(ResetScene, 'sim/reset_scene', ResetScene.Request(**request))

    def finding(self, key):
        """Return the newest value of the node's own diagnostics."""
        found = [value.value for array in self.findings for status in array.status
                 if status.name == '/sim' for value in status.values if value.key == key]
        return found[-1] if found else None

    def wait_for(self, condition, what):
        return self.peer.wait_for(condition, what, START_S)

    def wait_for_arm(self, target):
        self.wait_for(lambda: np.abs(self.measured() - target)[:6].max() < 0.003,
                      f'arm at {target}')


@pytest.fixture(scope='module')
def arm(domain, peer):
    """Yield a running simulator, seen from outside."""
    process = launch(domain, '-p', 'seed:=3', '-p', 'position_set:=fixed', '-p', 'task:=red_left')
    robot = Robot(peer)
    try:
        robot.wait_for(lambda: robot.joints or process.poll() is not None, 'joint_states')
        if process.poll() == 2:
            reason = process.stderr.read()
            assert 'EGL' in reason, reason
            pytest.skip(reason)
        robot.wait_for(lambda: robot.position.get_subscription_count(), 'position_command')
        robot.wait_for(lambda: robot.trajectory.get_subscription_count(), 'joint_trajectory')
        yield robot
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, '')
    finally:
        process.kill()


@pytest.fixture
def robot(arm):
    """Return the simulator at the start of an episode."""
    answer = arm.reset(seed=3, position_set='fixed', task='red_left')
    assert answer.success
    # They may come after the answer, and would be taken for another reset's.
    arm.wait_for(lambda: [event for event in arm.events if event.episode_id == answer.episode_id
                          and event.type == EpisodeEvent.TASK], 'the events of the reset')
    arm.joints.clear()
    arm.wait_for(lambda: arm.joints, 'joint_states')
    return arm


def test_joint_states_are_the_contract_s_and_regular(robot):
    robot.wait_for(lambda: len(robot.joints) >= 30, 'joint_states')
    assert tuple(robot.joints[0].name) == ROBOT.joint_names
    stamps = [stamp_to_ns(msg.header.stamp) for msg in robot.joints[:30]]
    steps = {b - a for a, b in itertools.pairwise(stamps)}
    # 125 Hz; best effort may lose one, a busy machine may be given time.
    assert min(steps) == 8_000_000


def test_images_are_the_contract_s_and_have_their_intrinsics(robot):
    for camera in ROBOT.cameras:
        images, infos = robot.images[camera.name], robot.infos[camera.name]
        images.clear()
        robot.wait_for(lambda images=images: len(images) >= 3, f'images of {camera.name}')
        frame = image_from_msg(images[-1], camera, 1)
        assert frame.pixels.std() > 10
        stamps = {stamp_to_ns(msg.header.stamp) for msg in images}
        robot.wait_for(lambda infos=infos, stamps=stamps: stamps & {
            stamp_to_ns(info.header.stamp) for info in infos}, 'camera_info of an image')
        assert (infos[-1].width, infos[-1].height) == (camera.width, camera.height)
        assert infos[-1].k[0] == infos[-1].k[4] > 100
        assert images[-1].header.frame_id == infos[-1].header.frame_id


def test_a_position_command_from_nearby_moves_the_arm(robot):
    target = HOME + np.array([0.03, -0.03, 0.03, 0.0, 0.0, 0.0, 0.0])
    robot.position.publish(Float64MultiArray(data=target.tolist()))
    robot.wait_for_arm(target)


def test_a_position_command_from_afar_is_refused_and_reported(robot):
    refused = int(robot.wait_for(lambda: robot.finding('commands_refused'), 'diagnostics'))
    target = HOME + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    robot.position.publish(Float64MultiArray(data=target.tolist()))
    robot.wait_for(lambda: int(robot.finding('commands_refused')) == refused + 1, 'a refusal')
    assert 'must be within 0.050 rad' in robot.finding('last_refusal')
    assert robot.measured()[:6] == pytest.approx(HOME[:6], abs=0.003)


@pytest.mark.parametrize('stamped', [False, True])
def test_a_trajectory_moves_the_arm_with_joints_in_any_order(robot, stamped):
    target = HOME + np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0])
    msg = JointTrajectory(joint_names=list(ROBOT.joint_names[::-1]), points=[JointTrajectoryPoint(
        positions=target[::-1].tolist(), velocities=[0.0] * 7,
        time_from_start=ns_to_duration(400_000_000))])
    if stamped:
        now_ns = robot.peer.node.get_clock().now().nanoseconds
        msg.header.stamp = ns_to_stamp(now_ns + 100_000_000)
    robot.trajectory.publish(msg)
    robot.wait_for_arm(target)


def test_a_malformed_trajectory_is_refused_and_reported(robot):
    robot.trajectory.publish(JointTrajectory(joint_names=['elbow_joint']))
    robot.wait_for(lambda: "names ['elbow_joint']" in (robot.finding('last_refusal') or ''),
                   'the refusal on /diagnostics')


def test_a_reset_says_what_was_reset_and_marks_the_episode(robot):
    robot.events.clear()
    robot.position.publish(Float64MultiArray(data=(HOME + 0.03).tolist()))
    robot.wait_for_arm(HOME + 0.03)
    answer = robot.reset(seed=7, position_set='unseen', task='blue_right')
    assert answer.success
    assert answer.instruction == 'put the blue cube on the right pad'
    robot.wait_for(lambda: len(robot.events) == 3, 'events')
    assert [event.type for event in robot.events] == [
        EpisodeEvent.RESET, EpisodeEvent.START, EpisodeEvent.TASK]
    assert {event.episode_id for event in robot.events} == {answer.episode_id}
    assert robot.events[0].value == 7.0
    assert robot.events[2].text == answer.instruction
    assert robot.events[0].source == '/sim'
    robot.wait_for(lambda: robot.instructions[-1].data == answer.instruction, 'instruction')
    robot.wait_for_arm(HOME)


def test_every_episode_has_its_own_id(robot):
    ids = {robot.reset(seed=1).episode_id for _ in range(3)}
    assert len(ids) == 3


def test_keep_arm_leaves_the_arm_where_it_is(robot):
    robot.position.publish(Float64MultiArray(data=(HOME + 0.04).tolist()))
    robot.wait_for_arm(HOME + 0.04)
    assert robot.reset(seed=9, keep_arm=True).success
    robot.joints.clear()
    robot.wait_for(lambda: len(robot.joints) > 20, 'joint_states')
    assert robot.measured()[:6] == pytest.approx(HOME[:6] + 0.04, abs=0.003)


def test_the_scene_follows_the_reset(robot):
    assert robot.reset(seed=3, position_set='fixed', task='red_left').success
    robot.scenes.clear()
    robot.wait_for(lambda: robot.scenes, 'scene')
    scene = scene_from_msg(robot.scenes[-1])
    assert scene['cube/red'].position == pytest.approx([0.42, 0.0, 0.02], abs=0.002)
    assert robot.scenes[-1].markers[0].header.frame_id == ROBOT.base_frame


@pytest.mark.parametrize(('request_fields', 'reason'), [
    ({'position_set': 'moon'}, "no position set 'moon', expected one of fixed, random, unseen"),
    ({'task': 'red_up'}, "no task 'red_up', expected one of red_left")])
def test_a_reset_that_cannot_be_met_is_refused_and_changes_nothing(robot, request_fields, reason):
    robot.events.clear()
    answer = robot.reset(seed=1, **request_fields)
    assert not answer.success
    assert answer.message.startswith(reason)
    assert not robot.events


def test_the_instruction_waits_for_a_late_joiner(robot):
    late = []
    subscription = robot.peer.node.create_subscription(
        String, 'instruction', late.append, qos.LATCHED)
    robot.wait_for(lambda: late, 'latched instruction')
    assert late[0].data == 'put the red cube on the left pad'
    robot.peer.destroy(subscription)


def test_it_reports_its_real_time_factor(robot):
    factor = robot.wait_for(lambda: robot.finding('real_time_factor'), 'diagnostics')
    assert float(factor) > 0.0


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['-p', 'robot:=ur6e'], 'ur6e'),
    (['-p', 'task:=red_up'], "error: no task 'red_up', expected one of red_left"),
    (['-p', 'position_set:=moon'], "parameter position_set is 'moon', expected one of fixed"),
    (['-p', 'seed:=-1'], 'parameter seed is -1, expected int from 0'),
    (['-p', 'speed:=2'], 'unknown parameter speed'),
    (['-p', 'use_sim_time:=true'], 'use_sim_time needs clock:=sim'),
])
def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(
        domain, try_to_start, arguments, reason):
    code, error = try_to_start(
        'chunked_vla_ros.nodes.sim_node', domain, '--ros-args', *arguments)
    assert code == 2
    assert reason in error
    assert error.count('\n') == 1


def test_simulated_time_is_published_and_is_what_stamps_carry(domain, peer):
    process = launch(domain, '-r', '__ns:=/second', '-p', 'clock:=sim')
    clocks, joints = [], []
    peer.node.create_subscription(Clock, '/clock', clocks.append, qos.SENSOR)
    peer.node.create_subscription(JointState, '/second/joint_states', joints.append, qos.SENSOR)
    try:
        def times_ns():
            return {stamp_to_ns(msg.clock) for msg in clocks}

        # Each is heard as soon as it is known, so they need not begin together.
        peer.wait_for(
            lambda: process.poll() is not None
            or times_ns() & {stamp_to_ns(msg.header.stamp) for msg in joints},
            'joint_states that carry the time of the clock', START_S)
        if process.poll() == 2:
            pytest.skip(process.stderr.read())
        # A control period is 5 ms, a physics step 2 ms: a tick is the first step at or after it.
        peer.wait_for(lambda: {time_ns % 10_000_000 for time_ns in times_ns()} == {0, 6_000_000},
                      'ticks at every period')
        assert min(times_ns()) < 60e9
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, '')
    finally:
        process.kill()
