"""The supervisor against real processes: small programs in the place of nodes."""

from collections.abc import Callable
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor

LIMIT_S = 20.0

# Ends cleanly on the first interrupt and says how many it got.
PATIENT = """
import signal, sys, time
count = [0]
def interrupted(*_):
    count[0] += 1
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, interrupted)
print('ready', *sys.argv[1:])
while not count[0]:
    time.sleep(0.01)
time.sleep(0.2)
print('interrupts', count[0])
"""
STUBBORN = """
import faulthandler, signal, time
faulthandler.register(signal.SIGQUIT)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print('ready')
time.sleep(60.0)
"""
# Ends after the interrupt when there is a file, badly if it is terminated before.
SLOW = """
import os, signal, sys, time
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print('ready')
while not (asked and os.path.exists({file!r})):
    time.sleep(0.01)
time.sleep(0.1)
"""
CRASHING = "raise SystemExit('no camera')"
REFUSING = "print('error: rate_hz is 7'); raise SystemExit(2)"
# A supervisor in a process of its own, to be killed.
SUPERVISING = """
import sys, time
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
with Supervisor([NodeSpec('patient', 'one')]) as graph:
    while not graph.log_tail('one'):
        time.sleep(0.01)
    print(graph.pid('one'), flush=True)
    time.sleep(60.0)
"""


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'lib' / 'chunked_vla_ros'
    folder.mkdir(parents=True)
    for name, text in (('patient', PATIENT), ('stubborn', STUBBORN), ('crashing', CRASHING),
                       ('refusing', REFUSING)):
        (folder / name).write_text(text)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f'waited {LIMIT_S:g} s in vain until {what}'
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != 'Z'


def test_each_process_gets_its_arguments_and_exactly_one_interrupt() -> None:
    specs = [NodeSpec('patient', name) for name in ('one', 'two')]
    with Supervisor(specs) as graph:
        for name in ('one', 'two'):
            wait_until(lambda name=name: graph.log_tail(name), f'{name} is ready')
    assert graph.poll() == {'one': 0, 'two': 0}
    assert graph.log_tail('one') == [
        'ready --ros-args -r __node:=one --log-level info', 'interrupts 1']
    assert graph.exit_code == 0


def test_a_killed_process_is_started_again() -> None:
    with Supervisor([NodeSpec('patient', 'one', respawn=True, respawn_delay_s=0.1)]) as graph:
        wait_until(lambda: graph.log_tail('one'), 'it is ready')
        first = graph.pid('one')
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: graph.pid('one') not in (None, first), 'it is back')
        wait_until(lambda: len(graph.log_tail('one')) == 2, 'it is ready again')
        assert graph.starts('one') == 2
    assert graph.exit_code == 0


def test_the_graph_ends_with_a_required_process_and_says_why() -> None:
    specs = [NodeSpec('patient', 'other'), NodeSpec('crashing', 'executor', required=True)]
    with Supervisor(specs) as graph:
        assert graph.wait(LIMIT_S)
    assert graph.failure == 'executor ended with exit code 1'
    assert graph.log_tail('executor') == ['no camera']
    assert graph.pid('other') is None
    assert graph.exit_code == 1


def test_a_refused_configuration_is_not_tried_again() -> None:
    with Supervisor([NodeSpec('refusing', 'one', respawn=True)]) as graph:
        assert graph.wait(LIMIT_S)
    assert graph.starts('one') == 1
    assert graph.failure == 'one refused its configuration'
    assert graph.exit_code == 2


def test_what_ignores_the_interrupt_is_killed_after_the_limit() -> None:
    said: list[tuple[str, str]] = []
    with Supervisor([NodeSpec('stubborn', 'one', stop_patience_s=0.1)],
                    on_line=lambda name, line: said.append((name, line))) as graph:
        wait_until(lambda: graph.log_tail('one'), 'it is ready')
    assert graph.poll() == {'one': -signal.SIGKILL}
    assert ('one', 'does not end, terminating it') in said
    # Where it hung, in its own words.
    assert any('in <module>' in line for _, line in said), said
    assert graph.exit_code == 1


def test_each_process_is_given_as_long_as_it_may_need_to_end(tmp_path: Path) -> None:
    other_ends = tmp_path / 'other ends'
    (tmp_path / 'lib/chunked_vla_ros/slow').write_text(SLOW.format(file=str(other_ends)))

    def heard(name: str, line: str) -> None:
        if (name, line) == ('hasty', 'does not end, terminating it'):
            other_ends.touch()

    specs = [NodeSpec('stubborn', 'hasty', stop_patience_s=0.1),
             NodeSpec('slow', 'slow', stop_patience_s=60.0)]
    with Supervisor(specs, on_line=heard) as graph:
        for name in ('hasty', 'slow'):
            wait_until(lambda name=name: graph.log_tail(name), f'{name} is ready')
    assert graph.poll() == {'hasty': -signal.SIGKILL, 'slow': 0}


def test_no_process_outlives_a_supervisor_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, '-c', SUPERVISING], stdout=subprocess.PIPE,
                          text=True) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert is_alive(pid)
        supervisor.kill()
    wait_until(lambda: not is_alive(pid), 'the child has ended')


def test_variables_of_the_graph_and_of_the_node_reach_the_process(tmp_path: Path) -> None:
    (tmp_path / 'lib/chunked_vla_ros/show').write_text(
        "import os; print(os.environ['FROM_GRAPH'], os.environ['FROM_NODE'])")
    with Supervisor([NodeSpec('show', 'one', environment={'FROM_NODE': 'n'})],
                    env={'FROM_GRAPH': 'g'}) as graph:
        assert graph.wait(LIMIT_S)
    assert graph.log_tail('one') == ['g n']


def test_an_executable_that_was_not_built_is_named_with_the_remedy() -> None:
    with pytest.raises(GraphError, match='executable nothing is not installed; build'):
        Supervisor([NodeSpec('nothing', 'one')])
