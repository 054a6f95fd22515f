"""
Open a dataset by what lies in its directory: LeRobot v2.1 or v3, RLDS, or Franka recordings.

The readers are modules of their own; a further format is one more line here.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.data.dataset import Dataset, DatasetError
from chunked_vla_ros.data.franka_arrays import FrankaArrays
from chunked_vla_ros.data.lerobot_info import INFO_FILE, read_info
from chunked_vla_ros.data.lerobot_v2 import LeRobotV2
from chunked_vla_ros.data.lerobot_v3 import LeRobotV3
from chunked_vla_ros.data.rlds import PATTERN, Rlds

V1_FACTS = 'meta_data/info.json'

__all__ = ['Dataset', 'DatasetError', 'open_dataset']


def open_dataset(path: str | Path) -> Dataset:
    """
    Return the dataset at ``path``, a directory, or a ``.npy`` recording.

    :raises DatasetError: one line that names the file and what was expected.
    """
    root = Path(path)
    if not root.exists():
        raise DatasetError(f'{root}: does not exist, expected a dataset or a .npy recording')
    if not root.is_dir():
        return FrankaArrays(root, (root,))
    if (root / INFO_FILE).is_file():
        info = read_info(root)
        return LeRobotV3(info) if info.version.startswith('v3') else LeRobotV2(info)
    if any(root.glob(PATTERN)):
        return Rlds(root)
    files = tuple(sorted(root.glob('*.npy')))
    if files:
        return FrankaArrays(root, files)
    if (root / V1_FACTS).is_file():
        raise DatasetError(
            f'{root}: is a LeRobot v1 dataset, expected v2.0 or later: convert it with '
            'convert_dataset_v1_to_v2.py of an older LeRobot')
    raise DatasetError(
        f'{root}: has no .npy recording, no {PATTERN} and no {INFO_FILE}, expected the root of a '
        f'dataset{_below(root)}')


def _below(root: Path) -> str:
    """Return which folders below would be a dataset, '' where none is in sight."""
    marks = (INFO_FILE, V1_FACTS, PATTERN)
    found = sorted({path.parent for mark in marks for depth in ('*', '*/*')
                    for path in root.glob(f'{depth}/{mark}')})
    roots = [str(path.parent if path.name in ('meta', 'meta_data') else path)
             for path in found[:5]]
    return f', such as {", ".join(roots)}' if roots else ''
