"""
Make a description for `ros2 launch` of a graph of ours: options become arguments, nodes actions.

Imported by the files in launch/ only, because launch is not installed everywhere. Knows no
particular graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from chunked_vla_ros.graph.node_spec import NodeSpec, PACKAGE, USAGE_EXIT_CODE
from chunked_vla_ros.graph.options import option_texts, options_from_text

OptionsT = TypeVar('OptionsT')


def launch_description(options: type[OptionsT],
                       graph: Callable[[OptionsT], Sequence[NodeSpec]]) -> LaunchDescription:
    """Declare one argument for each field of ``options``, then start ``graph`` with them."""
    texts = option_texts(options)

    def start(context: LaunchContext) -> list[Node]:
        chosen = {option.name: LaunchConfiguration(option.name).perform(context)
                  for option in texts}
        return [_action(spec) for spec in graph(options_from_text(options, chosen))]

    arguments = [
        DeclareLaunchArgument(option.name, default_value=option.default, description=option.doc)
        for option in texts]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def _action(spec: NodeSpec) -> Node:
    return Node(
        package=PACKAGE, executable=spec.executable, name=spec.name,
        namespace=spec.namespace or None, remappings=list(spec.remappings),
        # Not `parameters=`: what is passed there loses to a section of a parameter file.
        ros_arguments=spec.parameter_arguments(), additional_env=dict(spec.environment),
        respawn=spec.respawn, respawn_delay=spec.respawn_delay_s, output='screen',
        # launch's own name for it: `sigterm_timeout:=` on the command line still wins.
        sigterm_timeout=LaunchConfiguration('sigterm_timeout', default=str(spec.stop_patience_s)),
        on_exit=_on_exit(spec))


def _on_exit(spec: NodeSpec) -> Any:
    """Return what ends the graph when ``spec``'s process ended and must not be started again."""
    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown or (spec.respawn and event.returncode != USAGE_EXIT_CODE):
            return None
        return Shutdown(reason=f'{spec.name} ended with exit code {event.returncode}')
    return on_exit
