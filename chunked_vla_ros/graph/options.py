"""
Options of a graph as a dataclass, and the same as the text that launch arguments are made of.

The descriptions of the fields are the help texts of the launch files and of ``chunked-vla up``.
Knows no graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from chunked_vla_ros.graph.node_spec import GraphError

TRUTH = {'true': True, '1': True, 'false': False, '0': False}
OptionsT = TypeVar('OptionsT')


def option(default: bool | int | float | str, doc: str) -> Any:
    """Return an option of a graph with its description."""
    return field(default=default, metadata={'doc': doc})


def entries(text: str) -> tuple[str, ...]:
    """Return what a list separated by commas contains."""
    return tuple(entry.strip() for entry in text.split(',') if entry.strip())


@dataclass(frozen=True)
class OptionText:
    """An option as a launch argument sees it: default and values are text."""

    name: str
    default: str
    doc: str


def option_texts(options: type[Any]) -> tuple[OptionText, ...]:
    """Return every option of the dataclass ``options`` as text."""
    return tuple(
        OptionText(
            spec.name,
            str(spec.default).lower() if isinstance(spec.default, bool) else str(spec.default),
            spec.metadata['doc'])
        for spec in fields(options))


def options_from_text(options: type[OptionsT], values: Mapping[str, str]) -> OptionsT:
    """
    Return the ``options`` that ``values`` describe.

    :raises GraphError: naming an argument that is no truth value or number and should be.
    """
    chosen: dict[str, Any] = dict(values)
    for spec in fields(options):    # type: ignore[arg-type]
        if isinstance(spec.default, bool) and spec.name in values:
            text = values[spec.name].lower()
            if text not in TRUTH:
                raise GraphError(
                    f'{spec.name} is {values[spec.name]!r}, expected true or false')
            chosen[spec.name] = TRUTH[text]
        elif isinstance(spec.default, (int, float)) and spec.name in values:
            try:
                chosen[spec.name] = type(spec.default)(values[spec.name])
            except ValueError:
                raise GraphError(
                    f'{spec.name} is {values[spec.name]!r}, expected a number') from None
    return options(**chosen)
