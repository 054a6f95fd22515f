"""Play data are those of OGBench's own recipe, one episode for each seed."""

import numpy as np
import pytest

play = pytest.importorskip(
    'chunked_vla_ros.sim.ogbench_play', reason='mujoco or ogbench is not installed',
    exc_type=ImportError)

ROWS = 120


@pytest.fixture(scope='module')
def recorder():
    return play.PlayRecorder('cube-double')


def as_published(seed):
    """Record an episode with OGBench's own environment, step by step as its recipe says."""
    from ogbench.manipspace.envs.cube_env import CubeEnv
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
    environment = CubeEnv('double', terminate_at_goal=False, mode='data_collection')
    oracle = CubePlanOracle(env=environment, noise=0.1, noise_smoothing=0.5)
    np.random.seed(seed)    # noqa: NPY002
    observation, info = environment.reset(seed=seed)
    stacking = np.random.uniform(0.0, 0.25)    # noqa: NPY002
    oracle.reset(observation, info)
    rows, targets = [], 1
    for _ in range(ROWS):
        action = np.clip(oracle.select_action(observation, info), -1, 1)
        after, _, _, _, info = environment.step(action)
        rows.append((observation, action, info['prev_qpos']))
        observation = after
        if oracle.done:
            oracle.reset(*environment.set_new_target(p_stack=stacking))
            targets += 1
    return [np.array(column, np.float32) for column in zip(*rows, strict=True)], targets


def test_an_episode_is_the_published_recipes(recorder):
    state = np.random.get_state()[1].copy()    # noqa: NPY002
    episode = recorder.episode(11, ROWS)
    assert np.array_equal(np.random.get_state()[1], state)    # noqa: NPY002
    (observations, actions, positions), targets = as_published(11)
    np.random.seed(None)    # noqa: NPY002
    assert targets == 2    # the first target was reached, and there was a next
    assert np.array_equal(episode.observations, observations)
    assert np.array_equal(episode.actions, actions)
    assert np.array_equal(episode.positions, positions)


def test_an_episode_depends_on_its_seed_alone(recorder):
    first = recorder.episode(4, 20)
    other = recorder.episode(5, 20)
    assert np.array_equal(recorder.episode(4, 20).observations, first.observations)
    assert not np.array_equal(other.observations, first.observations)
    assert first.actions.shape == (20, 5)
    assert np.abs(first.actions).max() <= 1.0
