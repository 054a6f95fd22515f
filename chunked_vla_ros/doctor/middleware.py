"""
Look at ROS 2 without importing it: its source, what is built, the transport in force.

Reads files and environment only, so it can still say what is wrong when rclpy cannot be imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
import importlib.util
import os
from pathlib import Path
import re
import sys

from chunked_vla_ros.doctor.finding import Finding, Level
from chunked_vla_ros.graph.installation import shared_file, SOURCE_ROOT
from chunked_vla_ros.graph.node_spec import PACKAGE
from chunked_vla_ros.graph.transport import FAST_DDS, PROFILE, PROFILE_VARIABLE

NEWER_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
KINDS = ('msg', 'srv', 'action')


def check_ros(environment: Mapping[str, str] = os.environ) -> Finding:
    """Say whether ROS 2 comes from wheels or is installed, and which middleware it uses."""
    spec = importlib.util.find_spec('rclpy')
    if spec is None or spec.origin is None:
        return Finding(
            Level.BROKEN, 'ROS 2', 'rclpy cannot be imported',
            'make setup, or source /opt/ros/jazzy/setup.bash and the workspace')
    origin = Path(spec.origin)
    middleware = environment.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp'
    wheels = Path(sys.prefix) in origin.parents
    source = f'wheels in {sys.prefix}' if wheels else f'installed, {origin.parents[4]}'
    distribution = environment.get('ROS_DISTRO', 'jazzy')
    if not wheels and distribution != 'jazzy':
        return Finding(
            Level.WARN, 'ROS 2', f'{source}, {distribution}',
            'tested with Jazzy only: source /opt/ros/jazzy/setup.bash')
    domain = environment.get('ROS_DOMAIN_ID', '0')
    return Finding(Level.OK, 'ROS 2', f'Jazzy, {source}, {middleware}, domain {domain}')


def check_interfaces() -> Finding:
    """Compare the fields of the built interfaces with those of the source tree."""
    subject, remedy = 'interfaces', 'make setup, or colcon build and source install/setup.bash'
    built = importlib.util.find_spec(f'{PACKAGE}.msg')
    if built is None or built.origin is None:
        return Finding(Level.BROKEN, subject, 'our messages are not built', remedy)
    root = Path(built.origin).parents[1]
    sources = [path for kind in KINDS for path in (SOURCE_ROOT / kind).glob(f'*.{kind}')]
    stale = [path.name for path in sources if not _is_current(path, root)]
    if stale:
        return Finding(
            Level.BROKEN, subject, f'built from older files: {", ".join(sorted(stale))}', remedy)
    return Finding(Level.OK, subject, f'built in {root}')


def check_transport(environment: Mapping[str, str] = os.environ) -> Finding:
    """Say which Fast DDS profile is in force for programs started from here."""
    subject, ours = 'DDS profile', shared_file(PROFILE)
    middleware = environment.get('RMW_IMPLEMENTATION', '')
    if middleware not in FAST_DDS:
        return Finding(
            Level.INFO, subject, f'{middleware}: our Fast DDS profile does not apply')
    remedy = f'for programs other than ours: export {PROFILE_VARIABLE}={ours}'
    current = environment.get(PROFILE_VARIABLE)
    if current and ours and Path(current).resolve() == ours.resolve():
        return Finding(Level.OK, subject, f'ours, {current}')
    if current and not Path(current).exists():
        return Finding(Level.BROKEN, subject, f'{current} does not exist', remedy)
    if current:
        return Finding(
            Level.WARN, subject, f'not ours: {current}; our nodes use it too',
            f'check that its shared-memory segment holds your images, or unset {PROFILE_VARIABLE}')
    if environment.get(NEWER_VARIABLE):
        return Finding(
            Level.WARN, subject, f'{NEWER_VARIABLE} is set, which Jazzy ignores', remedy)
    return Finding(
        Level.WARN, subject, "Fast DDS's default in this shell, which loses large images; "
        'chunked-vla and the launch file set ours for their nodes', remedy)


def _is_current(source: Path, root: Path) -> bool:
    """Return whether each section of ``source`` is a class of the module generated from it."""
    generated = root / source.suffix[1:] / f'_{_snake_case(source.stem)}.py'
    if not generated.exists():
        return False
    classes = set(_generated_fields(ast.parse(generated.read_text())))
    return all(fields in classes for fields in source_fields(source.read_text()) if fields)


def source_fields(text: str) -> list[tuple[str, ...]]:
    """Return the field names of each section of an interface file; constants are no fields."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        statement = line.partition('#')[0].strip()
        if statement == '---':
            sections.append([])
        elif statement and '=' not in statement.replace('<=', ''):
            sections[-1].append(statement.split()[1])
    return [tuple(fields) for fields in sections]


def _generated_fields(module: ast.Module) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if names == ['_fields_and_field_types']:
                yield tuple(ast.literal_eval(node.value))


def _snake_case(name: str) -> str:
    """Return the module name that rosidl derives from an interface's name."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
