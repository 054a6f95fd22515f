"""
One node of a graph, as data that both launch_ros and our supervisor start from.

Knows how ROS writes arguments on a command line; knows nothing about processes or rclpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
import re
import types

PACKAGE = 'chunked_vla_ros'
USAGE_EXIT_CODE = 2
NAMESPACE = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')

ParameterValue = bool | int | float | str | tuple[str, ...]


class GraphError(ValueError):
    """A graph cannot be described or started; the message is one line with the remedy."""


@dataclass(frozen=True)
class NodeSpec:
    """
    A process with one node in it.

    :ivar executable: File in ``lib/chunked_vla_ros``.
    :ivar name: Node name.
    :ivar namespace: Namespace without a leading slash, or empty.
    :ivar parameter_files: Applied in this order.
    :ivar parameters: Applied after the files.
    :ivar remappings: Pairs (from, to).
    :ivar respawn: Whether a process that died is started again.
    :ivar respawn_delay_s: Pause before that in [s].
    :ivar stop_patience_s: From an interrupt to being made to end in [s].
    :ivar required: Whether the graph ends with this process.
    :ivar environment: Variables added to the process's environment.
    :ivar keys: Whether it reads keys from the terminal that the graph was started in.
    """

    executable: str
    name: str
    namespace: str = ''
    parameter_files: tuple[str, ...] = ()
    parameters: Mapping[str, ParameterValue] = field(
        default_factory=lambda: types.MappingProxyType({}))
    remappings: tuple[tuple[str, str], ...] = ()
    respawn: bool = False
    respawn_delay_s: float = 1.0
    stop_patience_s: float = 5.0
    required: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: types.MappingProxyType({}))
    log_level: str = 'info'
    keys: bool = False

    def __post_init__(self) -> None:
        if self.namespace and not NAMESPACE.fullmatch(self.namespace):
            raise GraphError(
                f'namespace {self.namespace!r}, expected names of letters, digits and _ '
                'separated by /')
        if self.respawn and self.required:
            raise GraphError(f'{self.name} cannot be both respawned and required')

    @property
    def module(self) -> str:
        """Return the module whose ``main`` the executable calls."""
        return f'{PACKAGE}.nodes.{self.executable}'

    def parameter_arguments(self) -> list[str]:
        """
        Return parameters and log level as command-line arguments, to follow ``--ros-args``.

        ``-p`` after the files wins over them in any namespace; a section ``name:`` of a file does
        not even apply in a namespace (tried: only ``/**:`` and ``/**/name:`` do).
        """
        arguments = []
        for path in self.parameter_files:
            arguments += ['--params-file', path]
        for name, value in self.parameters.items():
            # JSON is YAML of the same type: '1' stays text, true a truth value, a tuple a list.
            arguments += ['-p', f'{name}:={json.dumps(value)}']
        return [*arguments, '--log-level', self.log_level]

    def ros_arguments(self) -> list[str]:
        """Return everything that follows the executable on a command line."""
        arguments = ['--ros-args', '-r', f'__node:={self.name}']
        if self.namespace:
            arguments += ['-r', f'__ns:=/{self.namespace.strip("/")}']
        for origin, target in self.remappings:
            arguments += ['-r', f'{origin}:={target}']
        return arguments + self.parameter_arguments()
