"""
Start the train graph: the offline trainer, at once with a job where one is named.

The nodes are described in chunked_vla_ros.graph; chunked_vla_ros.launching makes launch actions of
them.
"""

from launch import LaunchDescription

from chunked_vla_ros.graph.train import train_graph, TrainOptions
from chunked_vla_ros.launching import launch_description


def generate_launch_description() -> LaunchDescription:
    """Declare one argument for each option of the graph, then start the graph."""
    return launch_description(TrainOptions, train_graph)
