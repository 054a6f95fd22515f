"""How `make test` shares the tests between two processes."""

import os
from pathlib import Path

import pytest

# Tests that start nodes, or measure: one process has them all, one after the other.
WITH_NODES = ('bench', 'demo', 'graph', 'nodes', 'play', 'record', 'test_doctor.py',
              'test_examples.py', 'evaluate/test_through_ros.py')
NODES = 'nodes'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when several processes share them (`make test`)."""
    here = Path(__file__).parent / 'test'
    for item in items:
        path = item.path.relative_to(here).as_posix()
        starts_nodes = any(path == one or path.startswith(f'{one}/') for one in WITH_NODES)
        item.add_marker(pytest.mark.xdist_group(NODES if starts_nodes else path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stand back behind the process whose tests have nodes, which must not be late."""
    group = item.get_closest_marker('xdist_group')
    beside_others = 'PYTEST_XDIST_WORKER' in os.environ
    if beside_others and group is not None and group.args != (NODES,) and os.nice(0) == 0:
        os.nice(10)
