"""Tasks, their words, and start layouts."""

from itertools import combinations
import math

from hypothesis import given, settings, strategies
import pytest

from chunked_vla_ros.sim.tasks import (
    CLEARANCE_M,
    CUBES,
    draw_start,
    PADS,
    parse_instruction,
    RANDOM,
    Task,
    TaskError,
    TASKS,
    UNSEEN,
)

SEEDS = strategies.integers(0, 2**32 - 1)
SETS = strategies.sampled_from(['random', 'unseen'])


def inside(cube, region):
    return region.x[0] <= cube.x <= region.x[1] and region.y[0] <= cube.y <= region.y[1]


@pytest.mark.parametrize('task', list(TASKS.values()), ids=str)
def test_every_instruction_is_understood_as_its_own_task(task):
    assert parse_instruction(task.instruction) == task


def test_case_and_other_words_do_not_matter():
    assert parse_instruction('Please put the GREEN cube onto the right pad!') == Task(
        'green', 'right')


@pytest.mark.parametrize('words', ['', 'put the red cube away', 'the left pad', 'redcube leftpad',
                                   'put the mauve cube on the left pad'])
def test_an_instruction_without_cube_or_pad_is_refused_with_an_example(words):
    with pytest.raises(TaskError, match='put the red cube on the left pad') as error:
        parse_instruction(words)
    assert repr(words) in str(error.value)


@given(SEEDS, SETS)
def test_same_request_same_start(seed, position_set):
    assert draw_start(seed, position_set) == draw_start(seed, position_set)


@settings(max_examples=20)
@given(SEEDS)
def test_naming_the_task_does_not_move_the_cubes(seed):
    for name in TASKS:
        assert draw_start(seed, 'random', name).cubes == draw_start(seed, 'random').cubes


@given(SEEDS, SETS)
def test_cubes_lie_in_their_region_and_apart(seed, position_set):
    start = draw_start(seed, position_set)
    region = RANDOM if position_set == 'random' else UNSEEN
    assert len(start.cubes) == len(CUBES)
    assert all(inside(cube, region) and abs(cube.yaw) <= math.pi / 4 for cube in start.cubes)
    assert all(math.dist((a.x, a.y), (b.x, b.y)) >= CLEARANCE_M
               for a, b in combinations(start.cubes, 2))


@given(SEEDS)
def test_no_unseen_start_was_ever_a_random_one(seed):
    assert not any(inside(cube, RANDOM) for cube in draw_start(seed, 'unseen').cubes)


def test_the_fixed_set_ignores_the_seed_but_for_the_task():
    starts = [draw_start(seed, 'fixed') for seed in range(30)]
    assert len({start.cubes for start in starts}) == 1
    assert {start.task.name for start in starts} == set(TASKS)


def test_an_empty_position_set_means_random():
    assert draw_start(7, '') == draw_start(7, 'random')


def test_no_cube_starts_on_a_pad():
    for seed in range(50):
        for position_set in ('fixed', 'random', 'unseen'):
            for cube in draw_start(seed, position_set).cubes:
                assert all(math.dist((cube.x, cube.y), pad) > 0.1 for pad in PADS.values())


@pytest.mark.parametrize(('position_set', 'task', 'named'), [
    ('everywhere', '', 'fixed, random, unseen'), ('random', 'red_up', 'red_left')])
def test_an_unknown_name_is_refused_with_the_names_there_are(position_set, task, named):
    with pytest.raises(TaskError, match=named):
        draw_start(0, position_set, task)
