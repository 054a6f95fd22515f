"""
Between ``manifest.json`` and `BundleManifest`: strict both in what is read and what is written.

A key that is not understood, stands twice or has another type is an error of one line. Takes and
gives bytes; files are ``data.policy_bundle``'s.
"""

from __future__ import annotations

import json
import re
from typing import Any

from chunked_vla_ros.core.bundle_manifest import (
    BundleCamera,
    BundleError,
    BundleFile,
    BundleManifest,
    LARGEST_HORIZON,
    LONGEST_STEP_S,
    MODEL_FILE,
    SHORTEST_STEP_S,
    Statistics,
    TokenizerSpec,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.contract_section import ContractError, NAME, Section, shown

MANIFEST_FILE = 'manifest.json'
# The manifest holds the hash of every other file; its own stands here, as sha256sum writes it.
SEAL_FILE = 'manifest.json.sha256'
SCHEMA_VERSION = 1
LARGEST_MANIFEST = 1_000_000
LARGEST_FILE = 2_000_000_000
LARGEST_IMAGE = 16_384
LONGEST_TEXT = 4096
LARGEST_TOKEN_ID = 2**31 - 1
# Beyond any joint's range in any unit; a larger number is a unit error or a broken data set.
LARGEST_STATISTIC = 1e6

# Plain names: no separator, and no dot in front, hence no '..'.
FILE_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}')
BUNDLE_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}')
DIGEST = re.compile(r'[0-9a-f]{64}')
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)')
KINDS = {kind.name.lower(): kind for kind in DimKind}
KEYS = ('schema_version', 'name', 'created', 'files', 'joint_names', 'dim_kinds', 'action',
        'cameras', 'needs_instruction', 'tokenizer', 'statistics', 'training')
ACTION_KEYS = ('space', 'reference', 'horizon', 'step_s')
REPLAN_PERIOD = 'replan_period_s'
LONGEST_REPLAN_PERIOD_S = 10.0
STATISTICS = ('mean', 'std', 'min', 'max')


def parse_manifest(data: bytes, file: str = MANIFEST_FILE) -> BundleManifest:
    """
    Return the manifest in ``data``; ``file`` is its name in errors.

    :raises BundleError: one line that names file, key and expected value.
    """
    if len(data) > LARGEST_MANIFEST:
        raise BundleError(f'{file}: {len(data)} bytes, expected at most {LARGEST_MANIFEST}')
    try:
        content = json.loads(
            data.decode('utf-8'), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f'{file}: not JSON: {" ".join(str(error).split())}') from error
    try:
        return _manifest(Section(file, '', content, KEYS))
    except ContractError as error:
        raise BundleError(str(error)) from error


def write_manifest(manifest: BundleManifest) -> bytes:
    """
    Return ``manifest`` as the bytes of ``manifest.json``.

    :raises BundleError: if it could not be read back.
    """
    tokenizer = manifest.tokenizer
    content = {
        'schema_version': SCHEMA_VERSION, 'name': manifest.name, 'created': manifest.created,
        'files': {file.name: {'sha256': file.sha256, 'size': file.size}
                  for file in manifest.files},
        'joint_names': list(manifest.joint_names),
        'dim_kinds': [kind.name.lower() for kind in manifest.dim_kinds],
        'action': {'space': 'joint', 'reference': 'absolute', 'horizon': manifest.horizon,
                   'step_s': manifest.step_s, REPLAN_PERIOD: manifest.replan_period_s},
        'cameras': [{'name': camera.name, 'width': camera.width, 'height': camera.height}
                    for camera in manifest.cameras],
        'needs_instruction': manifest.needs_instruction,
        'tokenizer': tokenizer and {
            'file': tokenizer.file, 'max_length': tokenizer.max_length,
            'pad_id': tokenizer.pad_id},
        'statistics': {
            name: {key: list(getattr(statistics, key)) for key in STATISTICS}
            for name, statistics in (('state', manifest.state_statistics),
                                     ('action', manifest.action_statistics))},
        'training': dict(manifest.training)}
    data = (json.dumps(content, indent=2) + '\n').encode()
    parse_manifest(data)
    return data


def _manifest(top: Section) -> BundleManifest:
    top.count('schema_version', SCHEMA_VERSION, SCHEMA_VERSION, '(the only schema so far)')
    joints = _distinct(top, 'joint_names', top.texts('joint_names', NAME, 'joint names'))
    if not joints:
        raise top.refuse('joint_names', 'at least one joint')
    kinds = top.items('dim_kinds', 'kinds')
    if len(kinds) != len(joints) or not all(
            isinstance(kind, str) and kind in KINDS for kind in kinds):
        raise top.refuse('dim_kinds', f'{len(joints)} of {", ".join(KINDS)}')
    action = Section(top.file, 'action', top.raw('action'), ACTION_KEYS, (REPLAN_PERIOD,))
    action.choice('space', ('joint',))
    action.choice('reference', ('absolute',))
    files = _files(top)
    tokenizer = _tokenizer(top, files)
    needs_instruction = _boolean(top, 'needs_instruction')
    if needs_instruction and tokenizer is None:
        raise top.refuse('tokenizer', 'a tokenizer, as needs_instruction is true')
    statistics = Section(top.file, 'statistics', top.raw('statistics'), ('state', 'action'))
    return BundleManifest(
        name=top.text('name', BUNDLE_NAME, 'a name of letters, digits, _ . -'),
        created=top.text('created', TIME, 'a time such as 2026-01-31T12:00:00Z'),
        files=files, joint_names=tuple(joints),
        dim_kinds=tuple(KINDS[kind] for kind in kinds),
        horizon=action.count(
            'horizon', 1, LARGEST_HORIZON, 'points, the most that the executor takes'),
        step_s=action.number('step_s', SHORTEST_STEP_S, LONGEST_STEP_S, 's'),
        replan_period_s=0.0 if action.raw(REPLAN_PERIOD) is None else action.number(
            REPLAN_PERIOD, 0.0, LONGEST_REPLAN_PERIOD_S, 's'),
        cameras=_cameras(top), needs_instruction=needs_instruction, tokenizer=tokenizer,
        state_statistics=_statistics(statistics, 'state', len(joints)),
        action_statistics=_statistics(statistics, 'action', len(joints)),
        training=_training(top))


def _files(top: Section) -> tuple[BundleFile, ...]:
    content = top.raw('files')
    if not isinstance(content, dict) or MODEL_FILE not in content:
        raise top.refuse('files', f'a mapping of file names, {MODEL_FILE} among them')
    files = []
    for name, item in content.items():
        if not FILE_NAME.fullmatch(name) or name in (MANIFEST_FILE, SEAL_FILE):
            raise BundleError(
                f'{top.file}: files names {shown(name)}, expected plain names of files inside '
                f'the bundle other than {MANIFEST_FILE}')
        section = Section(top.file, f'files.{name}', item, ('sha256', 'size'))
        files.append(BundleFile(
            name, section.text('sha256', DIGEST, '64 lower-case hex digits'),
            section.count('size', 0, LARGEST_FILE, 'bytes')))
    return tuple(files)


def _tokenizer(top: Section, files: tuple[BundleFile, ...]) -> TokenizerSpec | None:
    if top.raw('tokenizer') is None:
        return None
    section = Section(
        top.file, 'tokenizer', top.raw('tokenizer'), ('file', 'max_length', 'pad_id'))
    names = [file.name for file in files if file.name != MODEL_FILE]
    if not names:
        raise section.refuse('file', 'one of files')
    return TokenizerSpec(
        section.choice('file', names), section.count('max_length', 1, 4096, 'tokens'),
        section.count('pad_id', 0, LARGEST_TOKEN_ID, '(a token)'))


def _cameras(top: Section) -> tuple[BundleCamera, ...]:
    cameras = []
    for index, item in enumerate(top.items('cameras', 'cameras')):
        section = Section(top.file, f'cameras[{index}]', item, ('name', 'width', 'height'))
        cameras.append(BundleCamera(
            section.text('name', NAME, 'a camera name'),
            section.count('width', 1, LARGEST_IMAGE, 'pixels'),
            section.count('height', 1, LARGEST_IMAGE, 'pixels')))
    _distinct(top, 'cameras', [camera.name for camera in cameras])
    return tuple(cameras)


def _statistics(parent: Section, key: str, joints: int) -> Statistics:
    section = Section(parent.file, parent.at(key), parent.raw(key), STATISTICS)
    return Statistics(*(_numbers(section, name, joints) for name in STATISTICS))


def _numbers(section: Section, key: str, count: int) -> tuple[float, ...]:
    values = section.items(key, 'numbers')
    low = 0.0 if key == 'std' else -LARGEST_STATISTIC
    if len(values) != count or not all(
            isinstance(value, int | float) and not isinstance(value, bool)
            and low <= value <= LARGEST_STATISTIC for value in values):
        raise section.refuse(key, f'{count} numbers from {low:g} to {LARGEST_STATISTIC:g}')
    return tuple(float(value) for value in values)


def _training(top: Section) -> dict[str, str]:
    content = top.raw('training')
    if not isinstance(content, dict) or not all(
            isinstance(value, str) and len(value) <= LONGEST_TEXT for value in content.values()):
        raise top.refuse('training', f'a mapping to texts of at most {LONGEST_TEXT} characters')
    return content


def _boolean(section: Section, key: str) -> bool:
    value = section.raw(key)
    if not isinstance(value, bool):
        raise section.refuse(key, 'true or false')
    return value


def _distinct(section: Section, key: str, names: list[str]) -> list[str]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BundleError(
                f'{section.file}: {key} names {shown(name)} twice, expected distinct names')
    return names


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'key {shown(twice)} stands twice')
    return content


def _no_constant(text: str) -> float:
    raise ValueError(f'{text} is no number')
