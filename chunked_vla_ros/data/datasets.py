"""
Open a dataset by what lies in its directory: LeRobot v2.1 or v3, or Franka recordings.

The readers are modules of their own; a further format is one more line here.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.data.dataset import Dataset, DatasetError
from chunked_vla_ros.data.franka_arrays import FrankaArrays
from chunked_vla_ros.data.lerobot_info import INFO_FILE, read_info
from chunked_vla_ros.data.lerobot_v2 import LeRobotV2
from chunked_vla_ros.data.lerobot_v3 import LeRobotV3

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
    files = tuple(sorted(root.glob('*.npy')))
    if not files:
        raise DatasetError(
            f'{root}: has no .npy recording and no {INFO_FILE}, expected the root of a dataset')
    return FrankaArrays(root, files)
