"""
An action server whose goals stay open while callbacks go on, and end when their owner says so.

rclpy's own way, a blocking or an awaiting execute callback, would stop a single-threaded executor
or make it poll without a pause. Knows nothing about what the actions are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle


class DeferredActionServer(ActionServer):
    """Execute a goal when told how, not when it starts."""

    def notify_execute(self, goal_handle: ServerGoalHandle,
                       execute_callback: Callable[[Any], Any] | None) -> None:
        """Schedule ``execute_callback`` if there is one yet."""
        if execute_callback is not None:
            super().notify_execute(goal_handle, execute_callback)
