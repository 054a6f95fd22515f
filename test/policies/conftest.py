"""A two-joint robot, observations of it, and a runner whose policy the test plays."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from chunked_vla_ros.core.policy import PolicySpec
from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    CommandKind,
    CommandSpec,
    GripperSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind, JointSample, Observation
from chunked_vla_ros.policies.exchange import PolicyExchange
from chunked_vla_ros.policies.runner import PolicyRunner, RunnerSettings
from chunked_vla_ros.policies.worker import PlanAnswer

MS = 1_000_000
START_NS = 1_000_000_000_000
SPEC = PolicySpec('scripted', ('arm', 'finger'), (DimKind.CONTINUOUS, DimKind.BINARY), 0.05, 2)


@pytest.fixture(scope='session')
def robot():
    return RobotSpec(
        name='tiny', base_frame='world',
        joints=(JointSpec('arm', DimKind.CONTINUOUS, -3.0, 3.0, 1.0, 5.0, 100.0, 0.5),
                JointSpec('finger', DimKind.BINARY, 0.0, 0.8, 1.0, 10.0, 100.0, 0.0)),
        gripper=GripperSpec('finger', 0.0, 0.8),
        state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1),
        cameras=(CameraSpec('wrist', StreamSpec('wrist/image', 20.0, TimeBase.HEADER, 0.2),
                            'wrist/info', 2, 2, 'rgb8'),),
        command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))


@pytest.fixture
def observe():
    def make(stamp_ns, position=(0.5, 0.0), instruction=''):
        joints = JointSample(stamp_ns, np.array(position), np.zeros(2))
        return Observation(stamp_ns, joints, instruction=instruction)
    return make


class Bench:
    """A runner with its clock and the questions it asked; the test plays the policy."""

    def __init__(self, robot, spec=SPEC, **options):
        self.asked, self.used, self.now = [], [], START_NS
        sessions = iter(f'{index:032x}' for index in range(1, 1000))
        self.runner = PolicyRunner(
            robot, PolicyExchange(SimpleNamespace(spec=spec), self.used.append),
            RunnerSettings(**options), self.asked.append, lambda: next(sessions))
        self.runner.activate(START_NS)

    def advance(self, step_ns=20 * MS, joints=True):
        self.now += step_ns
        if joints:
            self.runner.add_joints(
                JointSample(self.now, np.array([0.5, 0.0]), np.zeros(2)), self.now)
        self.runner.tick(self.now)

    def answer(self, plan=None, blocked='', error='', latency_ns=10 * MS, request=None):
        return self.runner.accept(PlanAnswer(
            request or self.asked[-1], plan, blocked, error, latency_ns), self.now)


@pytest.fixture(scope='session')
def make_bench(robot):
    """Return the constructor of a bench for ``spec`` and settings of the runner."""
    return partial(Bench, robot)


@pytest.fixture(scope='session')
def spec():
    """Return what the played policy is, unless a test says otherwise."""
    return SPEC
