"""
Predicted chunks against recorded ones: a dataset whose bundle is right to the last digit.

The bundle says state + 0.01 (k + 1) + half the brightness for point k; the dataset's brightness is
0.02 a row, and its command 0.01 (row + 1) away from the state: at every tenth row it is right.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
pytest.importorskip('av', reason='PyAV is not installed (extra data)')
pytest.importorskip('onnxruntime', reason='ONNX Runtime is not installed (extra cpu)')

from chunked_vla_ros.cli import main
from chunked_vla_ros.core.dataset_episode import ActionSource, DatasetEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.dataset_schema import entry_schema
from chunked_vla_ros.data.episode_stage import stage_episode, staged_part
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.evaluate.open_loop import OpenLoopOptions, run_open_loop
from chunked_vla_ros.evaluate.open_loop_windows import choose

FPS, HORIZON, ROWS = 20.0, 4, 22
START_NS = 1_700_000_000 * 10**9
BUNDLE = {'horizon': HORIZON, 'step_s': 1 / FPS, 'tokenizer': None, 'needs_instruction': False}
CONTRACT = """
schema: 1
name: tiny
base_frame: world
units: {angle: rad, length: m, time: s}
joints:
  - {name: a, kind: continuous, lower: -3, upper: 3, velocity: 1, acceleration: 5, jerk: 100, home: 0}
  - {name: b, kind: continuous, unit: m, lower: -3, upper: 3, velocity: 1, acceleration: 5, jerk: 100, home: 0}
state: {topic: joint_states, rate_hz: 100.0, time_base: header, tolerance_s: 0.1}
cameras:
  - {name: front, topic: front/image, info_topic: front/info, width: 8, height: 6, encoding: rgb8, rate_hz: 20.0, time_base: header, tolerance_s: 0.2}
command: {kind: position_command, topic: position_command, rate_hz: 100.0}
"""    # noqa: E501


def episode(number: int, moved: float, rows: int = ROWS) -> DatasetEpisode:
    """Return an episode at rest at (0.1, 0.2) * number, its columns in another order: (b, a)."""
    times_ns = START_NS + np.round(np.arange(rows) * 1e9 / FPS).astype(np.int64)
    state = np.tile([0.2 * number, 0.1 * number], (rows, 1))
    action = state + moved * (np.arange(rows)[:, None] + 1)
    last = np.arange(rows) == rows - 1

    def frames(camera: str) -> Iterator[np.ndarray]:
        for row in range(rows):
            yield np.full((6, 8, 3), int(5.1 * row + 1e-9), np.uint8)

    return DatasetEpisode(
        f'bag_{number}', FPS, times_ns, state, action, ('b', 'a'), ActionSource.COMMANDED_POINT,
        ('go',) * rows, np.zeros(rows), last, last, np.zeros(rows, bool),
        dict.fromkeys(('state', 'action', 'front'), times_ns), Outcome.SUCCESS,
        {'front': (6, 8, 3)}, frames)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes a dataset of episodes at rest at these multiples, each once."""
    written: dict[Any, Path] = {}

    def make(*numbers: int, moved: float = 0.01) -> Path:
        if (numbers, moved) in written:
            return written[numbers, moved]
        root = tmp_path_factory.mktemp('data')
        folders = [root / 'stage' / str(index) for index in range(len(numbers))]
        for folder, number in zip(folders, numbers, strict=True):
            stage_episode(folder, episode(number, moved), None, lambda count: None)
        about = staged_part(folders[0])[1]
        builder = DatasetBuilder(root / 'small', {**about, 'robot_type': 'tiny'},
                                 entry_schema(about['features']), link=True)
        for folder in folders:
            builder.add(staged_part(folder)[0])
        builder.finish({'chunked_vla': {'schema': 1}})
        written[numbers, moved] = root / 'small'
        return root / 'small'
    return make


@pytest.fixture(autouse=True)
def _frames_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def made(tmp_path: Path, make_bundle: Callable[..., Any], dataset: Callable[..., Path],
         ) -> Callable[..., OpenLoopOptions]:
    """Return what makes contract and bundle, and options to compare it on a dataset."""
    def make(*numbers: int, moved: float = 0.01, bundle: dict[str, Any] | None = None,
             **options: Any) -> OpenLoopOptions:
        contract = tmp_path / 'tiny.yaml'
        contract.write_text(CONTRACT, encoding='utf-8')
        make_bundle(tmp_path / 'bundle', load_robot(contract), **{**BUNDLE, **(bundle or {})})
        return OpenLoopOptions(
            **{'bundles': (tmp_path / 'bundle',), 'data': (dataset(*numbers, moved=moved),),
               'robot': str(contract), 'out': tmp_path / 'out', 'held_out': (2,), 'every': 10,
               'execution_provider': 'cpu', 'cache': tmp_path / 'frames', 'command': 'again',
               **options})
    return make


def results_of(options: OpenLoopOptions, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run_open_loop(options) == 0, capsys.readouterr().err
    return dict(json.loads((options.out / 'results.json').read_text(encoding='utf-8')))


def test_a_policy_that_is_right_has_no_error_and_the_baselines_have_theirs(made, capsys) -> None:
    found = results_of(made(0, 1, 2), capsys)
    policy, = found['policies']
    raw = {name: one['raw'] for name, one in found['predictors'].items()}
    # Rows 0, 10 and 20, the last of which has two of its four points.
    assert (found['windows'], found['held_out']) == (3, ['small#2'])
    assert raw[policy]['mean'] == pytest.approx(0.0, abs=1e-6)
    # The arm is commanded 0.01 further with every row: 1 to 4, 11 to 14, 21 and 22 hundredths.
    assert raw['hold state']['mean'] == pytest.approx((10 + 50 + 43) / 1000, abs=1e-6)
    assert raw['hold state']['by_step'] == pytest.approx([0.11, 0.12, 0.08, 0.09], abs=1e-6)
    assert raw['hold action']['by_step'] == pytest.approx([0.01, 0.02, 0.03, 0.04], abs=1e-6)
    assert found['comparisons'][policy]['hold state']['better_windows'] == 1.0
    assert found['joints'] == {'a': 'rad', 'b': 'm'}
    assert found['command'] == 'again'


def test_the_mean_chunk_is_that_of_the_episodes_that_are_not_held_out(made, capsys) -> None:
    found = results_of(made(0, 2, 7, held_out=(1,), every=30), capsys)
    mean = found['predictors']['mean chunk']['raw']['by_joint']
    # Episodes 0 and 7 are at rest at (0, 0) and (0.7, 1.4), the held-out one at (0.2, 0.4): its
    # first chunk lies a mean of 0.025 from there, theirs 0.115 + 0.01 k on the means of k.
    assert mean == pytest.approx(
        np.array([0.35, 0.7]) - [0.2, 0.4] + _training_offset(), abs=1e-6)
    relative = found['predictors']['mean relative chunk']['raw']['by_joint']
    assert relative == pytest.approx([_training_offset()] * 2, abs=1e-6)


def _training_offset() -> float:
    """Return by how much the mean training chunk has moved more than that of the first row."""
    moved = [np.mean([0.01 * (row + point + 1) for row in range(ROWS - point)])
             for point in range(HORIZON)]
    return float(np.mean(moved) - 0.025)


def test_a_policy_that_is_wrong_is_told_so(made, capsys) -> None:
    # Recorded moves go the other way.
    options = made(0, 1, 2, moved=-0.01)
    found = results_of(options, capsys)
    said = capsys.readouterr().out
    policy, = found['policies']
    assert found['comparisons'][policy]['hold state']['ratio'] == pytest.approx(2.0, abs=1e-4)
    assert 'not below hold state, hold action' in said
    assert str(options.out / 'report.html') in said


def test_the_split_that_training_wrote_names_the_episodes(made, tmp_path, capsys) -> None:
    split = tmp_path / 'split.json'
    split.write_text(json.dumps({'training': ['small#0', 'small#2'], 'validation': ['small#1']}))
    options = made(0, 1, 2, held_out=(), split=split)
    found = results_of(options, capsys)
    assert (found['held_out'], found['training']) == (['small#1'], ['small#0', 'small#2'])


def test_an_episode_that_may_be_either_of_two_is_not_taken_as_held_out() -> None:
    ids = ('small#0', 'small#1', 'small#0', 'small#2')
    with pytest.raises(DatasetError, match='held-out episode small#0 is in two of the datasets'):
        choose(ids, (), ('small#0',))
    held, others = choose(ids, (), ('small#1',))
    assert (held.tolist(), others.tolist()) == ([1], [0, 2, 3])


def test_the_page_stands_alone_and_says_what_was_compared(made, capsys) -> None:
    options = made(0, 1, 2, held_out=(1, 2))
    results_of(options, capsys)
    page = (options.out / 'report.html').read_text(encoding='utf-8')
    assert 'small#1' in page
    assert 'below every baseline' in page
    assert page.count('<svg') == 1 + 2 * 2    # the curve, and two joints of two episodes
    assert 'http' not in page.replace('http-equiv', '')


@pytest.mark.parametrize(('training', 'learnt'), [
    ({'datasets': 'other small', 'held_out': 'small#1'}, ['small#2']),
    ({'datasets': 'small', 'held_out': 'none'}, ['small#1', 'small#2']),
    ({'datasets': 'small', 'held_out': 'small#2 small#1'}, []),
    ({'datasets': 'small', 'held_out': ('small#0 ' * 600)[:4096]}, []),    # cut: nobody knows
    ({'datasets': 'smaller', 'held_out': 'smaller#0'}, []), ({}, [])])
def test_episodes_that_the_policy_has_learnt_from_are_told(made, capsys, training, learnt) -> None:
    options = made(0, 1, 2, held_out=(1, 2), bundle={'training': training})
    found = results_of(options, capsys)
    policy, = found['policies']
    assert found['learnt_from'] == ({policy: learnt} if learnt else {})
    said = capsys.readouterr().err
    page = (options.out / 'report.html').read_text(encoding='utf-8')
    assert ('Not all of these episodes are new to the policy' in page) == bool(learnt)
    if learnt:
        assert f'warning: {policy} has learnt from {", ".join(learnt)}, {len(learnt)} of 2' in said
        assert said.count('\n') == 1
    else:
        assert said == ''


def test_the_noise_of_a_generative_policy_is_the_seeds(made, capsys) -> None:
    options = made(0, 1, held_out=(1,), bundle={'noise': True})
    found = [results_of(replace(options, seed=seed), capsys)['predictors'] for seed in (0, 0, 1)]
    policy = next(iter(found[0]))
    # Standard normal: its mean absolute value is 0.8.
    assert found[0][policy]['raw']['mean'] == found[1][policy]['raw']['mean'] > 0.3
    assert found[2][policy]['raw']['mean'] != found[0][policy]['raw']['mean']
    # The mean of a hundred is ten times nearer.
    averaged = results_of(replace(options, samples=100), capsys)['predictors'][policy]
    assert averaged['raw']['mean'] < 0.3 * found[0][policy]['raw']['mean']


def test_the_command_does_the_same(made, capsys) -> None:
    options = made(0, 1, 2)
    arguments = ['evaluate', str(options.bundles[0]), '--robot', options.robot, '--out',
                 str(options.out), '--data', str(options.data[0]), '--every', '10']
    assert main([*arguments, '--held-out', '2']) == 0
    found = json.loads((options.out / 'results.json').read_text(encoding='utf-8'))
    policy, = found['policies']
    assert found['predictors'][policy]['raw']['mean'] == pytest.approx(0.0, abs=1e-6)
    assert '--held-out 2' in found['command']
    capsys.readouterr()
    assert main(['evaluate', 'bundle', '--held-out', '2']) == 2
    assert 'name the dataset' in capsys.readouterr().err


def test_two_bundles_are_asked_at_the_same_windows(made, make_bundle, tmp_path, capsys) -> None:
    options = made(0, 1, held_out=(1,))
    robot = load_robot(options.robot)
    make_bundle(tmp_path / 'noisy', robot, noise=True, name='noisy', **BUNDLE)
    both = replace(options, bundles=(*options.bundles, tmp_path / 'noisy'))
    found = results_of(both, capsys)
    right, noisy = found['policies']
    assert noisy.startswith('noisy@')
    assert found['predictors'][right]['raw']['mean'] == pytest.approx(0.0, abs=1e-6)
    assert found['predictors'][noisy]['raw']['mean'] > 0.3
    make_bundle(tmp_path / 'long', robot, **{**BUNDLE, 'horizon': HORIZON + 1})
    assert run_open_loop(replace(both, bundles=(*options.bundles, tmp_path / 'long'))) == 2
    assert 'differ in horizon' in capsys.readouterr().err


@pytest.mark.parametrize(('changed', 'said'), [
    ({'held_out': (9,)}, 'held-out episode #9 is not in the data, expected some of small#0'),
    ({'held_out': (0, 1)}, 'every episode is held out'),
    ({'held_out': ()}, 'name the held-out episodes'),
    ({'every': 0}, '--every is 0'),
    ({'robot': 'nobody'}, 'nobody'),
    ({'data': (Path('nowhere'),)}, 'nowhere: does not exist'),
    ({'bundles': (Path('nowhere'),)}, 'nowhere: no bundle'),
    ({'split': Path('nowhere.json'), 'held_out': ()}, 'nowhere.json: is no split'),
    ({'bundle': {'step_s': 0.07}}, 'expected a whole number'),
])
def test_a_mistake_is_one_line_and_exit_code_2(made, capsys, changed, said) -> None:
    options = made(0, 1, **{'held_out': (1,), **changed})
    assert run_open_loop(options) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count('\n') == 1
    assert errors.startswith('error: ')
    assert not (options.out / 'results.json').exists()
