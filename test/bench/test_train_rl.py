"""The Q-chunking benchmark: both sides do the same update, in turns, each in its own process."""

from collections.abc import Iterator
from dataclasses import replace
import json
from pathlib import Path
import sys

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')

import torch

from chunked_vla_ros.bench.train import run_bench_train
from chunked_vla_ros.bench.train_options import BenchTrainOptions
from chunked_vla_ros.bench.train_rl import FRAMEWORKS, run_bench_train_rl
from chunked_vla_ros.bench.train_rl_cached import CachedSide, TABULATE_EVERY
from chunked_vla_ros.bench.train_rl_inputs import (
    BATCHES,
    CHECKED_UPDATES,
    make_inputs,
    QC,
    QC_FQL,
    read_inputs,
    Sizes,
    write_inputs,
)
from chunked_vla_ros.bench.train_rl_run import (
    Agreement,
    compare,
    LOSS_TOLERANCE,
    SideError,
    SideProcess,
    UpdateRun,
    WEIGHT_TOLERANCE,
)
from chunked_vla_ros.bench.train_rl_side import CACHED, JAX, OURS
from chunked_vla_ros.bench.train_rl_summary import times_as_fast, update_rows
from chunked_vla_ros.bench.train_rl_torch import TorchSide
from chunked_vla_ros.graph.node_spec import GraphError

SMALL = Sizes(QC, observation=3, action=2, horizon=2, batch=4, width=8, layers=2, flow_steps=2,
              candidates=3, rows=5)
RUNS = [UpdateRun(OURS, 10, 1.0, 2.0), UpdateRun(JAX, 10, 2.0, 3.0),
        UpdateRun(JAX, 10, 0.5, 3.0), UpdateRun(OURS, 10, 2.0, 2.0)]


@pytest.fixture(scope='module', autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: several wait for each other beside a busy test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_weights_are_counted_without_those_of_the_target():
    critics = 2 * ((7 * 8 + 8) + (8 * 8 + 8) + (8 + 1) + 2 * 2 * 8)
    flow = (8 * 8 + 8) + (8 * 8 + 8) + (8 * 4 + 4)
    assert SMALL.parameters == critics + flow == 534
    actor = (7 * 8 + 8) + (8 * 8 + 8) + (8 * 4 + 4)
    assert replace(SMALL, method=QC_FQL).parameters == 534 + actor
    agent = TorchSide(SMALL, make_inputs(SMALL))._agent
    assert sum(one.numel() for one in agent.parameters() if one.requires_grad) == 534


def test_inputs_come_back_from_their_file(tmp_path):
    arrays = make_inputs(SMALL)
    write_inputs(tmp_path / 'inputs.npz', SMALL, arrays)
    sizes, read = read_inputs(tmp_path / 'inputs.npz')
    assert sizes == SMALL
    assert read.keys() == arrays.keys()
    assert all((read[name] == arrays[name]).all() for name in arrays)
    assert read['actions'].shape == (BATCHES, 4, 2, 2)
    assert read['next_noise'].shape == (CHECKED_UPDATES, 4, 3, 2, 2)
    assert not read['valid'].all()
    assert read['valid'][..., 0].all()
    assert {0.0, np.float32(0.99 ** 2)} >= set(read['bootstrap'].ravel().tolist())


def test_a_ratio_is_that_of_runs_of_one_round():
    assert times_as_fast(RUNS, OURS, JAX) == [2.0, 0.25]
    assert update_rows(RUNS) == [
        [OURS, '7.50 (5.00 to 10.00)', '150.0 (100.0 to 200.0)', '200.0 (200.0 to 200.0)',
         '1.12 (0.25 to 2.00)'],
        [JAX, '12.50 (5.00 to 20.00)', '125.0 (50.0 to 200.0)', '300.0 (300.0 to 300.0)', '1']]


def test_sides_are_apart_by_their_worst_loss_and_worst_tensor():
    start = {'a': np.zeros(2), 'b': np.zeros(2)}
    mine = [{'critic': 10.0, 'flow': 0.5}], {'a': np.array([1.0, 1.0]), 'b': np.array([4.0, 4.0])}
    other = [{'critic': 8.0, 'flow': 0.6}], {'a': np.array([2.0, 2.0]), 'b': np.array([5.0, 5.0])}
    found = compare(start, mine, other)
    assert found.loss == pytest.approx(0.25)    # 2 of 8; 0.1 of 1
    assert found.weight == pytest.approx(0.5)    # 1 of 2 moved; 1 of 5
    other[0][0]['flow'] = float('nan')
    assert np.isnan(compare(start, mine, other).loss)


@pytest.mark.parametrize('apart', [
    Agreement(2 * LOSS_TOLERANCE, 0.0), Agreement(0.0, 2 * WEIGHT_TOLERANCE),
    Agreement(float('nan'), 0.0), Agreement(0.0, float('nan'))])
def test_different_work_is_not_timed(apart):
    Agreement(LOSS_TOLERANCE, WEIGHT_TOLERANCE).refuse()
    with pytest.raises(SideError, match='the sides differ'):
        apart.refuse()


@pytest.mark.parametrize('changed', [
    {'tau': 0.006}, {'learning_rate': 2.9e-4}, {'flow_steps': 3}])
def test_a_side_with_another_number_differs(changed):
    arrays = make_inputs(SMALL)
    same, others = TorchSide(SMALL, arrays).check(), TorchSide(SMALL, arrays).check()
    compare(arrays, same, others).refuse()
    with pytest.raises(SideError):
        compare(arrays, same, TorchSide(replace(SMALL, **changed), arrays).check()).refuse()


def test_of_many_rows_the_cached_side_keeps_no_table():
    # Two chunks an update: a table of 200 rows is drawn from as often as it is made.
    for rows, tabulated in ((2 * TABULATE_EVERY, True), (2 * TABULATE_EVERY + 1, False)):
        side = CachedSide(replace(SMALL, batch=2, rows=rows), make_inputs(
            replace(SMALL, batch=2, rows=rows)))
        assert (side.cached.table is not None) == tabulated
        assert side.run(1) == TABULATE_EVERY


def test_the_cached_side_makes_whole_rounds_of_its_table():
    side = CachedSide(SMALL, make_inputs(SMALL))
    assert side.run(1) == TABULATE_EVERY
    assert torch.isfinite(side.cached.table.values).all()
    before = side.cached.candidates.clone()
    side.once()
    assert side.cached.candidates.shape == before.shape == (5, 3, 2, 2)
    assert not torch.equal(side.cached.candidates, before)


@pytest.mark.timeout(300)
@pytest.mark.parametrize('method', [QC, pytest.param(QC_FQL, marks=pytest.mark.slow)])
def test_a_benchmark_compares_first_and_then_takes_turns(method, tmp_path):
    for name in ('jax', 'flax', 'optax'):
        # Not imported here: JAX warns of every later fork of this process.
        if not any((Path(entry) / name).is_dir() for entry in sys.path):
            pytest.skip(f'{name} is not installed; {FRAMEWORKS[name]}')
    options = BenchTrainOptions(method=method, steps=2, repeats=2, out=str(tmp_path / 'out'),
                                json=str(tmp_path / 'results.json'))
    assert run_bench_train_rl(options, replace(SMALL, method=method)) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert [run['side'] for run in results['runs']] == {
        QC: [OURS, JAX, CACHED, JAX, CACHED, OURS], QC_FQL: [OURS, JAX, JAX, OURS]}[method]
    assert results['agreement']['loss'] <= LOSS_TOLERANCE
    assert results['agreement']['weight'] <= WEIGHT_TOLERANCE
    assert {run['updates'] for run in results['runs'] if run['side'] != CACHED} == {2}
    assert results['times_as_fast_as_jax'][OURS]['count'] == 2
    assert len(results['once']) == (method == QC)
    assert results['command'] == f'chunked-vla bench train --method {method} --steps 2 --repeats 2'
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'results.json', 'table.md']


def test_a_side_that_fails_says_why(tmp_path):
    with SideProcess(OURS, tmp_path / 'inputs.npz') as side, pytest.raises(
            SideError, match=r'ours ended with exit code 1: .*inputs\.npz'):
        side.ready()


def test_missing_jax_is_one_line_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'jax', None)
    assert run_bench_train(BenchTrainOptions(method=QC, out=str(tmp_path / 'out'))) == 2
    assert capsys.readouterr().err == (
        'error: jax is not installed; pip install -r requirements/bench_rl.txt\n')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('given', 'said'), [
    ({'method': 'td3'}, "--method is 'td3', expected one of imitation, qc, qc_fql"),
    ({'method': QC, 'data': 'folder'}, '--data has no part in --method qc; leave it out'),
    ({'method': QC_FQL, 'workers': 0}, '--workers has no part in --method qc_fql'),
    ({'method': QC_FQL, 'rows': 9}, '--rows has no part in --method qc_fql'),
    ({'rows': 9}, '--rows has no part in --method imitation')])
def test_an_option_without_effect_is_refused(given, said):
    with pytest.raises(GraphError, match=said):
        BenchTrainOptions(**given)
