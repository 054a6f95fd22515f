"""
Check options of a command against the bounds that their fields declare.

The bounds are those of `core.settings.parameter`, so a number has one home for ROS parameters and
command-line options alike.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from chunked_vla_ros.graph.node_spec import GraphError


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
