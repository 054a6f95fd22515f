"""A station for episodes in process, made policies to run there, and records in round numbers."""

from __future__ import annotations

from dataclasses import replace
import json

import numpy as np
import pytest

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.evaluate.episode import EpisodeRecord
from chunked_vla_ros.evaluate.results import EvaluationResults, PolicyResults
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup

STEP_S, HORIZON = 0.05, 16


@pytest.fixture(scope='session')
def robot():
    return load_robot('ur5e_sim')


@pytest.fixture(scope='session')
def make_station():
    """Return a factory: a station that runs the given policies, or the expert."""
    module = pytest.importorskip(
        'chunked_vla_ros.evaluate.station', reason='mujoco or ogbench is not installed',
        exc_type=ImportError)
    open_stations = []

    def make(*policies, **timing):
        setup = StationSetup('ur5e_sim', ('expert',), RunTiming(**timing))
        open_stations.append(module.Station(setup, policies or None))
        return open_stations[-1]
    yield make
    for station in open_stations:
        station.close()


@pytest.fixture(scope='session')
def station(make_station):
    """Return a station where the expert is policy 0."""
    return make_station()


class Hold:
    """A policy that wants to stay where the arm is, and remembers what it was shown."""

    def __init__(self, robot, cameras=()):
        self.spec = PolicySpec('hold', robot.joint_names, robot.dim_kinds, STEP_S, HORIZON,
                               cameras=tuple(cameras), needs_instruction=True)
        self.seen = []

    def reset(self):
        self.seen.clear()

    def plan(self, observation):
        self.seen.append(observation)
        return ActionPlan(np.tile(observation.joints.position, (HORIZON, 1)))


class Deaf:
    """The expert with its ears shut: whatever it is told, it does one task."""

    def __init__(self, expert, instruction):
        self._expert, self._instruction = expert, instruction
        self.spec = replace(expert.spec, policy_id='deaf')

    def reset(self):
        self._expert.reset()

    def plan(self, observation):
        return self._expert.plan(replace(observation, instruction=self._instruction))


@pytest.fixture
def hold(robot):
    """Return a factory of policies that hold still and look through the given cameras."""
    return lambda *cameras: Hold(robot, cameras)


@pytest.fixture
def deaf(station):
    """Return a factory of experts that always do what the given instruction says."""
    return lambda instruction: Deaf(station.policies[0], instruction)


@pytest.fixture(scope='session')
def make_record():
    """Return a factory: a successful episode of 6 s, but for the fields given."""
    def make(seed=0, success=True, task='red_left', **fields):
        cube, _, pad = task.partition('_')
        return EpisodeRecord(**{
            'policy': 0, 'seed': seed, 'position_set': 'random', 'task': task,
            'instruction': f'put the {cube} cube on the {pad} pad', 'success': success,
            'termination': 'success' if success else 'timeout', 'message': '', 'duration_s': 6.0,
            'chunks': 15, 'cube_x_m': 0.4, 'cube_y_m': 0.1, 'cube_to_pad_m': 0.01,
            'first_moved': cube, 'first_lifted': cube, 'plan_wall_s': (0.02, 0.04),
            'rms_jerk': 10.0, 'spectral_arc_length': -3.0} | fields)
    return make


@pytest.fixture
def write_arm(tmp_path, make_record):
    """
    Return a factory: the results of an arm in a cell, under the test's folder.

    ``outcomes`` are those of starts 0, 1, ... at random positions; successes take ``duration_s``.
    Of ``starts`` different places each comes again and again.
    """
    def write(cell, arm, outcomes, duration_s=10.0, position_set='random', starts=1000, **changes):
        seed = changes.get('first_seed', 0)
        episodes = tuple(
            make_record(seed + k, bool(success), position_set=position_set,
                        duration_s=duration_s if success else 20.0,
                        cube_x_m=0.3 + 1e-3 * (k % starts))
            for k, success in enumerate(outcomes))
        results = EvaluationResults(**({
            'command': 'chunked-vla evaluate a', 'robot': 'ur5e_sim',
            'position_set': position_set, 'first_seed': 0, 'timing': {'latency_s': 0.05},
            'versions': {}, 'policies': (PolicyResults(arm, f'{arm}@{cell}', episodes),),
            'duration_s': 1.0} | changes))
        file = tmp_path / cell / 'arms' / arm / position_set / 'results.json'
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(results.to_json()))
        return file
    return write
