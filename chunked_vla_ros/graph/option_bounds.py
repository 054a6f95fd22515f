"""
Options of a command against the bounds that their fields declare, and as they would be typed.

The bounds are those of `core.settings.parameter`, so a number has one home for ROS parameters and
command-line options alike.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
import shlex
from typing import Any

from chunked_vla_ros.graph.node_spec import GraphError

# Where a command runs and writes says nothing of what it does.
PLACES = ('domain_id', 'json', 'out')


def flag(name: str) -> str:
    """Return a field's name as it is written on the command line."""
    return f'--{name.replace("_", "-")}'


def check_bounds(options: Any) -> None:
    """
    Check every field of the dataclass ``options`` that has bounds or choices.

    :raises GraphError: one line that names the option, its value and what is expected.
    """
    for spec in fields(options):
        value, low = getattr(options, spec.name), spec.metadata['min']
        choices = spec.metadata['choices']
        if low is not None and not low <= value <= spec.metadata['max']:
            raise GraphError(
                f'{flag(spec.name)} is {value}, expected {low} to {spec.metadata["max"]}')
        if choices and value not in choices:
            raise GraphError(
                f'{flag(spec.name)} is {value!r}, expected one of {", ".join(choices)}')


def command_line(options: Any, *words: str, without: Collection[str] = PLACES) -> str:
    """Return the call of ``chunked-vla`` with ``words`` that does again what ``options`` say."""
    line = ['chunked-vla', *words]
    for spec in fields(options):
        value = getattr(options, spec.name)
        if value != spec.default and spec.name not in without:
            if isinstance(value, bool):
                line.append(flag(spec.name if value else f'no_{spec.name}'))
            else:
                line += [flag(spec.name), *(
                    map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(line)
