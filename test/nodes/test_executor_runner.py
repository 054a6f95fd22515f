"""Whatever goes wrong around the executor, the arm comes to rest within its limits."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Command, ExecutorConfig, Mode
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import ActionChunk, JointSample
from chunked_vla_ros.nodes.executor_runner import ExecutorRunner

T_S = np.arange(60) * 0.05
# 0.4 rad/s, smoothly started.
RAMP = 0.4 * (T_S - 0.2 * (1 - np.exp(-T_S / 0.2)))


class Loop:
    """A runner whose arm is where it was commanded to be, and whose inputs can be broken."""

    def __init__(self, node: Any, robot: RobotSpec, make_chunk: Callable[..., ActionChunk],
                 line: np.ndarray = RAMP) -> None:
        self.robot, self.make_chunk, self.rows = robot, make_chunk, np.stack([line, line], axis=1)
        self.position = np.zeros(len(robot.joints))
        self.commands: list[Command] = []
        self.reports: list[str] = []
        self.broken = self.offered = False
        self.runner = ExecutorRunner(
            node, Executor(robot, ExecutorConfig(rate_hz=200.0)), self.poll, self.publish,
            lambda *_: None, 0.02, self.reports.append)

    def poll(self, executor: Executor, node_ns: int) -> None:
        if self.broken:
            raise RuntimeError('the middleware has gone')
        executor.observe(JointSample(node_ns, self.position, np.zeros_like(self.position)))
        if executor.mode is Mode.HOLD and not self.offered:
            self.offered = True
            executor.offer_chunk(self.make_chunk(self.rows, start_ns=node_ns, chunk_id=1))

    def publish(self, _: Executor, command: Command, tick: int) -> None:
        self.position = command.state.position
        self.commands.append(command)

    @property
    def mode(self) -> Mode:
        return self.runner.executor.mode

    @property
    def speed(self) -> float:
        return float(np.abs(self.commands[-1].state.velocity).max())


@pytest.fixture
def loop(peer: Any, make_robot: Callable[..., RobotSpec],
         make_chunk: Callable[..., ActionChunk]) -> Iterator[Loop]:
    loop = Loop(peer.node, make_robot(), make_chunk)
    yield loop
    loop.broken = False
    loop.runner.stop('end of the test')


def test_inputs_that_fail_for_ever_end_in_a_bounded_stop(peer: Any, loop: Loop) -> None:
    peer.wait_for(lambda: loop.commands and loop.speed > 0.2, 'motion')
    before = len(loop.commands)
    loop.broken = True
    peer.wait_for(lambda: loop.mode is Mode.FAULT, 'fault')
    velocities = np.array([one.state.velocity for one in loop.commands[before:]])
    times_s = np.array([one.due_ns for one in loop.commands[before:]]) * 1e-9
    # After a stall the next tick follows at once: too soon to divide by what two clocks disagree.
    judged = np.diff(times_s) > 0.0025
    acceleration = np.abs(np.diff(velocities, axis=0) / np.diff(times_s)[:, None])[judged]
    # The arm was followed down: many commands, none of which decelerates beyond the limit. In
    # 0.2 s of stopping a loop that is late every time makes ten, as a tick moves at most 20 ms.
    assert len(velocities) >= 10
    assert (acceleration.max(axis=0) <= 1.1 * loop.robot.limits.acceleration).all()
    assert loop.speed == 0.0
    assert loop.reports == ["internal error, stopping: RuntimeError('the middleware has gone')"]


def test_after_such_a_fault_the_loop_lives_and_takes_a_reset(peer: Any, loop: Loop) -> None:
    peer.wait_for(lambda: loop.commands and loop.speed > 0.2, 'motion')
    loop.broken = True
    peer.wait_for(lambda: loop.mode is Mode.FAULT, 'fault')
    loop.broken = False
    answer = peer.wait_for(
        lambda: (done := loop.runner.ask(lambda executor, now: executor.reset(now))).done and done,
        'reset')
    assert answer.message == 'reset: holding the measured pose'
    assert loop.mode is Mode.HOLD


def test_stopping_waits_as_long_as_the_limits_may_need(
        peer: Any, make_robot: Callable[..., RobotSpec],
        make_chunk: Callable[..., ActionChunk]) -> None:
    slow = make_robot(acceleration=0.12)
    loop = Loop(peer.node, slow, make_chunk, line=0.04 * T_S**2)
    peer.wait_for(lambda: loop.commands and loop.speed > 0.2, 'motion')
    # From 0.2 rad/s at 0.12 rad/s^2: longer than the second and a half that stops once got.
    assert loop.runner.stop('enough')
    assert loop.speed == 0.0
