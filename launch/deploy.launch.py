"""
Start the deploy graph: robot (simulated or real), inference and chunk executor.

The nodes are described in chunked_vla_ros.graph; this file only turns them into launch actions.
"""

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from chunked_vla_ros.graph.deploy import deploy_graph, option_texts, options_from_text
from chunked_vla_ros.graph.node_spec import NodeSpec, PACKAGE, USAGE_EXIT_CODE


def generate_launch_description() -> LaunchDescription:
    """Declare one argument for each option of the graph, then start the graph."""
    arguments = [
        DeclareLaunchArgument(option.name, default_value=option.default, description=option.doc)
        for option in option_texts()]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    """Return the nodes for the values that the arguments have in ``context``."""
    chosen = {option.name: LaunchConfiguration(option.name).perform(context)
              for option in option_texts()}
    return [_action(spec) for spec in deploy_graph(options_from_text(chosen))]


def _action(spec: NodeSpec) -> Node:
    return Node(
        package=PACKAGE, executable=spec.executable, name=spec.name,
        namespace=spec.namespace or None, remappings=list(spec.remappings),
        # Not `parameters=`: what is passed there loses to a section of a parameter file.
        ros_arguments=spec.parameter_arguments(), additional_env=dict(spec.environment),
        respawn=spec.respawn, respawn_delay=spec.respawn_delay_s, output='screen',
        on_exit=_on_exit(spec))


def _on_exit(spec: NodeSpec) -> Any:
    """Return what ends the graph when ``spec``'s process ended and must not be started again."""
    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown or (spec.respawn and event.returncode != USAGE_EXIT_CODE):
            return None
        return Shutdown(reason=f'{spec.name} ended with exit code {event.returncode}')
    return on_exit
