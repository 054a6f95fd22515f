"""
The examples: what they refuse, and in miniature that each step feeds the next.

The miniature records in simulated time. The slow tests record the loop through the ROS graph, and
run the comparison of RL with imitation in miniature:

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
    (CO_RFT, ['--seeds', '1 0'], 'error: seed 0, expected numbers from 1 to 99\n'),
    (CO_RFT, ['--positions', 'unseen'], (
        'error: there are no demonstrations of varying quality at unseen positions (see '
        '--help)\n')),
    (CO_RFT, ['--arms', 'all best'], (
        'error: unknown arm best, expected some of: all successes fastest advantage '
        'advantage_best_of_4 co_rft co_rft_advantage qc\n'))])
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_in_miniature_every_arm_is_trained_and_compared(tmp_path) -> None:
    out = tmp_path / 'arms'
    options = ('--out', str(out), '--small', '--seeds', '7', '--config', 'compact',
               '--unseen', '1', '--timeout-s', '2')
    done = example(CO_RFT, tmp_path / 'cache', *options, limit_s=1700.0)
    assert done.returncode == 0, done.stdout + done.stderr
    arms = json.loads((out / 'comparison/arms.json').read_text(encoding='utf-8'))
    assert 'co_rft_advantage' in str(arms)
    again = example(CO_RFT, tmp_path / 'cache', *options, limit_s=120.0)
    assert again.returncode == 0, again.stderr
    assert not re.search('chunked-vla (record|convert|evaluate|export) ', again.stdout)
