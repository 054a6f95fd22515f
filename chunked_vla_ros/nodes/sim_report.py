"""What sim_node says of itself on /diagnostics: does time keep up, do cameras and servo work."""

from __future__ import annotations

import time
from typing import Protocol

from chunked_vla_ros.nodes.diagnostics import ERROR, Finding, OK, WARN
from chunked_vla_ros.nodes.physics_loop import PhysicsLoop
from chunked_vla_ros.sim.servo import Servo

# Slower than this, motion and latencies are no longer those of a real arm.
SLOWEST_REAL_TIME_FACTOR = 0.95


class Cameras(Protocol):
    """What renders the simulator's pictures."""

    @property
    def frames(self) -> int:
        """Return how many pictures per camera there were."""

    @property
    def render_s(self) -> float:
        """Return the time that the newest set of pictures took in [s]."""

    @property
    def alive(self) -> bool:
        """Return whether frames are rendered."""


class SimReport:
    """
    Sums up the time since the last finding; reads what the two loops count.

    :param cameras: ``None`` for a robot without pictures.
    """

    def __init__(self, physics: PhysicsLoop, cameras: Cameras | None, servo: Servo,
                 model: str) -> None:
        self._model = model
        self._physics, self._cameras, self._servo = physics, cameras, servo
        self._simulated_ns = 0
        self._last = (time.monotonic_ns(), 0, 0)

    def cycle(self, simulated_ns: int) -> None:
        """Note how far simulated time has come; called by the physics thread."""
        self._simulated_ns = simulated_ns

    def finding(self) -> Finding:
        """Return the state of things since the last call."""
        frames = self._cameras.frames if self._cameras else 0
        now = (time.monotonic_ns(), self._simulated_ns, frames)
        elapsed_s = (now[0] - self._last[0]) / 1e9
        factor = (now[1] - self._last[1]) / 1e9 / elapsed_s
        frame_rate_hz = (now[2] - self._last[2]) / elapsed_s
        self._last = now
        level, message = self._judge(factor)
        return Finding(level, message, {
            'model': self._model,
            'real_time_factor': f'{factor:.3f}',
            'time_given_up_s': f'{self._physics.given_up_ns / 1e9:.3f}',
            'frame_rate_hz': f'{frame_rate_hz:.1f}',
            'render_ms': f'{self._cameras.render_s * 1e3 if self._cameras else 0.0:.1f}',
            'commands_refused': self._servo.refused,
            'last_refusal': self._servo.refusal,
        })

    def _judge(self, factor: float) -> tuple[bytes, str]:
        if not self._physics.alive:
            return ERROR, 'the physics thread has died: see the log, restart the node'
        if self._cameras is not None and not self._cameras.alive:
            return ERROR, 'the camera thread has died: see the log, restart the node'
        if factor < SLOWEST_REAL_TIME_FACTOR:
            return WARN, f'slower than real time: factor {factor:.2f}'
        return OK, 'running'
