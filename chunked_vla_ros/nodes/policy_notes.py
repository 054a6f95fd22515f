"""
Mark on the episode's time line what a policy says of its plans: phases, and what disturbs it.

Published as EpisodeEvent.NOTE when it changes. Knows nothing about what the words mean.
"""

from __future__ import annotations

from rclpy.node import Node

from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import ns_to_stamp


class PolicyNotes:
    """Publish the note of each plan that was sent, unless it is the same as before."""

    def __init__(self, node: Node) -> None:
        self._node, self._last = node, ''
        self._publisher = node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)

    def plan_sent(self, plan: ActionPlan, observation_ns: int) -> None:
        """Note what ``plan``, made of the observation at ``observation_ns``, is for."""
        if plan.note and plan.note != self._last:
            event = EpisodeEvent(
                type=EpisodeEvent.NOTE, text=plan.note, source=self._node.get_name())
            event.header.stamp = ns_to_stamp(observation_ns)
            self._publisher.publish(event)
        self._last = plan.note

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_publisher(self._publisher)
