"""
Read one mapping of a contract file strictly: every key known, present, of its type, in its range.

Every mistake becomes a `ContractError` of one line that names file, key path, found and expected
value. Knows nothing about robots.
"""

from __future__ import annotations

from collections.abc import Collection
import math
import re
from typing import Any

TOPIC = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')
NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]*')


class ContractError(ValueError):
    """A robot contract cannot be used; the message is one line with file, key and remedy."""


def shown(value: object) -> str:
    """Return ``value`` as it is quoted in an error, shortened to fit a line."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + '...'


class Section:
    """
    A mapping at ``path`` in ``file`` that has all of ``required`` and nothing beyond ``optional``.

    :raises ContractError: if it is no mapping, lacks a key or has one too many.
    """

    def __init__(self, file: str, path: str, content: Any, required: Collection[str],
                 optional: Collection[str] = ()) -> None:
        self.file, self.path = file, path
        keys = ', '.join([*required, *optional])
        if not isinstance(content, dict):
            raise ContractError(
                f'{file}: {path or "the file"} is {shown(content)}, expected a mapping of {keys}')
        for key in content:
            if key not in required and key not in optional:
                where = f' in {path}' if path else ''
                raise ContractError(f'{file}: unknown key {shown(key)}{where}, expected {keys}')
        for key in required:
            if key not in content:
                raise ContractError(f'{file}: {self.at(key)} is missing')
        self._content = content

    def at(self, key: str) -> str:
        """Return the path of ``key`` as it is named in errors."""
        return f'{self.path}.{key}' if self.path else key

    def refuse(self, key: str, expected: str) -> ContractError:
        """Return the error that says what was found at ``key`` and what was expected."""
        return ContractError(
            f'{self.file}: {self.at(key)} is {shown(self._content.get(key))}, '
            f'expected {expected}')

    def raw(self, key: str) -> Any:
        """Return the unchecked value, ``None`` where an optional key is absent."""
        return self._content.get(key)

    def number(self, key: str, low: float, high: float, unit: str) -> float:
        """Return a finite number from ``low`` to ``high``."""
        value = self._content[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, f'a number in {unit}')
        # Compared before the conversion: an integer may be too long for a float.
        if not low <= value <= high or not math.isfinite(value):
            raise self.refuse(key, f'{low:g} to {high:g} {unit}')
        return float(value)

    def count(self, key: str, low: int, high: int, unit: str) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self._content[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(key, f'a whole number from {low} to {high} {unit}')
        return value

    def text(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        """Return a string that matches ``pattern`` as a whole."""
        value = self._content[key]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.refuse(key, expected)
        return value

    def choice(self, key: str, choices: Collection[str]) -> str:
        """Return a string that is one of ``choices``."""
        value = self._content[key]
        if not isinstance(value, str) or value not in choices:
            raise self.refuse(key, f'one of {", ".join(choices)}')
        return value

    def texts(self, key: str, pattern: re.Pattern[str], what: str) -> list[str]:
        """Return a list of strings that match ``pattern`` as a whole."""
        values = self.items(key, what)
        if not all(isinstance(value, str) and pattern.fullmatch(value) for value in values):
            raise self.refuse(key, f'a list of {what}')
        return values

    def items(self, key: str, what: str) -> list[Any]:
        """Return a list."""
        value = self._content[key]
        if not isinstance(value, list):
            raise self.refuse(key, f'a list of {what}')
        return value
