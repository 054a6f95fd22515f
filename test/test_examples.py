"""
The example of the whole loop: what it refuses, and in miniature that each step feeds the next.

The miniature records in simulated time. The slow test records through the ROS graph:

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
SCRIPT = ROOT / 'examples' / 'full_loop.sh'
TINY = ('--small', '--config', 'compact', '--steps', '3', '--evaluations', '1',
        '--timeout-s', '1', '--set', 'batch_size=4', '--set', 'warm_up_steps=1',
        '--set', 'policy.width=16', '--set', 'policy.heads=2', '--set', 'policy.layers=0',
        '--set', 'policy.expert_layers=1', '--set', 'policy.flow_steps=1',
        '--set', 'validation_episodes=1')


def full_loop(cache: Path, *options: str,
              limit_s: float = 600.0) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [str(SCRIPT), *options], capture_output=True, text=True, check=False, timeout=limit_s,
        env={**os.environ, 'XDG_CACHE_HOME': str(cache), 'OMP_NUM_THREADS': '1', 'COLUMNS': '120',
             'MUJOCO_GL': os.environ.get('MUJOCO_GL', 'egl')})


def test_the_script_stops_at_the_first_error_and_waits_for_nothing() -> None:
    text = SCRIPT.read_text(encoding='utf-8')
    assert text.startswith('#!/usr/bin/env bash\n')
    assert '\nset -euo pipefail\n' in text
    assert 'sleep' not in text
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(['bash', '-n', str(SCRIPT)], check=True, timeout=20)


@pytest.mark.parametrize(('options', 'said'), [
    (['--episode', '3'], 'error: unknown option --episode (see --help)\n'),
    (['--out'], 'error: --out needs a value (see --help)\n')])
def test_a_wrong_option_is_one_line_and_nothing_is_begun(tmp_path, options, said) -> None:
    done = full_loop(tmp_path, *options, limit_s=20.0)
    assert (done.returncode, done.stderr, done.stdout) == (2, said, '')


def test_help_names_every_option_that_there_is(tmp_path) -> None:
    done = full_loop(tmp_path, '--help', limit_s=20.0)
    text = SCRIPT.read_text(encoding='utf-8')
    taken = set(re.findall(r'^    (--[a-z-]+)\) ', text, re.MULTILINE))
    assert done.returncode == 0
    assert len(taken) == 11
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
