"""
Real teleoperation: a policy of six episodes is below the baselines on the two others.

Takes about two minutes:

    pytest -m slow test/evaluate/test_real_open_loop.py
"""

import json
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')

from chunked_vla_ros.cli import main

BOTTLE = Path(__file__).resolve().parents[3] / 'shared/data/demos/g1_bottle'

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(3600),
    pytest.mark.skipif(not BOTTLE.is_dir(), reason='real demonstrations are absent (shared/data)')]


def test_six_real_episodes_teach_what_no_baseline_knows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    training, bundle, out = tmp_path / 'training', tmp_path / 'bundle', tmp_path / 'out'
    assert main(['train', 'g1_bottle', '--data', str(BOTTLE), '--out', str(training),
                 '--progress', 'none', '--bundle', str(bundle)]) == 0
    assert main(['evaluate', str(bundle), '--data', str(BOTTLE), '--robot', 'g1_arms', '--split',
                 str(training / 'split.json'), '--out', str(out)]) == 0
    found = json.loads((out / 'results.json').read_text(encoding='utf-8'))
    assert found['held_out'] == ['g1_bottle#82', 'g1_bottle#99']
    # Measured 0.77, 0.31 and 0.81.
    against = found['comparisons'][found['policies'][0]]
    for baseline in ('hold state', 'mean chunk', 'mean relative chunk'):
        assert against[baseline]['ratio'] < 0.9, baseline
        assert against[baseline]['better_episodes'] == 2
