"""
Read a robot contract, ``config/robots/<name>.yaml``, into a `RobotSpec`.

Strict: whatever the file says and the package would not understand is an error of one line, as a
limit that is silently ignored moves an arm. Knows nothing about ROS.
"""

from __future__ import annotations

from collections.abc import Iterator
import hashlib
import os
from pathlib import Path
import sys
from typing import Any

import yaml

from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    CommandKind,
    CommandSpec,
    GripperSpec,
    ImageTransport,
    JointSpec,
    JointUnit,
    Resample,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.contract_section import ContractError, NAME, Section, shown, TOPIC

__all__ = ['ContractError', 'contract_hash', 'load_robot', 'parse_robot']

SCHEMA = 1
UNITS = {'angle': 'rad', 'length': 'm', 'time': 's'}
# What OpenCV turns into RGB; yuv422 is UYVY, as sensor_msgs/image_encodings defines it.
ENCODINGS = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'yuv422', 'yuv422_yuy2')
LARGEST_IMAGE = 16_384
KINDS = {'continuous': DimKind.CONTINUOUS, 'binary': DimKind.BINARY, 'wrapped': DimKind.WRAPPED}

# Beyond these a table was most likely copied in degrees: no arm turns faster than 30 rad/s.
PLAUSIBLE_POSITION_RAD = 100.0
PLAUSIBLE_VELOCITY_RADPS = 30.0
PLAUSIBLE_ACCELERATION = 500.0
PLAUSIBLE_JERK = 50_000.0
SMALLEST_LIMIT = 1e-6


def load_robot(path_or_name: str | Path) -> RobotSpec:
    """
    Return the robot of a contract file, or of a bare name such as ``ur5e_sim``.

    :raises ContractError: one line that names file, key path and expected value.
    """
    path = _find(str(path_or_name))
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f'{path}: cannot be read ({_one_line(error)})') from error
    return parse_robot(text, path.name)


def contract_hash(path_or_name: str | Path) -> str:
    """
    Return the SHA-256 of a contract's file: recordings and bundles tell by it which one was meant.

    :raises ContractError: there is no such file.
    """
    path = _find(str(path_or_name))
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ContractError(f'{path}: cannot be read ({_one_line(error)})') from error


def parse_robot(text: str, file: str) -> RobotSpec:
    """
    Return the robot described by ``text``, YAML; ``file`` is its name in errors.

    :raises ContractError: one line that names file, key path and expected value.
    """
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a date such as 2026-13-01 fails inside PyYAML's constructor.
        raise ContractError(f'{file}: not YAML: {_one_line(error)}') from error
    top = Section(
        file, '', content,
        ('schema', 'name', 'base_frame', 'units', 'joints', 'state', 'cameras', 'command'),
        ('gripper',))
    top.count('schema', SCHEMA, SCHEMA, '(the only schema so far)')
    _check_units(top)
    joints = _joints(top)
    return RobotSpec(
        name=top.text('name', NAME, 'a name of letters, digits, _ . -'),
        base_frame=top.text('base_frame', NAME, 'a frame name'),
        joints=joints, gripper=_gripper(top, joints),
        state=_stream(Section(
            file, 'state', top.raw('state'), STREAM_KEYS, STREAM_OPTIONS)),
        cameras=_cameras(top), command=_command(top))


STREAM_KEYS = ('topic', 'rate_hz', 'time_base', 'tolerance_s')
STREAM_OPTIONS = ('resample',)
JOINT_KEYS = ('name', 'kind', 'lower', 'upper', 'velocity', 'acceleration', 'jerk', 'home')
JOINT_OPTIONS = ('unit', 'aliases')
CAMERA_KEYS = ('name', *STREAM_KEYS, 'info_topic', 'width', 'height', 'encoding')
SIZE_KEYS = ('width', 'height')
CAMERA_OPTIONS = (*STREAM_OPTIONS, 'transport', 'resize', 'frozen_after_s')


def _check_units(top: Section) -> None:
    units = Section(top.file, 'units', top.raw('units'), tuple(UNITS))
    for key, unit in UNITS.items():
        units.choice(key, (unit,))


def _joints(top: Section) -> tuple[JointSpec, ...]:
    joints = tuple(_joint(Section(
        top.file, f'joints[{index}]', item, JOINT_KEYS, JOINT_OPTIONS))
                   for index, item in enumerate(top.items('joints', 'joints')))
    if not joints:
        raise top.refuse('joints', 'at least one joint')
    _refuse_duplicates(top, 'joints', 'name', [joint.name for joint in joints])
    taken: dict[str, str] = {}
    for joint in joints:
        for name in (joint.name, *joint.aliases):
            if taken.setdefault(name, joint.name) != joint.name:
                raise ContractError(
                    f'{top.file}: {joint.name} is also called {shown(name)} as is {taken[name]}, '
                    'expected a name of its own')
    return joints


def _joint(section: Section) -> JointSpec:
    lower, upper = (
        section.number(key, -PLAUSIBLE_POSITION_RAD, PLAUSIBLE_POSITION_RAD, 'rad (not degrees)')
        for key in ('lower', 'upper'))
    if lower >= upper:
        raise section.refuse('lower', f'less than upper, {upper:g} rad')
    home = section.number('home', lower, upper, 'rad, inside lower and upper')
    return JointSpec(
        name=section.text('name', NAME, 'a joint name'),
        kind=KINDS[section.choice('kind', KINDS)], lower=lower, upper=upper, home=home,
        velocity=section.number(
            'velocity', SMALLEST_LIMIT, PLAUSIBLE_VELOCITY_RADPS, 'rad/s (not degrees)'),
        unit=JointUnit(section.choice('unit', tuple(unit.value for unit in JointUnit)))
        if section.raw('unit') is not None else JointUnit.RADIAN,
        aliases=tuple(section.texts('aliases', NAME, 'names')) if section.raw('aliases') else (),
        acceleration=section.number(
            'acceleration', SMALLEST_LIMIT, PLAUSIBLE_ACCELERATION, 'rad/s^2'),
        jerk=section.number('jerk', SMALLEST_LIMIT, PLAUSIBLE_JERK, 'rad/s^3'))


def _gripper(top: Section, joints: tuple[JointSpec, ...]) -> GripperSpec | None:
    if top.raw('gripper') is None:
        return None
    section = Section(top.file, 'gripper', top.raw('gripper'), ('joint', 'open', 'closed'))
    by_name = {joint.name: joint for joint in joints}
    joint = by_name[section.choice('joint', tuple(by_name))]
    opened, closed = (
        section.number(key, joint.lower, joint.upper, f'rad, inside the limits of {joint.name}')
        for key in ('open', 'closed'))
    if opened == closed:
        raise section.refuse('closed', f'another value than open, {opened:g} rad')
    return GripperSpec(joint.name, opened, closed)


def _stream(section: Section) -> StreamSpec:
    return StreamSpec(
        topic=section.text('topic', TOPIC, 'a relative topic name'),
        rate_hz=section.number('rate_hz', 0.01, 10_000.0, 'Hz'),
        time_base=TimeBase(section.choice('time_base', tuple(base.value for base in TimeBase))),
        tolerance_s=section.number('tolerance_s', 0.001, 60.0, 's'),
        resample=Resample(section.choice('resample', tuple(way.value for way in Resample)))
        if section.raw('resample') is not None else Resample.ASOF)


def _cameras(top: Section) -> tuple[CameraSpec, ...]:
    cameras = []
    for index, item in enumerate(top.items('cameras', 'cameras')):
        cameras.append(_camera(Section(
            top.file, f'cameras[{index}]', item, CAMERA_KEYS, CAMERA_OPTIONS)))
    _refuse_duplicates(top, 'cameras', 'name', [camera.name for camera in cameras])
    _refuse_duplicates(top, 'cameras', 'topic', [camera.stream.topic for camera in cameras])
    return tuple(cameras)


def _camera(section: Section) -> CameraSpec:
    transport = ImageTransport.RAW
    if section.raw('transport') is not None:
        transport = ImageTransport(
            section.choice('transport', tuple(kind.value for kind in ImageTransport)))
    compressed = transport is ImageTransport.COMPRESSED
    frozen_after_s = 0.0
    if section.raw('frozen_after_s') is not None:
        frozen_after_s = section.number('frozen_after_s', 0.0, 60.0, 's, 0 for unchecked')
    resize = None
    if section.raw('resize') is not None:
        sizes = Section(section.file, section.at('resize'), section.raw('resize'), SIZE_KEYS)
        resize = sizes.count('width', 1, LARGEST_IMAGE, 'pixels'), sizes.count(
            'height', 1, LARGEST_IMAGE, 'pixels')
    return CameraSpec(
        name=section.text('name', NAME, 'a camera name'), stream=_stream(section),
        info_topic=section.text('info_topic', TOPIC, 'a relative topic name'),
        width=section.count('width', 1, LARGEST_IMAGE, 'pixels'),
        height=section.count('height', 1, LARGEST_IMAGE, 'pixels'),
        encoding=section.choice('encoding', ('rgb8',) if compressed else ENCODINGS),
        transport=transport, resize=resize, frozen_after_s=frozen_after_s)


def _command(top: Section) -> CommandSpec:
    section = Section(top.file, 'command', top.raw('command'), ('kind', 'topic', 'rate_hz'))
    return CommandSpec(
        kind=CommandKind(section.choice('kind', tuple(kind.value for kind in CommandKind))),
        topic=section.text('topic', TOPIC, 'a relative topic name'),
        rate_hz=section.number('rate_hz', 1.0, 2000.0, 'Hz'))


def _refuse_duplicates(top: Section, key: str, what: str, values: list[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ContractError(
                f'{top.file}: {key}[{index}].{what} is {shown(value)} as in '
                f'{key}[{values.index(value)}], expected a {what} of its own')


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML lets a second value of one key win silently; a limit given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, unless a key stands twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'key {key.value!r} stands twice', key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _find(path_or_name: str) -> Path:
    path = Path(path_or_name)
    if path.suffix in ('.yaml', '.yml') or path.parent != Path():
        if not path.is_file():
            raise ContractError(f'{path}: no such robot contract, expected one of {_known()}')
        return path
    for directory in _directories():
        if (directory / f'{path_or_name}.yaml').is_file():
            return directory / f'{path_or_name}.yaml'
    raise ContractError(
        f'{path_or_name!r}: no such robot contract, expected a path or one of {_known()}')


def _directories() -> Iterator[Path]:
    """Yield where contracts lie: installed beside ROS, beside the interpreter, in the source."""
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    for prefix in [*prefixes, sys.prefix]:
        yield Path(prefix, 'share', 'chunked_vla_ros', 'config', 'robots')
    yield Path(__file__).resolve().parents[2] / 'config' / 'robots'


def _known() -> str:
    names = {path.stem for directory in _directories() for path in directory.glob('*.yaml')}
    return ', '.join(sorted(names)) or '(none is installed)'


def _one_line(error: Exception) -> str:
    mark = getattr(error, 'problem_mark', None)
    text = getattr(error, 'problem', None) or getattr(error, 'strerror', None) or str(error)
    where = f', line {mark.line + 1} column {mark.column + 1}' if mark else ''
    return ' '.join(f'{text}{where}'.split())
