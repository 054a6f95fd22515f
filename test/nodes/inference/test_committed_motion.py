"""What the executor says it follows decides what the policy is told to continue, over DDS."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos

ROBOT = load_robot('ur5e_sim')
FIRST = 0    # of a session's chunks


class Executor:
    """Says 20 times a second that it follows the newest chunk, or none."""

    def __init__(self, probe: Any) -> None:
        self.probe, self.follows = probe, True
        self.states = probe.node.create_publisher(ExecutorState, 'executor_state', qos.STATUS)
        probe.node.create_timer(0.05, self.publish)

    def publish(self) -> None:
        msg = ExecutorState()
        # Later than any chunk: what it says is news of the newest one, however late it comes.
        msg.header.stamp = self.probe.node.get_clock().now().to_msg()
        msg.header.stamp.sec += 1000
        if self.follows and self.probe.chunks:
            newest = self.probe.chunks[-1]
            msg.session_id, msg.chunk_id = newest.session_id, newest.chunk_id
        self.states.publish(msg)


def test_a_policy_continues_only_what_the_executor_follows(
        start: Any, probe: Any, make_bundle: Any, tmp_path: Any) -> None:
    # It plans from where the arm is, and adds what it is told to continue.
    make_bundle(tmp_path / 'b', ROBOT, prefix=True, horizon=40, tokenizer=False, cameras=())
    executor = Executor(probe)

    def continues(chunk: Any) -> bool:
        off = np.array(chunk.joint.points[0].positions) - ROBOT.home
        return bool(np.abs(off).max() > 0.5)

    node = start('policy:=onnx', f'bundle:={tmp_path / "b"}', 'execution_provider:=cpu',
                 'replan_period_s:=0.2', 'run_on_activate:=true')
    probe.wait_for(lambda: any(map(continues, probe.chunks)) or node.ended(), 'continued chunk')
    # There is nothing to continue yet. On a busy machine it goes out before it can be heard here.
    assert not any(continues(chunk) for chunk in probe.chunks if chunk.chunk_id == FIRST)
    executor.follows = False
    before = len(probe.chunks)
    probe.wait_for(lambda: not all(map(continues, probe.chunks[before:])),
                   'chunk that continues nothing')
    before = len(probe.chunks)
    probe.wait_for(lambda: len(probe.chunks) > before + 2, 'chunks')
    assert not any(map(continues, probe.chunks[before:]))
    code, errors = node.stop()
    assert code == 0, errors
