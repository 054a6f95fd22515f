"""
Derive ROS parameters from a frozen dataclass: description, range and default have one home.

Fields are made by `core.settings.parameter`, which carries description, bounds and choices.
Unknown names in this node's own section of a parameter file are refused, as rclpy ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import Field, fields, MISSING
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
import yaml

from chunked_vla_ros.core.settings import parameter

__all__ = ['ParameterError', 'declare', 'parameter']

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar('ConfigT', bound='DataclassInstance')
FRAMEWORK_PARAMETERS = frozenset({'use_sim_time', 'start_type_description_service'})


class ParameterError(ValueError):
    """A parameter is unknown, of the wrong type or out of range; the message is one line."""


def declare(node: Node, config_type: type[ConfigT], argv: Sequence[str] | None = None) -> ConfigT:
    """
    Declare every field of ``config_type`` on ``node`` and return the values in force.

    :raises ParameterError: naming node, parameter, found and expected value.
    """
    _refuse_unknown(node, {f.name for f in fields(config_type)}, argv or sys.argv)
    values = {}
    for spec in fields(config_type):
        try:
            value = node.declare_parameter(spec.name, spec.default, _descriptor(spec)).value
        except ParameterException as error:
            raise ParameterError(f'{node.get_name()}: {_explain(node, spec, error)}') from error
        choices = spec.metadata['choices']
        if choices and value not in choices:
            raise ParameterError(
                f'{node.get_name()}: parameter {spec.name} is {value!r}, expected one of '
                f'{", ".join(choices)}')
        values[spec.name] = value
    return config_type(**values)


def _descriptor(spec: Field[Any]) -> ParameterDescriptor:
    if spec.default is MISSING:
        raise TypeError(f'{spec.name} needs a default')
    low, high = spec.metadata['min'], spec.metadata['max']
    # A running arm must not change its rates and limits under way: restart to change.
    descriptor = ParameterDescriptor(description=spec.metadata['doc'], read_only=True)
    if spec.metadata['choices']:
        descriptor.additional_constraints = 'one of ' + ', '.join(spec.metadata['choices'])
    if low is not None and isinstance(spec.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def _explain(node: Node, spec: Field[Any], error: Exception) -> str:
    override = node._parameter_overrides.get(spec.name)  # noqa: SLF001 - the only way to see it
    found = 'unset' if override is None else repr(override.value)
    expected = type(spec.default).__name__
    if spec.metadata['min'] is not None:
        expected += f' from {spec.metadata["min"]} to {spec.metadata["max"]}'
    return f'parameter {spec.name} is {found}, expected {expected}'


def _refuse_unknown(node: Node, known: set[str], argv: Sequence[str]) -> None:
    for origin, name in _own_names(node, argv):
        if name not in known | FRAMEWORK_PARAMETERS and not name.startswith('qos_overrides.'):
            raise ParameterError(
                f'{node.get_name()}: unknown parameter {name} in {origin}, expected one of '
                f'{", ".join(sorted(known))}')


def _own_names(node: Node, argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (origin, name) of parameters addressed to this node alone; /** is exempt."""
    for flag, value in zip(argv, argv[1:], strict=False):
        if flag in ('-p', '--param'):
            yield 'the command line', value.partition(':=')[0].rpartition(':')[2]
        elif flag == '--params-file':
            content = yaml.safe_load(Path(value).read_text()) or {}
            for section in _own_sections(node, content):
                for name in section:
                    yield value, name


def _own_sections(node: Node, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name, namespace = node.get_name(), node.get_namespace().strip('/')
    for key, body in content.items():
        if key.strip('/') in (name, f'**/{name}', f'{namespace}/{name}'.strip('/')):
            yield (body or {}).get('ros__parameters') or {}
        elif namespace and key.strip('/') == namespace:
            yield ((body or {}).get(name) or {}).get('ros__parameters') or {}
