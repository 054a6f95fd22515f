"""
Read ``meta/info.json`` of a LeRobot dataset, v2.1 or v3: rate, joints, cameras, where files lie.

Strict on what is used, silent on the rest. Knows neither tables nor videos.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import json
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.data.dataset import cause, DatasetError

INFO_FILE = 'meta/info.json'
VERSIONS = ('v2.0', 'v2.1', 'v3.0')
STATE, ACTION = 'observation.state', 'action'
CAMERA_PREFIXES = ('observation.images.', 'observation.image')


@dataclass(frozen=True)
class LeRobotInfo:
    """
    What ``meta/info.json`` says.

    :ivar camera_keys: Name of a camera to its feature, ``observation.images.<name>``.
    :ivar image_keys: Those of them that are pictures in the tables; the others are videos.
    """

    root: Path
    version: str
    fps: float
    robot_type: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    camera_keys: dict[str, str]
    data_path: str
    video_path: str
    chunks_size: int
    image_keys: frozenset[str] = field(default_factory=frozenset)

    def file(self, template: str, **numbers: int | str) -> Path:
        """
        Return the file that a path template of the dataset names, below its root.

        :raises DatasetError: the template has other fields, or leads out of the dataset.
        """
        try:
            relative = template.format(**numbers)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise self.refuse(
                f'path {template!r}', f'fields among {", ".join(numbers)}') from error
        path = Path(relative)
        if path.is_absolute() or '..' in path.parts or '\0' in relative:
            raise self.refuse(f'path {template!r}', 'a path inside the dataset')
        return self.root / path

    def refuse(self, what: str, expected: str) -> DatasetError:
        """Return the error about the file."""
        return DatasetError(f'{self.root / INFO_FILE}: {what}, expected {expected}')


def read_info(root: Path) -> LeRobotInfo:
    """
    Return what the dataset at ``root`` says about itself.

    :raises DatasetError: one line that names the file, what was found and what is expected.
    """
    file = root / INFO_FILE
    try:
        text = file.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{file}: cannot be read ({cause(error)})') from error
    return parse_info(text, root)


def parse_info(text: str, root: Path) -> LeRobotInfo:
    """
    Return what ``text``, the content of info.json, says about the dataset at ``root``.

    :raises DatasetError: one line that names the file, what was found and what is expected.
    """
    file = root / INFO_FILE
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f'{file}: is not JSON ({cause(error)})') from error
    if not isinstance(content, dict):
        raise DatasetError(f'{file}: is no JSON object, expected codebase_version, fps, features')
    version = content.get('codebase_version')
    if version not in VERSIONS:
        raise _refusal(file, 'codebase_version', version, f'one of {", ".join(VERSIONS)}')
    fps = content.get('fps')
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 10_000 \
            or not math.isfinite(fps):
        raise _refusal(file, 'fps', fps, 'a rate in Hz above 0')
    chunks_size = content.get('chunks_size', 1000)
    if type(chunks_size) is not int or chunks_size < 1:
        raise _refusal(file, 'chunks_size', chunks_size, 'a whole number above 0')
    features = content.get('features')
    if not isinstance(features, dict) or STATE not in features:
        raise _refusal(file, 'features', sorted(features) if isinstance(features, dict)
                       else features, f'a mapping with {STATE}')
    robot_type = content.get('robot_type')
    cameras = _cameras(file, features)
    pictures = frozenset(key for key in cameras.values() if features[key]['dtype'] == 'image')
    return LeRobotInfo(
        root, version, float(fps), robot_type if isinstance(robot_type, str) else '',
        _names(file, features, STATE), _names(file, features, ACTION),
        cameras, _text(file, content, 'data_path'), _text(file, content, 'video_path'),
        chunks_size, pictures)


def _text(file: Path, content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if key == 'video_path' and value is None:    # no cameras
        return ''
    if not isinstance(value, str):
        raise _refusal(file, key, value, 'a path template')
    return value


def _names(file: Path, features: dict[str, Any], key: str) -> tuple[str, ...]:
    if key not in features:
        return ()
    feature = features[key]
    shape = feature.get('shape') if isinstance(feature, dict) else None
    if not (isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int
            and 1 <= shape[0] <= 10_000):
        raise _refusal(file, f'features.{key}', feature, 'a shape of one number')
    found = _flat(feature.get('names'))
    if not found:
        return tuple(f'{key}.{index}' for index in range(shape[0]))
    if len(found) != shape[0] or not all(isinstance(name, str) for name in found) \
            or len(set(found)) != len(found):
        raise _refusal(file, f'features.{key}.names', found, f'{shape[0]} different names')
    return tuple(found)


def _flat(names: Any, depth: int = 0) -> list[Any]:
    """Return the names out of the nests that writers put them in: [[..]], {'motors': [..]}."""
    if depth > 3:
        return [None]
    if isinstance(names, dict):
        names = list(names.values())
    if isinstance(names, list):
        return [inner for name in names for inner in _flat(name, depth + 1)]
    return [] if names is None and not depth else [names]


def _cameras(file: Path, features: dict[str, Any]) -> dict[str, str]:
    cameras: dict[str, str] = {}
    for key, feature in features.items():
        if not isinstance(feature, dict):
            raise _refusal(file, f'features.{key}', feature, 'a mapping')
        if feature.get('dtype') in ('video', 'image'):
            name = key
            for prefix in CAMERA_PREFIXES:
                name = name.removeprefix(prefix)
            cameras[name or 'image'] = key
    return cameras


def _refusal(file: Path, key: str, value: object, expected: str) -> DatasetError:
    shown = ' '.join(repr(value).split())
    return DatasetError(f'{file}: {key} is {shown[:80]}, expected {expected}')
