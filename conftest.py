"""How `make test` shares the tests between two processes, and what a standstill does to them."""

from __future__ import annotations

from collections.abc import Generator
import os
from pathlib import Path
import subprocess
import sys
import time

import pytest

# Tests that start nodes, or measure: one process has them all, one after the other.
WITH_NODES = ('bench', 'demo', 'graph', 'nodes', 'play', 'record', 'test_doctor.py',
              'test_examples.py', 'evaluate/test_through_ros.py')
NODES = 'nodes'
# A machine that wakes nobody for so long [s] stops an arm too, as it must. Busy ones take 0.03.
STANDSTILL_S = 0.1
WATCHING = """
import os, sys, time
parent, last = os.getppid(), time.monotonic()
print(flush=True)
while os.getppid() == parent:
    time.sleep(0.005)
    now = time.monotonic()
    if now - last >= float(sys.argv[1]):
        print(last, now, flush=True)
    last = now
"""


class Watch:
    """
    A process that only notices when nobody is woken, told apart from a test that is wrong.

    :ivar pid: Its number.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-c', WATCHING, str(STANDSTILL_S)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None    # PIPE above
        self._told = self._process.stdout
        self._told.readline()    # it is at work
        os.set_blocking(self._told.fileno(), False)
        self._seen: list[tuple[float, float]] = []
        self._since = time.monotonic()
        self.pid = self._process.pid

    def begin(self) -> None:
        """Forget what was: a test begins."""
        self._since = time.monotonic()

    def longest_s(self) -> float:
        """Return for how long the machine stood still at most since the test began [s]."""
        while line := self._told.readline():
            first, last = map(float, line.split())
            self._seen.append((first, last))
        return max((last - first for first, last in self._seen if last > self._since),
                   default=0.0)

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._told.close()


WATCH = pytest.StashKey[Watch]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Say which tests stay together when several processes share them (`make test`).

    One with nodes that fails while the machine stood still is run once more.
    """
    here = Path(__file__).parent / 'test'

    def stood_still() -> bool:
        return WATCH in config.stash and config.stash[WATCH].longest_s() > 0.0

    for item in items:
        path = item.path.relative_to(here).as_posix()
        starts_nodes = any(path == one or path.startswith(f'{one}/') for one in WITH_NODES)
        item.add_marker(pytest.mark.xdist_group(NODES if starts_nodes else path))
        if starts_nodes:
            item.add_marker(pytest.mark.flaky(reruns=1, condition=stood_still))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stand back behind the process whose tests have nodes, which must not be late."""
    group, stash = item.get_closest_marker('xdist_group'), item.config.stash
    if group is not None and group.args == (NODES,):
        if WATCH not in stash:
            stash[WATCH] = Watch()
        stash[WATCH].begin()
    elif group is not None and 'PYTEST_XDIST_WORKER' in os.environ and os.nice(0) == 0:
        os.nice(10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
        item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a test that failed for how long the machine stood still."""
    report = yield
    stash = item.config.stash
    if report.failed and WATCH in stash and (still := stash[WATCH].longest_s()):
        report.sections.append(('machine', f'stood still for {still:.2f} s'))
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what watches."""
    if WATCH in config.stash:
        config.stash[WATCH].end()
