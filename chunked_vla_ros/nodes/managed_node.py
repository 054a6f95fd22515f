"""
The lifecycle node that all managed nodes of the package derive from.

Adds what rclpy leaves out: an exception in a transition is logged before the node reports ERROR,
and ``autostart`` lets the node configure and activate itself, so that a respawned process comes
back without a supervisor. Knows nothing about what the node does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.client import Client
from rclpy.guard_condition import GuardCondition
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer


class ManagedNode(LifecycleNode):
    """Subclasses override `configure`, `activate`, `deactivate`, `cleanup`; failure raises."""

    def configure(self) -> None:
        """Create publishers, subscriptions and services; read files."""

    def activate(self) -> None:
        """Start to act."""

    def deactivate(self) -> None:
        """Stop acting; the arm ends at rest."""

    def cleanup(self) -> None:
        """Release what `configure` made."""

    def close(self) -> None:
        """Finish in order from whatever state the node is in."""
        state = self._state_machine.current_state[1]
        if state == 'active':
            self.trigger_deactivate()
        if state in ('active', 'inactive'):
            self.trigger_cleanup()

    def start(self, autostart: bool) -> None:
        """Configure and activate now if ``autostart``; else wait for a lifecycle manager."""
        if autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition; logs what rclpy would swallow."""
        self._before_configure = self._entities()
        return self._guarded(self.configure, lambda: None)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition; managed publishers open before the node acts."""
        return self._guarded(lambda: super(ManagedNode, self).on_activate(state), self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition; the node stops acting before managed publishers close."""
        return self._guarded(
            self.deactivate, lambda: super(ManagedNode, self).on_deactivate(state))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        return self._guarded(self.cleanup, lambda: None)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition from any state: the same order as `close`."""
        steps = (self.deactivate, self.cleanup) if state.label == 'active' else (
            (self.cleanup,) if state.label == 'inactive' else ())
        return self._guarded(*steps)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave nothing of a transition that failed: the next one starts afresh."""
        for step in (self.deactivate, self.cleanup):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - half of it was never made
                self.get_logger().debug(f'after an error: {error!r}')
        for entity in self._entities() - self._before_configure:
            self._destroy(entity)
        return TransitionCallbackReturn.SUCCESS

    def _entities(self) -> set[Any]:
        return {*self.publishers, *self.subscriptions, *self.services, *self.clients,
                *self.timers, *self.guards, *self.waitables}

    def _destroy(self, entity: Any) -> None:
        for kind, destroy in (
                (Publisher, self.destroy_publisher), (Subscription, self.destroy_subscription),
                (Service, self.destroy_service), (Client, self.destroy_client),
                (Timer, self.destroy_timer), (GuardCondition, self.destroy_guard_condition)):
            if isinstance(entity, kind):
                destroy(entity)
                return
        entity.destroy()    # an action's server

    def _guarded(self, *steps: Callable[[], object]) -> TransitionCallbackReturn:
        try:
            for step in steps:
                step()
        except Exception as error:  # noqa: BLE001 - the transition boundary: logged, reported
            self.get_logger().error(f'{type(error).__name__}: {error}')
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS
