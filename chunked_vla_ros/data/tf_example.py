"""
A ``tf.train.Example``: named lists of floats, whole numbers or bytes, read without TensorFlow.

Knows no episode and no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.data.protobuf_wire import floats, integers, LENGTH, wire_fields, WireError

FeatureValue = NDArray[np.float32] | NDArray[np.int64] | tuple[memoryview, ...]
BYTES, FLOATS, INTEGERS = 1, 2, 3
MOST_FEATURES = 10_000
# Each entry costs a hundred times the two bytes that an empty one takes in the file.
MOST_ENTRIES = 200_000


def parse_example(data: bytes) -> Mapping[str, FeatureValue]:
    """
    Return every feature by name: floats (N,), whole numbers (N,), or N views of bytes.

    :raises WireError: one line that says why it is none.
    """
    features: dict[str, FeatureValue] = {}
    for number, kind, value in wire_fields(memoryview(data)):
        if number != 1:
            continue
        for inner, entry in _messages(_view(kind, value)):
            if inner != 1:
                continue
            name, feature = _entry(entry)
            if name in features:
                raise WireError(f'feature {name[:80]!r} stands twice')
            features[name] = feature
            if len(features) > MOST_FEATURES:
                raise WireError(f'has more than {MOST_FEATURES} features')
    return features


def _view(kind: int, value: int | memoryview) -> memoryview:
    if kind != LENGTH or isinstance(value, int):
        raise WireError(f'wire type {kind}, expected a message')
    return value


def _messages(data: memoryview) -> list[tuple[int, memoryview]]:
    found = []
    for number, kind, value in wire_fields(data):
        found.append((number, _view(kind, value)))
        if len(found) > MOST_ENTRIES:
            raise WireError(f'a list has more than {MOST_ENTRIES} entries')
    return found


def _entry(data: memoryview) -> tuple[str, FeatureValue]:
    """Return one entry of the map: key is field 1, value is field 2."""
    parts = dict(_messages(data))
    if not set(parts) <= {1, 2} or 1 not in parts:
        raise WireError(f'a feature has fields {sorted(parts)}, expected name and value')
    try:
        name = bytes(parts[1]).decode('utf-8')
    except UnicodeDecodeError:
        raise WireError('the name of a feature is not UTF-8') from None
    try:
        return name, _feature(parts.get(2, memoryview(b'')))
    except WireError as error:
        raise WireError(f'feature {name[:80]!r}: {error}') from None


def _feature(data: memoryview) -> FeatureValue:
    lists = _messages(data)
    if not lists:
        return ()
    if len(lists) != 1 or lists[0][0] not in (BYTES, FLOATS, INTEGERS):
        raise WireError(
            f'has lists {[number for number, _ in lists][:10]}, expected one of 1 to 3')
    (kind, content), = lists
    if kind == BYTES:
        return tuple(view for number, view in _messages(content) if number == 1)
    parts: list[tuple[int, int | memoryview]] = []
    for number, wire, value in wire_fields(content):
        if number == 1:
            parts.append((wire, value))
            if len(parts) > MOST_ENTRIES:
                raise WireError(f'a list has more than {MOST_ENTRIES} parts, expected it packed')
    return floats(parts) if kind == FLOATS else integers(parts)
