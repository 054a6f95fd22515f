"""
The arm's position servo: which commands it takes, and the actuator input that follows them.

Like a real driver it refuses a command that would make the arm jump. Knows nothing about MuJoCo
or ROS; gains and the bias force are given to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import FloatArray, MotionState, NS_PER_S
from chunked_vla_ros.sim.reference import (
    HeldPosition,
    PositionStream,
    Reference,
    TrajectoryCommand,
    TrajectoryTrack,
)

# Farther than this from the measured pose [rad], the first command after rest would be a jump.
ENGAGE_WITHIN_RAD = 0.05


@dataclass(frozen=True)
class ActuatorGains:
    """
    How the actuators answer: force = gain * input - stiffness * q - damping * qd; shape (J,) each.

    :ivar is_arm: Which joints are the arm's: they get the bias force (gravity, Coriolis) fed
        forward and must not jump; the gripper's linkage is balanced by its own springs.
    """

    gain: FloatArray
    stiffness: FloatArray
    damping: FloatArray
    is_arm: NDArray[np.bool_]


class Servo:
    """
    Follow position commands or trajectories; the newest kind of command wins.

    :ivar refused: Commands refused since construction.
    :ivar refusal: Why the last one was.
    """

    def __init__(self, gains: ActuatorGains, velocity_limit: FloatArray,
                 command_rate_hz: float) -> None:
        self._gains = gains
        self._velocity_limit = velocity_limit
        self._period_ns = round(NS_PER_S / command_rate_hz)
        self.refused = 0
        self.refusal = ''
        self.hold(np.zeros_like(velocity_limit))

    def hold(self, position: FloatArray) -> None:
        """Stand still at ``position`` (J,) until a command from nearby arrives."""
        self._reference: Reference = HeldPosition(position)
        self._engaged = False

    def command_position(self, position: FloatArray, measured: FloatArray, time_ns: int) -> None:
        """Take or refuse a position command (J,) that arrived at ``time_ns``."""
        fault = self._fault(position)
        if not fault and not self._engaged:
            fault = self._jump(position, measured, 0.0)
        if fault:
            self.refuse(fault)
        elif isinstance(self._reference, PositionStream):
            self._reference.accept(position, time_ns)
        else:
            self._engaged = True
            self._reference = PositionStream(
                position, time_ns, self._period_ns, self._velocity_limit)

    def command_trajectory(self, command: TrajectoryCommand, measured: FloatArray,
                           time_ns: int) -> None:
        """Take or refuse a trajectory that arrived at ``time_ns``."""
        fault = next(filter(None, map(self._fault, command.positions)), '')
        track = TrajectoryTrack(command, self._reference, time_ns)
        if not fault and track.knots == 0:
            fault = 'trajectory without a point that is still ahead'
        if not fault and not self._engaged:
            first = len(command.positions) - track.knots
            ahead_s = ((command.start_ns or time_ns) + int(command.offsets_ns[first])
                       - time_ns) / NS_PER_S
            fault = self._jump(command.positions[first], measured, ahead_s)
        if fault:
            self.refuse(fault)
        else:
            self._engaged = True
            self._reference = track

    def refuse(self, fault: str) -> None:
        """Count a command that cannot be followed."""
        self.refused += 1
        self.refusal = fault

    def input(self, time_ns: int, bias_force: FloatArray) -> FloatArray:
        """Return the actuator inputs (J,) at ``time_ns`` under ``bias_force`` (J,) in [Nm]."""
        gains, target = self._gains, self.setpoint(time_ns)
        force = gains.stiffness * target.position + gains.damping * target.velocity
        return (force + np.where(gains.is_arm, bias_force, 0.0)) / gains.gain

    def setpoint(self, time_ns: int) -> MotionState:
        """Return what the servo follows at ``time_ns``."""
        return self._reference.at(time_ns)

    def _fault(self, position: FloatArray) -> str:
        if position.shape != self._velocity_limit.shape:
            return f'{position.size} positions, expected {self._velocity_limit.size}'
        return '' if np.all(np.isfinite(position)) else 'a position is not finite'

    def _jump(self, position: FloatArray, measured: FloatArray, ahead_s: float) -> str:
        """Say so if no arm joint may be that far away when it has ``ahead_s`` to get there."""
        distance = np.where(self._gains.is_arm, np.abs(position - measured), 0.0)
        allowed = ENGAGE_WITHIN_RAD + self._velocity_limit * ahead_s
        if np.all(distance <= allowed):
            return ''
        worst = int(np.argmax(distance - allowed))
        return (f'joint {worst} is {distance[worst]:.3f} rad from the command, the first one '
                f'must be within {allowed[worst]:.3f} rad')
