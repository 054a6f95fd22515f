"""The ROS graph, described once: for launch files and for our own process supervisor."""

from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor

__all__ = ['DeployOptions', 'GraphError', 'NodeSpec', 'Supervisor', 'deploy_graph']
