"""
Where configurations of trainings lie: files, or by name those that come with the package.

Imports nothing that takes long, so that a mistyped name is answered at once.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.graph.installation import shared_file, SOURCE_ROOT
from chunked_vla_ros.training.config_reading import ConfigError

FOLDER = 'config/train'


def find_config(name: str) -> Path:
    """
    Return the file of a configuration, given by its path or by its name.

    :raises ConfigError: one line that names those that there are.
    """
    path = Path(name)
    if path.suffix in ('.yaml', '.yml') or path.parent != Path():
        if not path.is_file():
            raise ConfigError(
                f'{path}: no such configuration, expected a file or one of {_known()}')
        return path
    found = shared_file(f'{FOLDER}/{name}.yaml')
    if found is None:
        raise ConfigError(f'{name!r}: no such configuration, expected a file or one of {_known()}')
    return found


def _known() -> str:
    compact = shared_file(f'{FOLDER}/compact.yaml') or SOURCE_ROOT / FOLDER / 'compact.yaml'
    return ', '.join(sorted(path.stem for path in compact.parent.glob('*.yaml')))
