"""The RL benchmark learns, acts, and goes on after it was stopped as if it had not been."""

from collections.abc import Iterator
import contextlib
from dataclasses import replace
from functools import partial
import json
import math
from pathlib import Path
import shutil
import time

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip(
    'chunked_vla_ros.sim.ogbench_task', reason='mujoco or ogbench is not installed',
    exc_type=ImportError)

from safetensors.torch import load_file
import torch

from chunked_vla_ros.bench import rl_learner
from chunked_vla_ros.bench.rl import BenchRlOptions, plan, run_bench_rl
from chunked_vla_ros.bench.rl_learner import Learner
from chunked_vla_ros.bench.rl_options import Budget, METHOD_NAMES
from chunked_vla_ros.bench.rl_play import OutOfTimeError, PART, play_data, PlaySet
from chunked_vla_ros.bench.rl_results import RunKey, RunRecord
from chunked_vla_ros.bench.rl_run import (
    EVALUATION_SEEDS,
    LearningError,
    ONLINE_SEEDS,
    Run,
    Settings,
    Stage,
)
from chunked_vla_ros.core.chunk_transitions import EndRule, Trajectories
from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
from chunked_vla_ros.sim.ogbench_lockstep import LockStep
from chunked_vla_ros.sim.ogbench_task import parse_task, TaskEpisodes
from chunked_vla_ros.training.q_chunking_cached import CachedQChunking

TASK = 'cube-single-task1'
BUDGET = Budget(play_episodes=1, updates=3, online_steps=18, online_start=4, evaluate_every=12,
                episodes=2, width=8, layers=2, batch_size=4, flow_steps=2, candidates=2)
SETTINGS = Settings(BUDGET, 0.99, EndRule.PUBLISHED, 0, torch.device('cpu'))


@pytest.fixture(scope='module', autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: several wait for each other beside a busy test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def stage() -> Iterator[Stage]:
    """Yield a task whose episodes are over after eight steps, with data of no meaning."""
    rng = np.random.default_rng(0)
    episodes = TaskEpisodes(parse_task(TASK), limit=8)
    labels = Trajectories(rng.integers(-1, 1, 60).astype(np.float32), np.arange(60) % 20 == 7,
                          np.array([0, 30]), np.array([30, 30]))
    with LockStep(episodes, 2) as lockstep:
        yield Stage(rng.normal(size=(60, 28)).astype(np.float32),
                    rng.uniform(-1, 1, (60, 5)).astype(np.float32), labels, episodes, lockstep)


def run_of(stage: Stage, method: str, folder: Path, deadline_s: float = math.inf,
           settings: Settings = SETTINGS) -> Run:
    return Run(RunKey(TASK, method, 3), settings, stage, folder, deadline_s, lambda count: None)


def learnt(record: RunRecord) -> RunRecord:
    """Return a record without its times."""
    return replace(record, learn_s=0.0, act_s=0.0, evaluate_s=0.0)


@pytest.mark.parametrize('method', ['bfn_n', 'qc_fql', 'rlpd'])
def test_a_run_goes_on_as_if_it_had_not_been_stopped(stage, tmp_path, method):
    whole = run_of(stage, method, tmp_path / 'whole').go()
    offline = [] if method == 'rlpd' else [(3, 0)]
    assert [(point.updates, point.online_steps) for point in whole.points] == [
        *offline, *((3 if offline else 0, steps) for steps in (12, 18))]
    # Of 18 steps the last 15 learn; RLPD waits for the first episode of its own.
    assert whole.learned == (3 + 15 if offline else 10)
    assert whole.online_episodes == 3
    assert all(np.isfinite(list(whole.points[-1].metrics.values())))
    slices = 0
    while True:
        slices += 1
        try:    # time is up from the start: one update, or one episode, at a time
            record = run_of(stage, method, tmp_path / 'slices', time.monotonic()).go()
            break
        except OutOfTimeError:
            pass
    assert slices == (3 + 3 if offline else 3)
    assert learnt(record) == learnt(whole)
    assert run_of(stage, method, tmp_path / 'slices').go() == record    # nothing is left to do
    tensors = [[path.read_bytes() for path in sorted(newest_checkpoint(
        tmp_path / name).glob('*.safetensors'))] for name in ('whole', 'slices')]
    assert len(tensors[0]) == 3
    assert tensors[0] == tensors[1]


@pytest.mark.parametrize('tabulated', [True, False])
def test_qc_on_candidates_drawn_once_goes_on_as_if_it_had_not_been_stopped(
        stage, tmp_path, monkeypatch, tabulated):
    # Made for each update of 4 chunks, a table of 60 rows would be more work than those.
    monkeypatch.setattr(rl_learner, 'CachedQChunking',
                        partial(CachedQChunking, every=100 if tabulated else 1))
    whole = run_of(stage, 'qc_cached', tmp_path / 'whole').go()
    # Two updates of the flow, one of the critic, and no online phase.
    assert (whole.finished, whole.learned, whole.online_steps) == (True, 3, 0)
    assert [(point.updates, point.online_steps) for point in whole.points] == [(3, 0)]
    for _ in range(3):    # time is up from the start: one update at a time
        with pytest.raises(OutOfTimeError):
            run_of(stage, 'qc_cached', tmp_path / 'slices', time.monotonic()).go()
    record = run_of(stage, 'qc_cached', tmp_path / 'slices', time.monotonic()).go()
    assert learnt(record) == learnt(whole)
    tensors = [[path.read_bytes() for path in sorted(newest_checkpoint(
        tmp_path / name).glob('*.safetensors'))] for name in ('whole', 'slices')]
    assert len(tensors[0]) == 3
    assert tensors[0] == tensors[1]
    stored = load_file(newest_checkpoint(tmp_path / 'whole') / 'cached.safetensors')
    # Candidates, gigabytes of them where data are many, are drawn again.
    assert sorted(stored) == ['made'] + ['values'] * tabulated


def test_qc_on_candidates_drawn_once_moves_its_flow_first_and_then_its_critic(stage, tmp_path):
    run = run_of(stage, 'qc_cached', tmp_path, time.monotonic())
    agent, moved = run._learner.agent, []
    for _ in range(3):
        before = {name: value.clone() for name, value in agent.state_dict().items()}
        with contextlib.suppress(OutOfTimeError):
            run.go()
        moved.append({name.split('.')[0] for name, value in agent.state_dict().items()
                      if not torch.equal(value, before[name])})
    assert moved == [{'flow'}, {'flow'}, {'critic', 'target_critic'}]


@pytest.mark.parametrize('method', METHOD_NAMES)
def test_every_method_learns_and_acts(stage, tmp_path, method):
    online_only = method in ('rlpd', 'rlpd_ac', 'qc_rlpd')
    budget = replace(BUDGET, updates=1, online_steps=10 if online_only else 0, episodes=1)
    record = run_of(stage, method, tmp_path, settings=replace(SETTINGS, budget=budget)).go()
    assert record.finished
    assert record.learned == (2 if online_only else 1)
    assert np.isfinite(record.points[-1].metrics['loss'])


def test_runs_of_other_seeds_learn_and_act_otherwise(stage, tmp_path):
    records = [Run(RunKey(TASK, 'qc_fql', seed), SETTINGS, stage, tmp_path / str(seed), math.inf,
                   lambda count: None).go() for seed in (0, 1)]
    assert records[0].points[-1].metrics != records[1].points[-1].metrics


def test_a_checkpoint_of_other_settings_is_refused(stage, tmp_path):
    with pytest.raises(OutOfTimeError, match=f'{TASK} bfn seed 3 is not finished yet'):
        run_of(stage, 'bfn', tmp_path, time.monotonic()).go()
    other = replace(SETTINGS, discount=0.9, budget=replace(BUDGET, width=16))
    with pytest.raises(LearningError) as refused:
        run_of(stage, 'bfn', tmp_path, settings=other)
    assert 'width 8 instead of 16, discount 0.99 instead of 0.9; give' in str(refused.value)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_before(stage, tmp_path):
    with pytest.raises(OutOfTimeError):
        run_of(stage, 'bfn', tmp_path, time.monotonic()).go()
    before = newest_checkpoint(tmp_path)
    run = run_of(stage, 'bfn', tmp_path)
    with torch.no_grad():
        next(run._learner.agent.critic.parameters()).fill_(math.nan)
    with pytest.raises(LearningError, match='is nan after 3 updates') as stopped:
        run.go()
    assert '\n' not in str(stopped.value)
    assert newest_checkpoint(tmp_path) == before


def test_no_start_of_the_data_is_evaluated():
    largest = BenchRlOptions(data_seed=99, play_episodes=100_000)
    data = PlaySet('cube-single', largest.play_episodes, 10, largest.data_seed)
    from chunked_vla_ros.bench.rl_play import data_seed
    assert data_seed(data, data.episodes - 1) < ONLINE_SEEDS < EVALUATION_SEEDS
    # A hundred seeds of runs with a million starts each.
    assert ONLINE_SEEDS + 100 * 1_000_000 < EVALUATION_SEEDS < 2**32 - 100 * 1_000_000


@pytest.fixture(scope='module')
def cache(tmp_path_factory) -> Path:
    """Return a folder with the first part of some data."""
    folder = tmp_path_factory.mktemp('play')
    play_data(PlaySet('cube-single', 2, 40), folder, 1, math.inf, lambda count: None)
    return folder


def test_data_are_made_once_and_in_whole_parts(cache):
    told = []
    data = play_data(PlaySet('cube-single', 2, 40), cache, 1, -math.inf, told.append)
    assert told == [2]    # there already, though there is no time to make them
    assert data.observations.shape == (80, 28)
    assert data.actions.shape == (80, 5)
    more = PlaySet('cube-single', PART, 40)
    assert np.array_equal(play_data(more, cache, 1, -math.inf, told.append).actions[:80],
                          data.actions)
    with pytest.raises(OutOfTimeError):
        play_data(PlaySet('cube-single', PART + 1, 40), cache, 1, -math.inf, told.append)
    assert told == [2, PART, PART]


def test_other_data_have_another_name():
    names = {PlaySet(scene, 2, rows, seed).name for scene in ('cube-single', 'cube-double')
             for rows in (40, 41) for seed in (0, 1)}
    assert len(names) == 8
    assert PlaySet('cube-single', 2, 40).name == PlaySet('cube-single', 99, 40).name


def smoke(tmp_path: Path, cache: Path, **more: object) -> BenchRlOptions:
    return BenchRlOptions(**{'preset': 'smoke', 'out': str(tmp_path / 'out'), 'cache': str(cache),
                             'device': 'cpu', 'processes': 1, **more})


def test_the_benchmark_stops_in_time_goes_on_and_reports(tmp_path, cache, capsys):
    first = smoke(tmp_path, cache, slice_s=1e-3)
    assert run_bench_rl(first) == 0
    assert 'time is up: 2 of 2 runs are left' in ' '.join(capsys.readouterr().out.split())
    assert run_bench_rl(first) == 2    # nobody said --resume
    assert 'holds runs already; --resume goes on' in capsys.readouterr().err
    assert run_bench_rl(smoke(tmp_path, cache, resume=True, json=str(tmp_path / 'all.json'))) == 0
    results = json.loads((tmp_path / 'all.json').read_text())
    assert results['complete']
    assert results['command'] == 'chunked-vla bench rl --preset smoke --device cpu --processes 1'
    assert [(run['key']['method'], run['updates'], len(run['points']))
            for run in results['runs']] == [('bfn', 4, 2), ('qc_fql', 4, 2)]
    assert results['success'][0]['offline']['n'] == 2
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'report.html', 'results.json', 'runs', 'table.md']


def test_a_finished_run_of_other_settings_is_refused(tmp_path, cache, capsys):
    few = {'methods': ('bfn',), 'updates': 1}
    assert run_bench_rl(smoke(tmp_path, cache, **few)) == 0
    before = (tmp_path / 'out' / 'results.json').read_bytes()
    assert run_bench_rl(smoke(
        tmp_path, cache, **few, resume=True, width=64, discount=0.5, data_seed=3)) == 2
    error = capsys.readouterr().err
    assert ('record.json: has width 16 instead of 64, discount 0.99 instead of 0.5, data_seed 0 '
            'instead of 3; give the options it was begun with') in error
    assert error.count('\n') == 1
    assert (tmp_path / 'out' / 'results.json').read_bytes() == before


@pytest.mark.parametrize('content', ['', '[]', '{}', '{"record": 1, "settings": {}}'])
def test_a_record_that_is_none_is_named(tmp_path, cache, capsys, content):
    folder = tmp_path / 'out' / 'runs' / f'{TASK}_bfn_seed0'
    folder.mkdir(parents=True)
    (folder / 'record.json').write_text(content)
    assert run_bench_rl(smoke(tmp_path, cache, methods=('bfn',), resume=True)) == 2
    assert capsys.readouterr().err == (
        f'error: {folder / "record.json"}: is no record of a run by this version; remove {folder} '
        'to begin it anew, or give another --out\n')


@pytest.mark.parametrize('share', [0.0, 0.02, 0.5])
def test_play_data_that_are_cut_off_are_named(tmp_path, cache, capsys, share):
    copy = tmp_path / 'play'
    shutil.copytree(cache, copy)
    path = next(copy.glob('*/observations_0000.npy'))
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    assert run_bench_rl(smoke(tmp_path, copy)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {path}: is no whole array (')
    assert 'remove it' in error
    assert error.count('\n') == 1


def test_a_run_that_cannot_go_on_leaves_the_others_alone(tmp_path, cache, capsys, monkeypatch):
    learn = Learner.learn

    def diverge(learner, batch, generator):
        metrics = learn(learner, batch, generator)
        return metrics if learner.horizon == 1 else {'loss': torch.tensor(math.nan)}

    monkeypatch.setattr(Learner, 'learn', diverge)    # QC-FQL has five steps, BFN one
    assert run_bench_rl(smoke(tmp_path, cache, methods=('qc_fql', 'bfn'))) == 2
    said = capsys.readouterr()
    assert 'cube-single-task1 qc_fql seed 0: loss is nan' in said.err
    assert said.err.count('\n') == 1
    assert 'time is up' not in said.out
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert [(run['key']['method'], run['finished']) for run in results['runs']] == [
        ('qc_fql', False), ('bfn', True)]


@pytest.mark.parametrize(('more', 'said'), [
    ({'tasks': ('cube-single-task9',)}, "task is 'cube-single-task9', expected"),
    ({'methods': ('rlpd',)},
     '--methods rlpd with --updates 4 and --online-steps 0 have nothing to do'),
    ({'methods': ('qc', 'qc_cached'), 'updates': 0}, '--methods qc qc_cached with --updates 0'),
    ({'device': 'quantum'}, "--device is 'quantum'")])
def test_a_mistake_is_one_line(tmp_path, cache, capsys, more, said):
    assert run_bench_rl(smoke(tmp_path, cache, **more)) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert said in error
    assert error.count('\n') == 1


def test_runs_go_seed_by_seed():
    options = BenchRlOptions(tasks=(TASK, 'cube-double-task4'), methods=('qc', 'rlpd'), seeds=2,
                             online_steps=5)
    assert [each.folder for each in plan(options)] == [
        f'{task}_{method}_seed{seed}' for seed in (0, 1)
        for task in (TASK, 'cube-double-task4') for method in ('qc', 'rlpd')]
    without = replace(options, online_steps=0)
    assert {each.method for each in plan(without)} == {'qc'}
