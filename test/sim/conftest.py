"""The simulated robot's parts, built once: compiling the model takes a second."""

import numpy as np
import pytest

from chunked_vla_ros.core.types import Observation
from chunked_vla_ros.data.robot_contract import load_robot

COMMAND_PERIOD_NS = 5_000_000
REPLAN_NS = 400_000_000


@pytest.fixture(scope='session')
def robot():
    """Return the contract that the simulator serves."""
    return load_robot('ur5e_sim')


@pytest.fixture(scope='session')
def _world(robot):
    world = pytest.importorskip(
        'chunked_vla_ros.sim.world', reason='mujoco or ogbench is not installed',
        exc_type=ImportError)
    return world.World(robot)


@pytest.fixture
def world(_world):
    """Return the world at the start of the fixed layout."""
    _world.reset(0, 'fixed', 'red_left')
    return _world


@pytest.fixture(scope='session')
def expert(robot):
    """Return the expert; call `reset` before use."""
    module = pytest.importorskip(
        'chunked_vla_ros.sim.expert', reason='mujoco or ogbench is not installed',
        exc_type=ImportError)
    return module.ScriptedExpert(robot)


def shown(world):
    """Return what a policy is shown of the world now."""
    return Observation(world.time_ns, world.joints(), {}, world.start.task.instruction,
                       world.scene())


@pytest.fixture(scope='session')
def observe():
    """Return a function from a world to what a policy is shown of it now."""
    return shown


class Driver:
    """Follows an expert's chunks at 200 Hz, as an executor would with instant inference."""

    def __init__(self, world, expert):
        self.world, self.expert = world, expert
        self.done, self.notes, self.commands = False, [], []

    def run_until(self, condition, limit_s=20.0):
        """Drive until ``condition(self)``; fails after ``limit_s`` of simulated time."""
        begin_ns = self.world.time_ns
        plan, planned_ns = None, 0
        while not condition(self):
            now_ns = self.world.time_ns
            assert now_ns - begin_ns < limit_s * 1e9, f'not within {limit_s} s: {self.notes}'
            if plan is None or now_ns - planned_ns >= REPLAN_NS:
                plan, planned_ns = self.expert.plan(shown(self.world)), now_ns
                self.done = plan.done
                if self.notes[-1:] != [plan.note]:
                    self.notes.append(plan.note)
            self.commands.append(sample(plan.positions, (now_ns - planned_ns) / 1e9))
            self.world.command_position(self.commands[-1], now_ns)
            self.world.advance_to(now_ns + COMMAND_PERIOD_NS)
        return self


def sample(rows, time_s, step_s=0.05):
    """Return the arm interpolated and the gripper stepped at ``time_s`` of a chunk."""
    index, share = divmod(time_s / step_s, 1.0)
    low = rows[int(index)]
    command = low + share * (rows[int(index) + 1] - low)
    command[-1] = low[-1]
    return np.array(command)


@pytest.fixture
def drive(world, expert):
    """Return a function that resets world and expert and gives a driver for them."""
    def start(seed, position_set='random', task=''):
        world.reset(seed, position_set, task)
        expert.reset()
        return Driver(world, expert)
    return start
