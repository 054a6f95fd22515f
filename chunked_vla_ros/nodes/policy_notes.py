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
from chunked_vla_ros.nodes.polled import Polled


class PolicyNotes:
    """Publish the note of each plan that was sent, unless it is the run's same as before."""

    def __init__(self, node: Node) -> None:
        self._node, self._episode_id = node, ''
        self._last = ('', '')
        self._publisher = node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        self._news = Polled(node, EpisodeEvent, 'episode_event', qos.EVENT)

    def plan_sent(self, plan: ActionPlan, session_id: str, observation_ns: int) -> None:
        """
        Note what ``plan``, made of the observation at ``observation_ns``, is for.

        :param session_id: The run's: one that begins with what ended the last one says so.
        """
        latest = (session_id, plan.note)
        if plan.note and latest != self._last:
            # Of the episode that was spoken of last, as its recorder or its robot calls it.
            for news in self._news.take():
                self._episode_id = news.episode_id or self._episode_id
            event = EpisodeEvent(
                type=EpisodeEvent.NOTE, episode_id=self._episode_id, text=plan.note,
                source=self._node.get_name())
            event.header.stamp = ns_to_stamp(observation_ns)
            self._publisher.publish(event)
        self._last = latest

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_publisher(self._publisher)
        self._news.destroy()
