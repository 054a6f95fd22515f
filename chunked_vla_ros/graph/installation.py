"""Find this package's installed executables and shared files, with or without ROS on the path."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import sys

from chunked_vla_ros.graph.node_spec import GraphError, PACKAGE

SOURCE_ROOT = Path(__file__).resolve().parents[2]


def executable(name: str) -> Path:
    """
    Return the launcher ``name`` of this package.

    :raises GraphError: if the package has not been built.
    """
    for prefix in _prefixes():
        path = prefix / 'lib' / PACKAGE / name
        if path.is_file():
            return path
    raise GraphError(
        f'executable {name} is not installed; build the package: make setup, or colcon build and '
        'source install/setup.bash')


def shared_file(relative: str) -> Path | None:
    """Return the installed ``relative`` of this package, else the source tree's, else None."""
    candidates = [prefix / 'share' / PACKAGE / relative for prefix in _prefixes()]
    return next((path for path in [*candidates, SOURCE_ROOT / relative] if path.is_file()), None)


def _prefixes() -> Iterator[Path]:
    """Yield install prefixes: the sourced ones, then the environment of this interpreter."""
    for entry in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if entry:
            yield Path(entry)
    yield Path(sys.prefix)
