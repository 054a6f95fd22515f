"""`chunked-vla up` in the foreground: prefixed logs, one Ctrl-C, an exit code that tells."""

import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

LIMIT_S = 30.0
PATIENT = """
import signal, time
stop = []
signal.signal(signal.SIGINT, lambda *_: stop.append(1))
print('ready', flush=True)
while not stop:
    time.sleep(0.01)
print('at rest', flush=True)
"""
RUNNING = """
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.up import run_graph
raise SystemExit(run_graph([NodeSpec(name, name, required=True) for name in {names}]))
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'lib' / 'chunked_vla_ros'
    folder.mkdir(parents=True)
    (folder / 'patient').write_text(PATIENT)
    (folder / 'crashing').write_text("raise SystemExit('no camera')")
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))


def start(*names: str) -> 'subprocess.Popen[str]':
    return subprocess.Popen(
        [sys.executable, '-c', RUNNING.format(names=names)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, 'ROS_DOMAIN_ID': '7'})


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures('programs')
def test_a_signal_stops_the_graph_cleanly(number: signal.Signals) -> None:
    with start('patient') as up:
        assert up.stdout.readline() == 'starting patient in ROS domain 7; Ctrl-C stops them\n'
        assert up.stdout.readline() == 'patient | ready\n'
        up.send_signal(number)
        rest, errors = up.communicate(timeout=LIMIT_S)
    assert rest == 'patient | at rest\n'
    assert (up.returncode, errors) == (0, '')


@pytest.mark.usefixtures('programs')
def test_a_graph_that_ends_by_itself_says_why() -> None:
    with start('patient', 'crashing') as up:
        output, errors = up.communicate(timeout=LIMIT_S)
    assert 'crashing | no camera\n' in output
    assert errors == 'error: crashing ended with exit code 1\n'
    assert up.returncode == 1
