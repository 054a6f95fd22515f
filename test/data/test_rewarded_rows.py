"""Rewards and successes beside their rows, out of datasets as they are written and converted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import shutil

import numpy as np
import pytest

from chunked_vla_ros.core.chunk_transitions import EndRule
from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.core.dataset_episode import DatasetEpisode
from chunked_vla_ros.core.episode_marks import EventKind
from chunked_vla_ros.core.rl_support import SupportVerdict
from chunked_vla_ros.core.robot_spec import JointSpec, RobotSpec
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.dataset_schema import entry_schema
from chunked_vla_ros.data.datasets import DatasetError
from chunked_vla_ros.data.episode_stage import stage_episode, staged_part
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder
from chunked_vla_ros.data.rewarded_rows import read_rewards, RewardedRows, RewardSource
from chunked_vla_ros.data.training_rows import read_training_rows

# Of the 4 rows of episode 0 and the 6 of episode 1, both succeed in their last row.
WON = [False] * 3 + [True] + [False] * 5 + [True]
# A step costs 1 until it succeeds, as in OGBench.
COSTS = [-1.0] * 3 + [0.0] + [-1.0] * 5 + [0.0]
RATE_S = 0.1


@pytest.fixture
def robot(make_robot) -> RobotSpec:
    joints = tuple(JointSpec(name, DimKind.CONTINUOUS, -999.0, 999.0, 1.0, 1.0, 1.0, 0.0)
                   for name in ('a', 'b'))
    return replace(make_robot(), joints=joints, cameras=())


@pytest.fixture
def read(robot) -> Callable[..., RewardedRows]:
    def rewarded(*datasets: Path, **options) -> RewardedRows:
        rows = read_training_rows(datasets, robot, no_cache=True)
        return read_rewards(rows, datasets, **options)
    return rewarded


@pytest.fixture
def outcomes(v3, rewrite) -> Callable[..., Path]:
    """Return what writes columns next.<name> into the dataset of 4 and 6 rows."""
    def write(**columns) -> Path:
        for name, values in columns.items():
            rewrite(v3 / 'data/chunk-000/file-000.parquet', f'next.{name}', values)
        return v3
    return write


@pytest.fixture
def told(tmp_path) -> Callable[..., Path]:
    """Return what writes episodes into a dataset."""
    def write(*episodes: DatasetEpisode) -> Path:
        parts = []
        for index, each in enumerate(episodes):
            stage_episode(tmp_path / f'stage{index}', each, None, lambda count: None)
            parts.append(staged_part(tmp_path / f'stage{index}'))
        builder = DatasetBuilder(tmp_path / 'told', {**parts[0][1], 'robot_type': 'tester'},
                                 entry_schema(parts[0][1]['features']), link=True)
        for part, _ in parts:
            builder.add(part)
        builder.finish({'chunked_vla': {'schema': 1}})
        return tmp_path / 'told'
    return write


def refusal(read, *arguments, **options) -> str:
    with pytest.raises(DatasetError) as refused:
        read(*arguments, **options)
    assert '\n' not in str(refused.value)
    return str(refused.value)


def test_a_success_without_recorded_rewards_earns_1_with_the_step_that_succeeds(read, outcomes):
    rewarded = read(outcomes(reward=[0.0] * 10, done=WON, success=WON))
    assert rewarded.source is RewardSource.SUCCESS
    assert rewarded.trajectories.rewards.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert rewarded.trajectories.terminated.tolist() == WON
    assert rewarded.trajectories.lengths.tolist() == [4, 6]
    assert rewarded.success.tolist() == rewarded.labelled.tolist() == [True, True]
    assert rewarded.rows.episode_ids == ('small_v3#0', 'small_v3#1')


def test_recorded_rewards_are_taken_as_they_are_unless_the_successes_are_asked_for(read, outcomes):
    dataset = outcomes(reward=COSTS, done=WON, success=WON)
    rewarded = read(dataset)
    assert rewarded.source is RewardSource.RECORDED
    assert rewarded.trajectories.rewards.tolist() == COSTS
    successes = read(dataset, source=RewardSource.SUCCESS)
    assert successes.trajectories.rewards.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1]


def test_a_failure_and_an_unlabelled_episode_are_cut_off_and_keep_their_last_penalty(
        read, outcomes):
    done = [*[False] * 3, True, *[False] * 6]
    dataset = outcomes(reward=[0.0, 0.0, -1.0, -5.0, *[0.0] * 6], done=done,
                       success=[False] * 10)
    rewarded = read(dataset)
    assert rewarded.success.tolist() == [False, False]
    assert rewarded.labelled.tolist() == [True, False]
    # No step begins at the last row of what was cut off.
    assert rewarded.trajectories.rewards.tolist() == [0, 0, -6, 0, 0, 0, 0, 0, 0, 0]
    assert not rewarded.trajectories.terminated.any()
    ended = read(dataset, failures_end=True).trajectories
    assert ended.rewards.tolist() == [0, 0, -1, -5, 0, 0, 0, 0, 0, 0]
    assert ended.terminated.tolist() == done


def test_an_episode_is_over_at_its_first_success(read, outcomes):
    success = [False, True, True, False, *[False] * 6]
    rewarded = read(outcomes(reward=[0.0, 1.0, 1.0, 0.0, *[0.0] * 6], success=success))
    assert rewarded.trajectories.lengths.tolist() == [2, 6]
    assert rewarded.trajectories.terminated.tolist() == [False, True, *[False] * 8]
    chunks = rewarded.transitions(3, RATE_S, 0.5)
    assert chunks.rows.tolist() == [0, 1, 4, 5, 6, 7, 8]
    assert chunks.returns_to_go()[:4].tolist() == [0.5, 1, 0, 0]


def test_without_a_success_column_an_end_that_is_rewarded_is_one(read, outcomes):
    ends = [False] * 3 + [True] + [False] * 5 + [True]
    rewarded = read(outcomes(reward=[0.0] * 3 + [1.0] + [0.0] * 6, done=ends))
    assert rewarded.success.tolist() == [True, False]
    assert rewarded.labelled.tolist() == [True, True]


def test_without_a_success_column_costs_that_cease_are_one(read, outcomes):
    rewarded = read(outcomes(reward=COSTS, done=WON))
    assert rewarded.success.tolist() == [True, True]
    # Given up before the goal; and nothing says so of what never cost anything.
    gave_up = [-1.0] * 4 + [0.0] * 5 + [0.0]
    rewarded = read(outcomes(reward=gave_up, done=WON))
    assert rewarded.success.tolist() == [False, False]
    assert rewarded.labelled.tolist() == [True, True]


def test_a_success_is_shown_more_often_whatever_it_earns_and_a_failure_is_not(read, outcomes):
    success = [*WON[:4], *[False] * 6]
    dataset = outcomes(reward=COSTS, done=WON, success=success)
    rewarded = read(dataset, failures_end=True)
    assert rewarded.trajectories.terminated.tolist() == WON
    shown = rewarded.transitions(2, RATE_S, 0.5, success_repeats=3)
    assert shown.rows.tolist() == [0, 1, *[2] * 3, *[3] * 3, *range(4, 10)]
    only = rewarded.transitions(2, RATE_S, 0.5, success_repeats=3, episodes=[1])
    assert only.rows.tolist() == [*range(4, 10)]


def test_transitions_are_of_some_episodes_at_the_contracts_rate(read, outcomes):
    rewarded = read(outcomes(success=WON))
    one = rewarded.transitions(2, 2 * RATE_S, 0.5, EndRule.SAFE, 3, [1])
    assert one.stride == 2
    # Rows 8 and 9 are in reach of the success from row 6 on.
    assert one.rows.tolist() == [4, 5, *[6] * 3, *[7] * 3, *[8] * 3, *[9] * 3]
    with pytest.raises(DatasetError, match='expected a whole number: set step_s'):
        rewarded.transitions(2, 0.05, 0.5)


def test_support_names_the_episode_that_a_chunk_is_longer_than(read, outcomes):
    rewarded = read(outcomes(success=WON))
    support = rewarded.support(5, RATE_S, np.arange(2))
    assert support.verdict is SupportVerdict.NOTHING
    few, long = support.reasons
    assert few == ('2 of 2 episodes succeeded, expected 5 or more: with fewer, what they have in '
                   'common is chance')
    assert long == ('a chunk of 5 points spans 5 rows and is longer than 1 of 2 episodes, '
                    'small_v3#0 (4 steps): it is cut off there')
    assert rewarded.support(5, RATE_S, np.array([1])).reasons == (
        few.replace('2 of 2', '1 of 1'),)


def test_datasets_are_joined_and_must_be_those_of_the_rows(read, robot, outcomes, tmp_path):
    first = outcomes(success=WON)
    second = tmp_path / 'second'
    shutil.copytree(first, second)
    assert read(first, second).success.tolist() == [True] * 4
    rows = read_training_rows([first], robot, no_cache=True)
    said = refusal(read_rewards, rows, [second])
    assert said == ('the datasets have episodes second#0, second#1 and the rows were read from '
                    'small_v3#0, small_v3#1, expected the same in the same order')


def test_rows_that_changed_since_they_were_read_are_refused(robot, outcomes, v3):
    pq = pytest.importorskip('pyarrow.parquet')
    dataset = outcomes(success=WON)
    rows = read_training_rows([dataset], robot, no_cache=True)
    file = v3 / 'data/chunk-000/file-000.parquet'
    pq.write_table(pq.read_table(file).slice(1), file)
    assert refusal(read_rewards, rows, [dataset]) == (
        f'{dataset}: episode 0: has 3 rewards and 4 rows, expected one of each: fetch it again')


def test_a_dataset_without_rewards_says_what_to_do(read, v2):
    assert refusal(read, v2) == (
        f'{v2}: has neither next.reward nor next.success (LeRobot v2.1), nothing tells better '
        'from worse: label the recorded episodes and convert their bags, or train by imitation')


@pytest.mark.parametrize(('columns', 'options', 'said'), [
    ({'reward': [0.0] * 5 + [np.nan] + [0.0] * 4}, {},
     'episode 1: next.reward in row 1 is nan, expected a finite number'),
    ({'reward': [0.0, None] + [0.0] * 8}, {},
     'episode 0: next.reward in row 1 is nan, expected a finite number'),
    ({'reward': [1e300] * 10}, {}, 'episode 0: next.reward in row 0 is 1e+300, expected a'),
    ({'success': [0, 0, 2, 0] + [0] * 6}, {},
     'episode 0: next.success in row 2 is 2, expected true or false'),
    ({'success': WON, 'done': [0.0, np.nan] * 5}, {},
     'episode 0: next.done in row 1 is nan, expected true or false'),
    ({'success': WON}, {'source': RewardSource.RECORDED},
     'episode 0: has no next.reward, expected one for every row: take the reward from the'),
    ({'success': WON, 'reward': [0.0] * 9 + [1.0]}, {},
     'episode 0: succeeded and has no reward, while small_v3#1 has one, as if its success were'),
    ({'success': [False, True, *[False] * 8], 'reward': [0.0, 0.0, 1.0, *[0.0] * 7]}, {},
     'episode 0: is rewarded first in row 2, after it succeeded in row 1, expected next.reward')])
def test_rewards_that_are_not_of_their_rows_are_refused_by_file_and_row(
        read, outcomes, columns, options, said):
    dataset = outcomes(**columns)
    assert refusal(read, dataset, **options).startswith(f'{dataset}: {said}')


def test_what_a_robot_was_told_becomes_rewards_of_the_converted_rows(
        read, scene, robot, told):
    """From bags to chunks: an episode that succeeded, one that failed, one that nobody judged."""
    episodes = []
    for name, last in (('won', EventKind.SUCCESS), ('lost', EventKind.FAILURE), ('open', None)):
        scene.messages = []
        scene.states(*range(0, 500, 20))
        if last is not None:
            scene.event(470, last)
        if last is EventKind.SUCCESS:
            scene.event(150, EventKind.REWARD, value=0.5)
            scene.event(460, EventKind.REWARD, value=2.0)
        episodes += bag_episodes(scene.bag(name), robot, ConversionRules(fps=10.0))
    assert [bool(each.done[-1]) for each in episodes] == [True, True, False]
    rewarded = read(told(*episodes))
    rows = int(rewarded.rows.episode_lengths[0])
    assert rewarded.success.tolist() == [True, False, False]
    assert rewarded.labelled.tolist() == [True, True, False]
    # What came at 150 ms came of the step from the row at 100 ms to that at 200 ms.
    assert np.flatnonzero(rewarded.trajectories.rewards).tolist() == [1, rows - 1]
    assert rewarded.trajectories.rewards[[1, rows - 1]].tolist() == [0.5, 2.0]
    assert np.flatnonzero(rewarded.trajectories.terminated).tolist() == [rows - 1]
    chunks = rewarded.transitions(rows, RATE_S, 0.5).at([0])
    assert chunks.returns[0, -1] == 0.5 * 0.5 + 2.0 * 0.5 ** (rows - 1)
    assert chunks.bootstrap[0, -1] == 0.0


def test_rewards_of_a_conversion_that_put_them_a_row_late_are_refused(
        read, scene, robot, told):
    scene.states(*range(0, 500, 20)).event(470, EventKind.SUCCESS)
    scene.event(460, EventKind.REWARD, value=2.0)
    new, = bag_episodes(scene.bag('won'), robot, ConversionRules(fps=10.0))
    facts = {name: value for name, value in new.facts.items() if name != 'reward_of'}
    dataset = told(new, replace(new, facts=facts))
    assert refusal(read, dataset) == (
        f'{dataset}: episode 1: was converted by an older version, whose next.reward is that of '
        'the step before its row: convert its bag again, or take the reward from the successes')
    assert read(dataset, source=RewardSource.SUCCESS).success.tolist() == [True, True]


@pytest.mark.parametrize('facts', ['no JSON', '[' * 100_000, '[]', '{}', None])
def test_what_another_writer_says_of_its_episodes_is_no_conversion_of_ours(
        read, outcomes, rewrite, facts):
    dataset = outcomes(reward=COSTS, done=WON, success=WON)
    rewrite(dataset / 'meta/episodes/chunk-000/file-000.parquet', 'facts', [facts, '{}'])
    assert read(dataset).trajectories.rewards.tolist() == COSTS
