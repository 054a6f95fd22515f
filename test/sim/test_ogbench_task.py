"""A task's rewards and ends are the published ones, and an episode depends on its seed alone."""

import os
import signal

import numpy as np
import pytest

from chunked_vla_ros.sim.served import Served, ServedError

task_module = pytest.importorskip(
    'chunked_vla_ros.sim.ogbench_task', reason='mujoco or ogbench is not installed',
    exc_type=ImportError)
lockstep_module = pytest.importorskip(
    'chunked_vla_ros.sim.ogbench_lockstep', reason='mujoco or ogbench is not installed',
    exc_type=ImportError)

TASK = task_module.parse_task('cube-single-task1')


@pytest.fixture(scope='module')
def episodes():
    return task_module.TaskEpisodes(TASK)


def solve(episodes, seed):
    """Return positions of the joints before each step, actions and steps of an oracle."""
    from ogbench.manipspace import lie
    from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
    cubes = episodes._cubes

    def told(info):
        target = cubes._cube_target_mocap_ids[0]
        yaw = lie.SO3(wxyz=cubes._data.mocap_quat[target]).compute_yaw_radians()
        return {**info, 'privileged/target_block': 0, 'privileged/target_block_yaw': [yaw],
                'privileged/target_block_pos': cubes._data.mocap_pos[target].copy()}

    oracle = CubeMarkovOracle(env=type('Wrapped', (), {'unwrapped': cubes})(), min_norm=0.4)
    seen = episodes.start(seed)
    oracle.reset(seen, told(cubes.compute_ob_info()))
    positions, actions, steps = [], [], []
    while not (steps and steps[-1].over):
        actions.append(np.asarray(oracle.select_action(seen, told(cubes.compute_ob_info()))))
        positions.append(cubes._data.qpos.copy())
        steps.append(episodes.step(actions[-1]))
        seen = steps[-1].observation
    return np.array(positions, np.float32), np.array(actions), steps


def rolled(episodes, seed, actions):
    return np.stack([episodes.start(seed),
                     *(episodes.step(action).observation for action in actions)])


def test_the_step_after_the_goal_is_reached_ends_the_task_and_costs_nothing(episodes):
    positions, _, steps = solve(episodes, 3)
    assert [step.reward for step in steps] == [-1.0] * (len(steps) - 1) + [0.0]
    assert [step.terminated for step in steps] == [False] * (len(steps) - 1) + [True]
    rewards, done = episodes.relabel(positions)
    assert rewards.tolist() == [step.reward for step in steps]
    assert done.tolist() == [step.terminated for step in steps]


def test_time_is_up_after_as_many_steps_as_gymnasium_says(episodes):
    assert episodes.limit == 200
    episodes.start(0)
    steps = episodes.advance(np.zeros((300, 5)))
    assert len(steps) == 200
    assert (steps[-1].truncated, steps[-1].terminated) == (True, False)
    assert not any(step.over for step in steps[:-1])


def test_an_episode_depends_on_its_seed_alone(episodes):
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 5))
    first = rolled(episodes, 5, actions)
    twin = episodes.twin()
    twin.start(6)
    beside = [episodes.start(5)]
    for action in actions:    # neither sees the other's steps
        twin.step(-action)
        beside.append(episodes.step(action).observation)
    assert np.array_equal(first, np.stack(beside))
    assert np.array_equal(first, rolled(twin, 5, actions))
    assert not np.array_equal(first, rolled(twin, 6, actions))


def test_there_are_five_tasks_of_two_scenes():
    assert [str(task_module.parse_task(name)) for name in task_module.task_names()] == [
        f'{scene}-task{number}' for scene in ('cube-single', 'cube-double')
        for number in range(1, 6)]


@pytest.mark.parametrize('name', ['cube-single', 'cube-single-task6', 'cube-triple-task1', ''])
def test_another_task_is_refused_in_one_line(name):
    with pytest.raises(task_module.TaskError) as refused:
        task_module.parse_task(name)
    assert repr(name) in str(refused.value)
    assert 'cube-single or cube-double followed by -task1 to -task5' in str(refused.value)


def forward(observations, seeds, chunks):
    """Plan chunks of two: to the left by as much as seed and count say."""
    assert observations.shape == (len(seeds), 28)
    plan = np.zeros((len(seeds), 2, 5), np.float32)
    plan[:, :, 1] = ((seeds % 7) * 0.1 + chunks * 0.01)[:, None]
    return plan


def test_how_many_act_side_by_side_changes_nothing(episodes):
    first = episodes.twin()
    first.limit = 30

    def outcomes(places, processes):
        with lockstep_module.LockStep(first, places, processes) as lockstep:
            asked = []

            def plan(observations, seeds, chunks):
                asked.append(len(seeds))
                return forward(observations, seeds, chunks)
            return lockstep.run([4, 9, 2], plan), asked
    alone, asked = outcomes(1, 1)
    assert [each.seed for each in alone] == [4, 9, 2]
    assert asked == [1] * 45    # three times 30 steps, two at a time
    together, asked = outcomes(2, 2)
    assert together == alone
    assert asked == [2] * 15 + [1] * 15    # the third begins when a place is free


def test_an_episode_that_reaches_its_goal_is_a_success(episodes):
    _, actions, steps = solve(episodes, 3)
    padded = np.concatenate([actions, np.zeros((3, 5))]).astype(np.float32)
    with lockstep_module.LockStep(episodes, 1) as lockstep:
        outcome, = lockstep.run([3], lambda seen, seeds, chunks: padded[
            3 * chunks[0]:3 * chunks[0] + 3][None])
    assert outcome == lockstep_module.Outcome(3, True, len(steps), 1.0 - len(steps))


def test_an_object_answers_from_a_process_of_its_own():
    served = Served(list, 'ab')
    served.ask('append', 'c')
    assert served.answer() is None
    served.ask('copy')
    assert served.answer() == ['a', 'b', 'c']
    served.ask('index', 'z')
    with pytest.raises(ServedError, match="could not go on: ValueError: 'z' is not in list"):
        served.answer()
    # It dies between question and answer: whoever is stopped cannot be quicker.
    os.kill(served._process.pid, signal.SIGSTOP)
    served.ask('copy')
    served._process.kill()
    with pytest.raises(ServedError, match=r'died \(-9\)'):
        served.answer()
    with pytest.raises(ServedError, match=r'died \(-9\)'):
        served.ask('copy')
    served.close()
