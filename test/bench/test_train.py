"""The training benchmark: all ways read the same windows, in turns, and ratios are of a round."""

from collections.abc import Iterator
from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('av', reason='PyAV is not installed (extra data)')
pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip('accelerate', reason='accelerate is not installed (extra train)')

import torch

from chunked_vla_ros.bench.train import BenchTrainOptions, plan, run_bench_train
from chunked_vla_ros.bench.train_plain import PlainExamples
from chunked_vla_ros.bench.train_run import LoadRun, make_dataset, OURS, PLAIN, TrainRun
from chunked_vla_ros.bench.train_summary import load_rows, markdown, speed_up, train_rows
from chunked_vla_ros.core.waypoints import Headings
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows
from chunked_vla_ros.training.batches import WindowLoader

LOADS = [LoadRun(OURS, 100, 1.0), LoadRun(PLAIN, 100, 4.0), LoadRun(PLAIN, 100, 2.0),
         LoadRun(OURS, 100, 0.5)]
TRAIN = TrainRun(10, 64, 5.0, 0.5, 0, 'cpu')
SMALL = ('policy.width=8', 'policy.heads=2', 'policy.layers=1', 'policy.expert_layers=1',
         'batch_size=2', 'horizon=4', 'imitation.flow_draws=1')


def test_who_comes_first_changes_from_round_to_round():
    assert plan(2, 'abc') == [(0, 'a'), (0, 'b'), (0, 'c'), (1, 'b'), (1, 'c'), (1, 'a')]


def test_a_ratio_is_that_of_runs_of_one_round():
    assert speed_up(LOADS, PLAIN) == [4.0, 4.0]
    assert load_rows(LOADS) == [
        [OURS, '150 (100 to 200)', '1'], [PLAIN, '38 (25 to 50)', '4.0 (4.0 to 4.0)']]


def test_the_share_of_waiting_is_of_the_time_of_the_steps():
    assert (TRAIN.steps_per_s, TRAIN.wait_share) == (2.0, 0.1)
    assert train_rows([TRAIN, replace(TRAIN, seconds=2.0)]) == [
        ['batches of 64 on cpu', '3.50 (2.00 to 5.00)', '224 (128 to 320)', '17.5 (10.0 to 25.0)',
         '-']]
    assert train_rows([replace(TRAIN, peak_bytes=10**9)])[0][-1] == '1000'
    assert '| batches of 64 on cpu | 2.00 | 128 | 10.0 | - |' in markdown(LOADS, [TRAIN], 'it')


@pytest.fixture(scope='module', autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: several wait for each other beside a busy test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> tuple[Path, Path]:
    return make_dataset(tmp_path_factory.mktemp('made'), episodes=2, frames=12)


def test_both_ways_read_the_same_examples(made, tmp_path):
    data, contract = made
    rows = read_training_rows([data], load_robot(contract), cache=tmp_path)
    windows, order = rows.windows(4, 1 / 30), WindowOrder(len(rows.state), 8, 0)
    nowhere = np.zeros(len(rows.state), np.int64)
    loader = WindowLoader(rows, windows, np.zeros((1, 2)), np.ones((1, 2)),
                          Headings(nowhere, nowhere.astype(bool)), workers=0)
    plain = PlainExamples(open_dataset(data), rows, windows)
    steps = order.steps_per_epoch
    with loader.steps(order, 0, steps) as stream:
        for ours, theirs in zip(stream, plain.batches(order, 0, steps, 0), strict=True):
            assert (theirs['front'].permute(0, 2, 3, 1) * 255.0 - ours.images['front']
                    ).abs().max() < 0.01
            assert (theirs['state'] == ours.state).all()
            assert (theirs['action'] == ours.actions).all()
            assert (theirs['valid'] == ours.valid).all()


def test_a_benchmark_says_what_it_read_and_learnt(made, tmp_path):
    data, contract = made
    options = BenchTrainOptions(
        data=str(data), set=(*SMALL, f'robot={contract}', f'step_s={1 / 30}'), windows=3, steps=1,
        repeats=2, workers=0, out=str(tmp_path / 'out'), json=str(tmp_path / 'results.json'))
    assert run_bench_train(options) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert [run['side'] for run in results['loads']] == [
        'ours', 'ours, --no-cache', 'a video for each',
        'ours, --no-cache', 'a video for each', 'ours']
    assert {run['windows'] for run in results['loads']} == {4}    # whole batches
    assert len(results['trains']) == 2
    assert all(0.0 <= run['wait_share'] <= 1.0 for run in results['trains'])
    assert results['batch_size'] == 2
    assert results['cameras'] == ['front 224x224']
    assert results['times_as_fast'][PLAIN]['count'] == 2
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'results.json', 'table.md']


@pytest.mark.parametrize(('options', 'said'), [
    ({'data': 'nowhere'}, 'nowhere: does not exist'),
    ({'config': 'nothing'}, 'nothing')])
def test_a_mistake_is_one_line(made, tmp_path, capsys, options, said):
    given = BenchTrainOptions(**{'data': str(made[0]), 'out': str(tmp_path), **options})
    assert run_bench_train(given) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert said in error
    assert error.count('\n') == 1
