"""docs/training.md tells of every key of a configuration, with its default."""

from dataclasses import fields, is_dataclass, MISSING
from pathlib import Path
import re
from typing import Any

import pytest

from chunked_vla_ros.training.config import TrainConfig

WORDS = (Path(__file__).parents[2] / 'docs' / 'training.md').read_text()


def keys(kind: type, prefix: str = '') -> list[tuple[str, Any]]:
    found = []
    for spec in fields(kind):
        if is_dataclass(spec.default_factory):
            found += keys(spec.default_factory, f'{spec.name}.')
        else:
            assert spec.default is not MISSING
            found.append((f'{prefix}{spec.name}', spec.default))
    return found


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f'{value:g}'
    return {(): '[]', '': "''"}.get(value, str(value))


@pytest.mark.parametrize(('key', 'default'), keys(TrainConfig))
def test_every_key_is_told_with_its_default(key, default):
    assert f'| `{key}` | `{written(default)}` | ' in WORDS


def test_no_key_is_told_that_there_is_not():
    told = re.findall(r'^\| `([a-z_.]+)` \| `[^`]*` \| ', WORDS, re.MULTILINE)
    assert told == [key for key, _ in keys(TrainConfig)]
