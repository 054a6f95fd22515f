"""
Which features an RLDS dataset has, from its ``features.json``: names, kinds and shapes.

Other than that file's word nothing is known; without it the first episode tells. Knows no record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.data.dataset import cause, DatasetError

FEATURES_FILE = 'features.json'
DEEPEST = 20
LARGEST_FILE = 16 << 20


@dataclass(frozen=True)
class RldsFeature:
    """
    One feature of the flattened example, ``steps/observation/state``.

    :ivar kind: 'tensor', 'image' or 'text'.
    :ivar width: Numbers in each step.
    """

    name: str
    kind: str
    width: int


def read_features(root: Path) -> dict[str, RldsFeature] | None:
    """
    Return the features by name, or ``None`` where the dataset has no such file.

    :raises DatasetError: one line that names the file and what was expected.
    """
    file = root / FEATURES_FILE
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DatasetError(f'{file}: is larger than {LARGEST_FILE} bytes, expected a list')
        content = json.loads(file.read_text(encoding='utf-8'))
        found = {each.name: each for each in _leaves('', content, 0)}
    except (OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f'{file}: lists no features ({cause(error)}), expected those that '
                           'tensorflow_datasets writes') from error
    if not any(name.startswith('steps/') for name in found):
        raise DatasetError(f'{file}: lists nothing below "steps", expected an RLDS dataset')
    return found


def _leaves(name: str, node: Any, depth: int) -> Iterator[RldsFeature]:
    if depth > DEEPEST or not isinstance(node, dict):
        raise ValueError(f'{name or "top"} is no feature')
    if 'featuresDict' in node:
        for key, inner in node['featuresDict']['features'].items():
            yield from _leaves(f'{name}/{key}' if name else key, inner, depth + 1)
    elif 'sequence' in node and 'feature' in node['sequence']:
        yield from _leaves(name, node['sequence']['feature'], depth + 1)
    elif 'image' in node:
        yield RldsFeature(name, 'image', 1)
    elif 'text' in node:
        yield RldsFeature(name, 'text', 1)
    elif 'tensor' in node:
        sizes = [int(size) for size in node['tensor'].get('shape', {}).get('dimensions', [])]
        plain = all(0 < size < 1 << 20 for size in sizes) and math.prod(sizes) < 1 << 20
        encoded = node['tensor'].get('encoding', 'none') != 'none'
        yield RldsFeature(name, 'tensor' if plain and not encoded else 'other',
                          math.prod(sizes) if plain else 0)
    else:
        yield RldsFeature(name, 'other', 0)
