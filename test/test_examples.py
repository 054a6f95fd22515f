"""
The examples: what they refuse, and in miniature that each step feeds the next.

The miniature records in simulated time. What the comparison of RL with imitation would do is
read from the commands that it prints: a program in place of ours leaves stamped folders when it is
told to record, and does nothing else. The slow tests record the loop through the ROS graph, and
run that comparison in miniature:

    pytest -m slow test/test_examples.py
"""

import json
import os
from pathlib import Path
import re
import subprocess

import pytest

from chunked_vla_ros.data.robot_contract import load_robot

ROOT = Path(__file__).resolve().parents[1]
FULL_LOOP, CO_RFT = SCRIPTS = [ROOT / 'examples' / name
                              for name in ('full_loop.sh', 'co_rft.sh')]
TINY = ('--small', '--config', 'compact', '--steps', '3', '--evaluations', '1',
        '--timeout-s', '1', '--set', 'batch_size=4', '--set', 'warm_up_steps=1',
        '--set', 'policy.width=16', '--set', 'policy.heads=2', '--set', 'policy.layers=0',
        '--set', 'policy.expert_layers=1', '--set', 'policy.flow_steps=1',
        '--set', 'validation_episodes=1')


def example(script: Path, cache: Path, *options: str,
            limit_s: float = 600.0) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [str(script), *options], capture_output=True, text=True, check=False, timeout=limit_s,
        env={**os.environ, 'XDG_CACHE_HOME': str(cache), 'OMP_NUM_THREADS': '1', 'COLUMNS': '120',
             'MUJOCO_GL': os.environ.get('MUJOCO_GL', 'egl')})


def full_loop(cache: Path, *options: str,
              limit_s: float = 600.0) -> 'subprocess.CompletedProcess[str]':
    return example(FULL_LOOP, cache, *options, limit_s=limit_s)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.stem)
def test_a_script_stops_at_the_first_error_and_waits_for_nothing(script) -> None:
    text = script.read_text(encoding='utf-8')
    assert text.startswith('#!/usr/bin/env bash\n')
    assert '\nset -euo pipefail\n' in text
    assert 'sleep' not in text
    assert os.access(script, os.X_OK)
    subprocess.run(['bash', '-n', str(script)], check=True, timeout=20)


@pytest.mark.parametrize(('script', 'options', 'said'), [
    (FULL_LOOP, ['--episode', '3'], 'error: unknown option --episode (see --help)\n'),
    (FULL_LOOP, ['--out'], 'error: --out needs a value (see --help)\n'),
    (CO_RFT, ['--seed', '3'], 'error: unknown option --seed (see --help)\n'),
    (CO_RFT, ['--seeds', '1 0'], 'error: seed 0, expected numbers from 1 to 49\n'),
    (CO_RFT, ['--seeds', '50'], 'error: seed 50, expected numbers from 1 to 49\n'),
    (CO_RFT, ['--unseen', '10001'], (
        'error: --unseen is 10001, expected a number from 0 to 10000\n')),
    (CO_RFT, ['--critic', '25oo'], (
        'error: --critic is 25oo, expected a number of updates from 1\n')),
    (CO_RFT, ['--timeout-s', '2O'], 'error: --timeout-s is 2O, expected a number of seconds\n'),
    (CO_RFT, ['--demonstrations', '0'], 'error: --demonstrations is 0, expected at least one\n'),
    (CO_RFT, ['--arms', ' '], 'error: --arms names none (see --help)\n'),
    (CO_RFT, ['--positions', 'unseen'], (
        'error: there are no demonstrations of varying quality at unseen positions (see '
        '--help)\n')),
    (CO_RFT, ['--arms', 'all best'], (
        'error: unknown arm best, expected some of: imitation all successes fastest advantage '
        'advantage_best_of_4 co_rft co_rft_advantage qc all_live successes_live fastest_live '
        'advantage_live co_rft_live co_rft_advantage_live\n'))])
def test_a_wrong_option_is_one_line_and_nothing_is_begun(tmp_path, script, options, said) -> None:
    done = example(script, tmp_path, *options, limit_s=20.0)
    assert (done.returncode, done.stderr, done.stdout) == (2, said, '')


@pytest.mark.parametrize(('script', 'count'), [(FULL_LOOP, 11), (CO_RFT, 16)],
                         ids=lambda given: getattr(given, 'stem', ''))
def test_help_names_every_option_that_there_is(tmp_path, script, count) -> None:
    done = example(script, tmp_path, '--help', limit_s=20.0)
    text = script.read_text(encoding='utf-8')
    taken = set(re.findall(r'^    (--[a-z-]+)\) ', text, re.MULTILINE))
    assert done.returncode == 0
    assert len(taken) == count
    for option in taken:
        assert f'\n  {option} ' in done.stdout, option


@pytest.fixture(scope='module')
def loop(tmp_path_factory) -> tuple[Path, Path]:
    """Return the folders of a run of the miniature, and of its cache."""
    pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
    pytest.importorskip('torch', reason='torch is not installed (extra train)')
    pytest.importorskip('mujoco', reason='no simulator in this environment')
    out = tmp_path_factory.mktemp('loop')
    cache = tmp_path_factory.mktemp('cache')
    done = full_loop(cache, '--out', str(out), '--episodes', '2', '--in-process', *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '1/6 record 2 demonstrations' in done.stdout
    assert len([*(out / 'bags').glob('episode_*')]) == 2
    return out, cache


@pytest.mark.timeout(660)
def test_in_miniature_each_step_feeds_the_next(loop) -> None:
    out, _ = loop
    manifest = json.loads((out / 'bundle/manifest.json').read_text(encoding='utf-8'))
    assert tuple(manifest['joint_names']) == load_robot('ur5e_sim').joint_names
    found = json.loads((out / 'evaluation/results.json').read_text(encoding='utf-8'))
    assert str(out / 'bundle') in found['command']
    for page in ('dataset.html', 'training/report.html', 'evaluation/report.html'):
        assert '<html' in (out / page).read_text(encoding='utf-8'), page


@pytest.mark.timeout(660)
def test_what_is_there_is_not_made_again(loop) -> None:
    out, cache = loop
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file()}
    done = full_loop(cache, '--out', str(out), '--episodes', '2', *TINY, limit_s=120.0)
    assert done.returncode == 0, done.stderr
    assert 'chunked-vla record' not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')
            if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_loop_from_nothing(tmp_path) -> None:
    out = tmp_path / 'loop'
    done = full_loop(tmp_path / 'cache', '--out', str(out), '--episodes', '2', *TINY,
                     limit_s=1200.0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / 'evaluation/report.html').is_file()


def stamp_ns(seed: int) -> int:
    """Return what a recording of ``seed`` in process begins with; its first 0.3 s are silent."""
    studio = pytest.importorskip('chunked_vla_ros.record.studio', exc_type=ImportError,
                                 reason='no simulator in this environment')
    return int(studio.FIRST_NS + seed % studio.SLOTS * studio.SLOT_NS + 300_000_000)


def write_recording(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information:\n  version: 9\n  starting_time:\n'
        f'    nanoseconds_since_epoch: {stamp_ns(seed)}\n', encoding='utf-8')


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Return a factory: runs co_rft.sh in ``tmp_path/out``, gives the commands it would run."""
    place = tmp_path / 'bin'
    place.mkdir()
    first_ns, hour_ns, hours = stamp_ns(0), stamp_ns(1) - stamp_ns(0), 87_600
    assert stamp_ns(hours) == first_ns
    (place / 'chunked-vla').write_text(f"""#!/usr/bin/env bash
[ "$1" = record ] || exit 0
while [ $# -gt 0 ]; do
  case $1 in --episodes) n=$2 ;; --seed) seed=$2 ;; --out) out=$2 ;; esac
  shift
done
named=$(ls "$out" | wc -l)
for ((k = 0; k < n; k++)); do
  bag=$(printf '%s/episode_%06d' "$out" $((named + k)))
  mkdir "$bag"
  echo "  nanoseconds_since_epoch: $(({first_ns} + (seed + k) % {hours} * {hour_ns}))" \\
    > "$bag/metadata.yaml"
done
""", encoding='utf-8')
    (place / 'chunked-vla').chmod(0o755)
    monkeypatch.setenv('PATH', f'{place}:{os.environ["PATH"]}')

    def run(*options: str) -> list[list[str]]:
        done = example(CO_RFT, tmp_path, '--out', str(tmp_path / 'out'), *options, limit_s=60.0)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split()[1:] for line in done.stdout.splitlines()
                if line.startswith('   chunked-vla ')]
    return run


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def scenes(command: list[str]) -> set[int]:
    first = int(value(command, '--seed'))
    return set(range(first, first + int(value(command, '--episodes'))))


def of(name: str, given: list[list[str]]) -> list[list[str]]:
    return [command for command in given if command[0] == name]


def test_only_missing_scenes_are_recorded_and_all_are_converted_in_their_order(
        commands, tmp_path) -> None:
    bags = tmp_path / 'out/varying-random-2/bags'
    # Of an interrupted session of six: named by the scene. Then one of another seed.
    for number in (0, 1, 3):
        write_recording(bags / f'episode_{number:06d}', 210_000 + number)
    write_recording(bags / 'episode_000002.partial', 210_002)
    write_recording(bags / 'episode_000004', 219_999)
    made = commands('--seeds', '2', '--demonstrations', '6', '--arms', 'all')
    assert [scenes(one) for one in of('record', made)] == [{210_002}, {210_004, 210_005}]
    convert, = of('convert', made)
    assert convert[1:convert.index('--robot')] == [
        str(bags / f'episode_{number:06d}') for number in (0, 1, 5, 3, 6, 7)]
    again = commands('--seeds', '2', '--demonstrations', '6', '--arms', 'all')
    assert (of('record', again), of('convert', again)) == ([], [convert])


def test_no_evaluation_has_a_scene_of_a_demonstration_or_of_another_cell(commands) -> None:
    seen: set[tuple[str, int]] = set()
    most = 10_000    # as many as each may have
    for quality in ('varying', 'mixed'):
        for positions in ('random', 'fixed'):
            made = commands('--quality', quality, '--positions', positions, '--seeds', '1 2 48 49',
                            '--demonstrations', '3', '--arms', 'all qc', '--unseen', '4')
            found = [int(value(one, '--seed')) for one in of('record', made)]
            evaluations = of('evaluate', made)
            assert [value(one, '--position-set') for one in evaluations] == [
                'random', 'unseen'] * 8
            for each in ('random', 'unseen'):
                firsts = [int(value(one, '--seed')) for one in evaluations
                          if value(one, '--position-set') == each]
                # The arms of a cell have the same ones.
                assert firsts[::2] == firsts[1::2]
                found += firsts[::2]
            assert len(found) == 12
            for first in found:
                assert first % most == 0
                assert first not in seen
                seen.add(first)
    assert len(seen) == 48


def test_the_imitation_goes_no_further_and_is_an_arm(commands, tmp_path) -> None:
    made = commands('--seeds', '1', '--demonstrations', '1')
    cell = str(tmp_path / 'out/varying-random-1')
    exported = of('export', made)
    assert [value(one, '--name') for one in exported] == [
        'imitation', 'all', 'successes', 'fastest', 'advantage', 'advantage_best_of_4', 'co_rft',
        'co_rft_advantage', 'qc']
    assert exported[0][1] == f'{cell}/imitation'
    assert [value(one, '--out') for one in of('train', made)].count(f'{cell}/imitation') == 1
    assert len(of('train', made)) == 9    # of which two are of `advantage`, the second resumed
    for one in of('train', made):
        if one[1] == 'co_rft':
            assert 'learning_rate=3.0e-4' in one


def test_of_a_live_arm_every_weight_learns_beside_the_same_settings(commands) -> None:
    arms = ['all', 'advantage', 'co_rft', 'co_rft_advantage']
    made = [one[2:] for one in of('train', commands(
        '--seeds', '1', '--demonstrations', '1',
        '--arms', ' '.join(name for arm in arms for name in (arm, f'{arm}_live'))))
        if '--from' in one]
    assert len(made) == 8
    for arm, cached, live in zip(arms, made[::2], made[1::2], strict=True):
        assert live == [
            word.replace(f'/{arm}/', f'/{arm}_live/') for word in cached] + ['rl.features=live']


@pytest.mark.parametrize(('arms', 'baselines'), [
    ('qc fastest all', 'fastest all'), ('imitation all qc', 'all'), (' qc co_rft', 'qc'),
    ('successes qc', 'successes')])
def test_only_these_arms_of_this_kind_are_compared(commands, tmp_path, arms, baselines) -> None:
    made = commands('--seeds', '1', '--demonstrations', '1', '--quality', 'mixed', '--arms', arms)
    out = tmp_path / 'out'
    assert made[-1] == [
        'compare', str(out), '--baseline', *baselines.split(), '--cells', 'mixed-random-*',
        '--arms', *arms.split(), '--out', str(out / 'comparison/mixed-random')]


@pytest.mark.parametrize(('changed', 'said'), [
    (('--demonstrations', '3'), (
        'varying-random-1/options: what is there was made with --demonstrations 2, not with '
        '--demonstrations 3: give these')),
    (('--policy', '30'), (
        'arms/all/options: what is there was made with advantage rl.selection=all steps=800 '
        'batch_size=32, not with advantage rl.selection=all steps=30 batch_size=32: give these')),
    (('--timeout-s', '9'), (
        'arms/all/options.random: what is there was made with 40 episodes --timeout-s 20, not '
        'with 40 episodes --timeout-s 9: give these'))])
def test_what_was_made_with_other_options_is_not_taken_for_theirs(
        commands, tmp_path, changed, said) -> None:
    given = ('--seeds', '1', '--demonstrations', '2', '--arms', 'all', '--unseen', '0')
    commands(*given)
    done = example(CO_RFT, tmp_path, '--out', str(tmp_path / 'out'), *given, *changed,
                   limit_s=60.0)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert said in done.stderr
    assert done.stderr.count('\n') == 1
    # What was left out may be made up for, and what made nothing there be changed.
    commands(*given, '--unseen', '3', '--critic', '30')


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_in_miniature_every_arm_is_trained_and_compared(tmp_path) -> None:
    out = tmp_path / 'arms'
    bags = out / 'varying-random-7/bags'
    # As if a session had been interrupted: the scene 710002 is there, those before it are not.
    subprocess.run(
        ['chunked-vla', 'record', '--expert', '--in-process', '--quality', 'varying', '--episodes',
         '1', '--seed', '710002', '--workers', '1', '--compression',
         'front=jpeg:95,wrist=jpeg:95', '--out', str(bags)], check=True, timeout=300)
    options = ('--out', str(out), '--small', '--seeds', '7', '--config', 'compact',
               '--unseen', '1', '--timeout-s', '2')
    done = example(CO_RFT, tmp_path / 'cache', *options, limit_s=1700.0)
    assert done.returncode == 0, done.stdout + done.stderr
    starts = [re.findall(r'nanoseconds_since_epoch: (\d+)', file.read_text())[0]
              for file in bags.glob('episode_*/metadata.yaml')]
    assert sorted(map(int, starts)) == [stamp_ns(710_000 + number) for number in range(8)]
    arms = json.loads((out / 'comparison/varying-random/arms.json').read_text(encoding='utf-8'))
    assert [one['arm'] for one in arms['groups'][0]['arms']] == [
        'all', 'successes', 'fastest', 'imitation', 'advantage', 'advantage_best_of_4', 'co_rft',
        'co_rft_advantage', 'qc']
    again = example(CO_RFT, tmp_path / 'cache', *options, limit_s=120.0)
    assert again.returncode == 0, again.stderr
    assert not re.search('chunked-vla (record|convert|evaluate|export) ', again.stdout)
