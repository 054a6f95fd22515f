"""A leader arm over DDS: never a jump at take-over, and real hands are followed closely."""

from collections.abc import Iterator
import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from sensor_msgs.msg import JointState

from chunked_vla_ros.core.executor_state import Mode

pytestmark = pytest.mark.timeout(120)
AWAY = np.array([0.4, -0.3, 0.2, 0.0, 0.0, 0.5, 0.0])


@pytest.fixture(scope='module', params=['fade', 'near'])
def teleop(request: Any, start_teleop: Any) -> Iterator[Any]:
    with start_teleop(hand='leader', leader_take_over=request.param,
                      leader_fade_speed=0.4) as graph:
        graph.take_over = request.param
        yield graph


def test_a_leader_that_is_elsewhere_is_not_jumped_to(calm: Any, teleop: Any) -> None:
    start = calm.position.copy()
    calm.log.start()
    calm.lead(start + AWAY)
    calm.take_over()

    def met() -> bool:
        return bool(np.abs(calm.position - start - AWAY).max() < 0.002)
    if teleop.take_over == 'near':
        calm.peer.wait_for(lambda: any(
            'bring the leader near: wrist_3_joint is' in line
            for line in teleop.log_tail('teleop')), 'the hint')
        assert not calm.targets
        assert (calm.position == start).all()
        calm.lead(start + 0.1 * AWAY)
        calm.wait(lambda: calm.targets, 'targets')
        calm.lead_from_near(start + AWAY, met, 'the leader met')
    calm.wait(met, 'the leader met')
    calm.check_motion()
    # Half of the arm's 3.14 rad/s, whatever the leader does.
    for column in range(6):
        calm.check_targets(0.5 * 3.1416, column)


def test_a_leader_that_falls_silent_and_comes_back_elsewhere(calm: Any, teleop: Any) -> None:
    start = calm.position.copy()
    calm.lead(start)
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')
    calm.log.start()
    calm.let_go()
    calm.wait_mode(Mode.HOLD)
    calm.lead(start + 0.09)
    calm.wait(lambda: np.abs(calm.position[:6] - start[:6] - 0.09).max() < 0.002, 'the leader met')
    calm.check_motion()


def test_messages_that_are_no_pose_are_refused_and_the_leader_goes_on(
        calm: Any, teleop: Any) -> None:
    start = calm.position.copy()
    calm.lead(start)
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')
    names = [str(name) for name in calm.state.joint_names]
    wrong = [(names, [math.nan] * 7), (names, [0.0]), ([], []), (names[:3], [1.0] * 3),
             (names, [math.inf] * 7), (['\x00'] * 7, [1.0] * 7)]
    calm.log.start()
    for _ in range(10):
        for joint_names, position in wrong:
            calm.leader.publish(JointState(name=joint_names, position=position))
    seen = len(calm.states)
    calm.wait(lambda: len(calm.states) > seen + 20, 'time')
    calm.check_motion()
    assert np.abs(calm.position - start).max() < 0.01
    assert teleop.poll() == {'teleop': None}


def test_a_leader_gone_wild_is_followed_no_faster_than_told(calm: Any, teleop: Any) -> None:
    start = calm.position.copy()
    calm.lead(start)
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')
    calm.log.start()
    calm.targets.clear()
    for sign in (1.0, -1.0, 1.0, -1.0):
        seen = len(calm.targets)
        calm.lead_from_near(start + sign * 1e6 * np.array([1, 0, 0, 0, 0, 0, 0]),
                            lambda seen=seen: len(calm.targets) > seen + 15, 'targets')
    calm.check_targets(0.5 * 3.1416, 0)
    calm.let_go()
    calm.wait_mode(Mode.HOLD)
    calm.check_motion()
