"""Policy bundles: what was written is read, and whatever differs from it is one line of error."""

import copy
import json
import os
from pathlib import Path
import shutil

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.data.bundle_json import parse_manifest, write_manifest
from chunked_vla_ros.data.policy_bundle import read_bundle, write_bundle

DIGEST = 'a' * 64
NUMBERS = {'mean': [0, 1], 'std': [1, 1], 'min': [-1, -1], 'max': [1, 1]}
VALID = {
    'schema_version': 1, 'name': 'cube-v2', 'created': '2026-01-31T12:00:00Z',
    'files': {'policy.onnx': {'sha256': DIGEST, 'size': 10},
              'tokenizer.json': {'sha256': DIGEST, 'size': 5}},
    'joint_names': ['arm', 'finger'], 'dim_kinds': ['continuous', 'binary'],
    'action': {'space': 'joint', 'reference': 'absolute', 'horizon': 16, 'step_s': 0.05},
    'cameras': [{'name': 'wrist', 'width': 8, 'height': 6}], 'needs_instruction': True,
    'tokenizer': {'file': 'tokenizer.json', 'max_length': 4, 'pad_id': 0},
    'statistics': {'state': NUMBERS, 'action': NUMBERS}, 'training': {'data': 'cubes'}}
ABSENT = object()


def changed(path, value):
    """Return the valid manifest with ``value`` at ``path``; ABSENT removes the key."""
    content = copy.deepcopy(VALID)
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content).encode()


def refusal(data):
    with pytest.raises(BundleError) as caught:
        parse_manifest(data)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def attempt(function, argument):
    """Return what ``function`` returns and '', or ``None`` and the text of its BundleError."""
    try:
        return function(argument), ''
    except BundleError as error:
        return None, str(error)


@pytest.fixture
def bundle(tmp_path, make_robot, make_bundle):
    return make_bundle(tmp_path / 'bundle', make_robot(), model=b'weights')


def unreadable(path):
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_manifest_survives_writing_and_reading():
    manifest = parse_manifest(json.dumps(VALID).encode())
    assert manifest.cameras[0].frame_shape == (6, 8, 3)
    assert parse_manifest(write_manifest(manifest)) == manifest


@pytest.mark.parametrize(('path', 'value', 'message'), [
    (('schema_version',), 2, 'schema_version is 2, expected a whole number from 1 to 1'),
    (('schema_version',), True, 'schema_version is True'),
    (('colour',), 1, "unknown key 'colour', expected schema_version, name,"),
    (('action', 'rate'), 1, "unknown key 'rate' in action"),
    (('training',), ABSENT, 'training is missing'),
    (('training',), {'seed': 1}, 'expected a mapping to texts'),
    (('name',), 'a/b', "name is 'a/b', expected a name of letters"),
    (('created',), 'yesterday', 'expected a time such as'),
    (('joint_names',), [], 'expected at least one joint'),
    (('joint_names',), ['arm', 'arm'], "joint_names names 'arm' twice"),
    (('dim_kinds',), ['continuous'], 'expected 2 of continuous, binary, wrapped'),
    (('dim_kinds', 0), 'round', 'expected 2 of continuous, binary, wrapped'),
    (('action', 'space'), 'cartesian', "action.space is 'cartesian', expected one of joint"),
    (('action', 'reference'), 'relative', 'expected one of absolute'),
    (('action', 'horizon'), 0, 'expected a whole number from 1 to 100 points'),
    (('action', 'horizon'), 101, 'points, the most that the executor takes'),
    (('action', 'step_s'), 2.0, 'expected 0.001 to 1 s'),
    (('cameras', 0, 'width'), 0, 'expected a whole number from 1 to 16384 pixels'),
    (('cameras',), VALID['cameras'] * 2, "cameras names 'wrist' twice"),
    (('needs_instruction',), 1, 'expected true or false'),
    (('tokenizer',), None, 'expected a tokenizer, as needs_instruction is true'),
    (('tokenizer', 'file'), 'policy.onnx', 'expected one of tokenizer.json'),
    (('tokenizer', 'pad_id'), -1, 'expected a whole number from 0'),
    (('statistics', 'state', 'mean'), [0], 'statistics.state.mean is [0], expected 2 numbers'),
    (('statistics', 'action', 'std'), [1, -1], 'expected 2 numbers from 0 to'),
    (('statistics', 'action', 'max'), [1, 10**400], 'expected 2 numbers from'),
    (('files', 'policy.onnx'), ABSENT, 'files is '),
    (('files', 'policy.onnx', 'sha256'), 'A' * 64, 'expected 64 lower-case hex digits'),
    (('files', 'policy.onnx', 'size'), 2_000_000_001, 'expected a whole number from 0')])
def test_a_mistake_is_named_with_what_was_expected(path, value, message):
    assert message in refusal(changed(path, value))


@pytest.mark.parametrize('name', [
    '../outside', '/etc/passwd', 'a/b', 'a\\b', '..', '.', '', '.hidden', 'nul\0', 'a\nb',
    'manifest.json', 'manifest.json.sha256'])
def test_only_plain_names_of_files_inside_the_bundle_are_taken(name):
    assert 'expected plain names of files' in refusal(
        changed(('files', name), {'sha256': DIGEST, 'size': 1}))


@pytest.mark.parametrize(('data', 'message'), [
    (b'', 'not JSON'), (b'[]', 'expected a mapping'), (b'\xff{}', 'not JSON'),
    (b'{"a": NaN}', 'NaN is no number'), (b'{"a": 1, "a": 2}', "key 'a' stands twice"),
    (b'[' * 100_000, 'not JSON'), (b' ' * 1_000_001, '1000001 bytes, expected at most 1000000'),
    (b'{"a": ' + b'9' * 5000 + b'}', 'not JSON')])
def test_what_is_no_manifest_is_refused(data, message):
    assert message in refusal(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(max_size=8), inner, max_size=4), max_leaves=8)


def paths_of(content, path=()):
    children = content.items() if isinstance(content, dict) else enumerate(content) \
        if isinstance(content, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from paths_of(value, (*path, key))


@settings(max_examples=120)
@given(st.sampled_from(list(paths_of(VALID))), JSON | st.just(ABSENT))
def test_whatever_stands_anywhere_is_taken_or_refused_in_one_line(path, value):
    manifest, error = attempt(parse_manifest, changed(path, value))
    assert '\n' not in error
    assert manifest is None or parse_manifest(write_manifest(manifest)) == manifest


@settings(max_examples=100)
@given(st.data())
def test_any_bytes_in_the_place_of_others_are_taken_or_refused_in_one_line(data):
    whole = json.dumps(VALID).encode()
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, min(len(whole), first + 9)))
    _, error = attempt(
        parse_manifest, whole[:first] + data.draw(st.binary(max_size=9)) + whole[last:])
    assert '\n' not in error


def test_a_bundle_is_read_as_it_was_written(bundle):
    assert read_bundle(bundle.directory) == bundle
    assert bundle.model == b'weights'
    assert bundle.policy_id == f'small@{bundle.manifest_sha256[:12]}'


def with_flipped_bit(whole, at, bit):
    return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1:]


@pytest.mark.parametrize('name', [
    'policy.onnx', 'tokenizer.json', 'manifest.json', 'manifest.json.sha256'])
@settings(max_examples=40, deadline=None,
          suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_refused_by_the_files_name(bundle, name, data):
    path = bundle.directory / name
    whole = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(with_flipped_bit(whole, at, bit))
    try:
        assert str(bundle.directory / name.removesuffix('.sha256')) in unreadable(
            bundle.directory)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize('key', ['"step_s": 0.0', '"horizon": ', '"mean": [\n        '])
def test_a_flipped_bit_that_leaves_a_valid_number_in_the_manifest_is_refused(bundle, key):
    path = bundle.directory / 'manifest.json'
    whole = path.read_bytes()
    changed_data = with_flipped_bit(whole, whole.index(key.encode()) + len(key), 1)
    parse_manifest(changed_data)
    path.write_bytes(changed_data)
    assert f'{path}: differs from its SHA-256' in unreadable(bundle.directory)


@pytest.mark.parametrize('name', [
    'policy.onnx', 'tokenizer.json', 'manifest.json', 'manifest.json.sha256'])
def test_a_truncated_and_a_missing_file_are_named(bundle, name):
    path = bundle.directory / name
    path.write_bytes(path.read_bytes()[:-3])
    assert str(path).removesuffix('.sha256') in unreadable(bundle.directory)
    path.unlink()
    assert f'{path}: cannot be read (No such file' in unreadable(bundle.directory)


def test_a_file_of_the_same_size_with_other_bytes_differs_from_its_hash(bundle):
    (bundle.directory / 'policy.onnx').write_bytes(b'Weights')
    assert 'policy.onnx: differs from its SHA-256' in unreadable(bundle.directory)


def test_a_link_is_not_followed_even_to_the_right_bytes(bundle, tmp_path):
    path = bundle.directory / 'policy.onnx'
    shutil.move(path, tmp_path / 'outside.onnx')
    path.symlink_to(tmp_path / 'outside.onnx')
    assert '(a link: put the file itself there)' in unreadable(bundle.directory)


def test_a_pipe_or_directory_in_a_files_place_does_not_hold_the_reader_up(bundle):
    path = bundle.directory / 'policy.onnx'
    path.unlink()
    os.mkfifo(path)
    assert 'no regular file' in unreadable(bundle.directory)
    path.unlink()
    path.mkdir()
    assert 'no regular file' in unreadable(bundle.directory)


def test_a_file_that_the_manifest_does_not_name_is_refused_unless_it_is_to_be_read(bundle):
    (bundle.directory / 'README.md').write_text('made by a test')
    read_bundle(bundle.directory)
    (bundle.directory / 'weights.bin').write_bytes(b'')
    assert 'weights.bin: not named in manifest.json; remove it' in unreadable(bundle.directory)


@pytest.mark.parametrize('path', ['absent', 'a\0b', __file__])
def test_what_is_no_directory_is_no_bundle(tmp_path, path):
    assert 'no bundle' in unreadable(tmp_path / path)


def test_a_model_larger_than_the_format_allows_is_refused_before_it_is_read(bundle):
    with (bundle.directory / 'policy.onnx').open('r+b') as file:
        file.truncate(2_000_000_001)    # sparse: takes no space
    assert '2000000001 bytes, expected at most 2000000000' in unreadable(bundle.directory)


def test_an_existing_bundle_is_never_overwritten(bundle):
    with pytest.raises(BundleError, match='exists already'):
        write_bundle(bundle.directory, bundle.manifest, {'policy.onnx': b''})
    assert read_bundle(bundle.directory) == bundle


def test_a_bundle_that_would_be_refused_leaves_nothing_behind(bundle, tmp_path):
    with pytest.raises(BundleError, match='expected one of files'):
        write_bundle(tmp_path / 'new', bundle.manifest, {'policy.onnx': b''})
    with pytest.raises(BundleError, match='expected plain names'):
        write_bundle(tmp_path / 'new', bundle.manifest, {
            'policy.onnx': b'', 'tokenizer.json': b'', '../escaped': b'x'})
    with pytest.raises(BundleError, match='cannot be written'):
        write_bundle(Path(__file__, 'new'), bundle.manifest, {
            'policy.onnx': b'', 'tokenizer.json': b''})
    assert [path.name for path in tmp_path.iterdir()] == ['bundle']
