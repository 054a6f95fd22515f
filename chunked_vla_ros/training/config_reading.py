"""
Fill a frozen dataclass from a mapping of YAML, strictly: no key unknown, no value out of place.

Bounds and choices stand at the fields (`core.settings.parameter`); a mistake is one line that
names file, key, found and expected value. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass, MISSING
import math
import types
from typing import Any, get_args, get_origin, get_type_hints, TypeVar, Union

import yaml

T = TypeVar('T')
WORDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}


class ConfigError(ValueError):
    """A training configuration cannot be used; one line with file, key and remedy."""


class _OnceEach(yaml.SafeLoader):
    """PyYAML lets the second value of a key win silently; here it is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, unless a key stands twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f'key {twice!r} stands twice', node.start_mark)
        return super().construct_mapping(node, deep)


def parse_mapping(text: str, file: str) -> dict[str, Any]:
    """
    Return the mapping that ``text``, YAML, holds; ``file`` is its name in errors.

    :raises ConfigError: it holds none.
    """
    try:
        content = yaml.load(text, Loader=_OnceEach)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f'{file}: not YAML: {_reason(error)}') from error
    if not isinstance(content, dict):
        raise ConfigError(f'{file}: is {_shown(content)}, expected a mapping of keys to values')
    return content


def override(content: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """
    Return ``content`` with each of ``assignments``, such as ``policy.width=96``, in its place.

    Only the form is checked here: whether there is such a key, `fill` knows.

    :raises ConfigError: an assignment has not the form KEY=VALUE.
    """
    changed = {key: dict(value) if isinstance(value, dict) else value
               for key, value in content.items()}
    for assignment in assignments:
        path, separator, written = assignment.partition('=')
        *sections, key = path.strip().split('.')
        if not separator or not all((*sections, key)):
            raise ConfigError(f'--set {assignment}: expected KEY=VALUE, such as policy.width=96')
        try:
            value = yaml.load(written, Loader=_OnceEach)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f'--set {assignment}: not YAML: {_reason(error)}') from error
        place = changed
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f'--set {assignment}: {section} has no keys of its own')
            place = inner
        place[key] = value
    return changed


def over(content: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content``, and where it is silent, in its sections too, what is ``below``."""
    merged = {**below, **content}
    for key, value in below.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            merged[key] = over(content[key], value)
    return merged


def fill(kind: type[T], content: Any, file: str) -> T:
    """
    Return a ``kind``, a dataclass, of the values in ``content``; what is left out is the default.

    :raises ConfigError: one line: file, key, what was found and what was expected.
    """
    return _fill(kind, content, file, '')


def check(kind: type[Any], content: Mapping[str, Any], file: str) -> None:
    """
    Do nothing if each of the values in ``content`` may stand in a ``kind``.

    What only holds of several of them together is not asked: another may yet be put in its place.

    :raises ConfigError: as of `fill`.
    """
    _values(kind, content, file, '')


def _fill(kind: type[T], content: Any, file: str, path: str) -> T:
    values = _values(kind, content, file, path)
    missing = [spec.name for spec in fields(kind)    # type: ignore[arg-type]
               if spec.name not in values and spec.default is MISSING
               and spec.default_factory is MISSING]
    if missing:
        raise ConfigError(f'{file}: {_at(path, missing[0])} is missing')
    try:
        return kind(**values)
    except ConfigError:
        raise
    except ValueError as error:    # a rule of the dataclass itself, about several fields
        raise ConfigError(f'{file}: {path + ": " if path else ""}{error}') from error


def _values(kind: type[Any], content: Any, file: str, path: str) -> dict[str, Any]:
    specs = {spec.name: spec for spec in fields(kind)}
    hints = get_type_hints(kind)
    if not isinstance(content, dict):
        raise ConfigError(f'{file}: {path} is {_shown(content)}, '
                          f'expected a mapping of {", ".join(specs)}')
    for key in content:
        if key not in specs:
            where = f' in {path}' if path else ''
            raise ConfigError(
                f'{file}: unknown key {_shown(key)}{where}, expected {", ".join(specs)}')
    return {name: _value(found, hints[name], specs[name], file, _at(path, name))
            for name, found in content.items()}


def _at(path: str, key: str) -> str:
    return f'{path}.{key}' if path else key


def _value(found: Any, hint: Any, spec: Field[Any], file: str, at: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return _fill(hint, found, file, at)
    if get_origin(hint) is tuple:
        if not isinstance(found, list | tuple):
            raise ConfigError(f'{file}: {at} is {_shown(found)}, expected a list')
        return tuple(_scalar(one, _kinds(get_args(hint)[0]), spec, file, f'{at}[{index}]')
                     for index, one in enumerate(found))
    return _scalar(found, _kinds(hint), spec, file, at)


def _kinds(hint: Any) -> tuple[type, ...]:
    """Return the types that a value of ``hint`` may have."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _scalar(found: Any, kinds: tuple[type, ...], spec: Field[Any], file: str, at: str) -> Any:
    choices = spec.metadata.get('choices', ())
    if found is False and 'no' in choices:
        found = 'no'    # YAML 1.1, PyYAML's, takes the word for false
    value = next((one for one in (_as(found, kind) for kind in kinds) if one is not None), None)
    low, high = spec.metadata.get('min'), spec.metadata.get('max')
    words = ' or '.join(WORDS.get(kind, kind.__name__) for kind in kinds)
    expected = f'one of {", ".join(choices)}' if choices else words
    bounded = low is not None or high is not None
    if bounded:
        expected += ('' if low is None else f' from {low:g}') + (
            '' if high is None else f' to {high:g}')
    if value is None or (choices and value not in choices) or (bounded and not (
            (low is None or low <= value) and (high is None or value <= high))):
        raise ConfigError(f'{file}: {at} is {_shown(found)}, expected {expected}')
    return value


def _as(found: Any, kind: type) -> Any:
    """Return ``found`` as ``kind``, ``None`` if it is of another one."""
    if kind is float and isinstance(found, str):
        # YAML 1.1, PyYAML's, takes 1e-4 for a text, as it has no point.
        try:
            found = float(found)
        except ValueError:
            return None
    if kind is float and type(found) in (int, float):
        try:
            return float(found) if math.isfinite(found) else None
        except OverflowError:
            return None
    return found if type(found) is kind else None


def _shown(value: object) -> str:
    text = ' '.join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + '...'


def _reason(error: Exception) -> str:
    mark = getattr(error, 'problem_mark', None)
    where = f', line {mark.line + 1} column {mark.column + 1}' if mark else ''
    return ' '.join(f'{getattr(error, "problem", None) or error}{where}'.split())
