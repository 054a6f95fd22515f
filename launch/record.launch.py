"""
Start the record graph: robot (simulated or real), executor, whoever demonstrates, recorder.

The nodes are described in chunked_vla_ros.graph; chunked_vla_ros.launching makes launch actions of
them.
"""

from launch import LaunchDescription

from chunked_vla_ros.graph.record import record_graph, RecordOptions
from chunked_vla_ros.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    """Declare one argument for each option of the graph, then start the graph."""
    return launch_description(RecordOptions, record_graph)
