"""
Start the deploy graph: robot (simulated or real), inference and chunk executor.

The nodes are described in chunked_vla_ros.graph; chunked_vla_ros.launching makes launch actions of
them.
"""

from launch import LaunchDescription

from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    """Declare one argument for each option of the graph, then start the graph."""
    return launch_description(DeployOptions, deploy_graph)
