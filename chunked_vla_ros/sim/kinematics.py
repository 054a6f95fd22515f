"""
Forward and inverse kinematics of the arm, from the simulated model itself.

Has its own state, never the world's. The tool is the point between the finger tips; it always
points down here, so a pose is a position and a yaw. Knows nothing about time.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import mujoco
import numpy as np

from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.sim.model_names import JOINTS
from chunked_vla_ros.sim.scene import PINCH_SITE

POSITION_TOLERANCE_M = 1e-5
ROTATION_TOLERANCE_RAD = 1e-4
MAX_ITERATIONS = 200
DAMPING = 0.02
LARGEST_STEP_RAD = 0.2


class UnreachableError(ValueError):
    """The arm cannot put its tool there; one line."""


def wrap(angle: float) -> float:
    """Return the same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


class ArmKinematics:
    """Kinematics of the joints ``arm_joints``, in that order; J of them below."""

    def __init__(self, model: mujoco.MjModel, arm_joints: Sequence[str]) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        joints = [model.joint(JOINTS[name][0]) for name in arm_joints]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._range = np.array([joint.range for joint in joints])
        self._site = model.site(PINCH_SITE).id
        self._jacobian = np.zeros((6, model.nv))

    def tool(self, joints: FloatArray) -> tuple[FloatArray, float]:
        """Return the tool's position (3,) in [m] and yaw in [rad] at ``joints`` (J,)."""
        self._move_to(joints)
        rotation = self._data.site_xmat[self._site].reshape(3, 3)
        return self._data.site_xpos[self._site].copy(), math.atan2(rotation[1, 0], rotation[0, 0])

    def solve(self, position: FloatArray, yaw: float, near: FloatArray) -> FloatArray:
        """
        Return joints (J,) that put the tool at ``position`` (3,), pointing down, near ``near``.

        Damped least squares.

        :raises UnreachableError: if it does not get there.
        """
        joints = near.astype(np.float64)
        for _ in range(MAX_ITERATIONS):
            error = self._error(joints, position, yaw)
            if (np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M
                    and np.linalg.norm(error[3:]) < ROTATION_TOLERANCE_RAD):
                return joints
            step = self._step(error)
            step *= min(1.0, LARGEST_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
            joints = np.clip(joints + step, self._range[:, 0], self._range[:, 1])
        place = ', '.join(f'{value:.3f}' for value in position)
        raise UnreachableError(f'({place}) m is out of reach')

    def _move_to(self, joints: FloatArray) -> None:
        self._data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, self._data)

    def _error(self, joints: FloatArray, position: FloatArray, yaw: float) -> FloatArray:
        """Return what is missing: translation [m] and rotation vector [rad], shape (6,)."""
        self._move_to(joints)
        rotation = self._data.site_xmat[self._site].reshape(3, 3)
        c, s = math.cos(yaw), math.sin(yaw)
        wanted = np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])
        turn = np.cross(rotation.T, wanted.T).sum(axis=0) / 2
        return np.concatenate([position - self._data.site_xpos[self._site], turn])

    def _step(self, error: FloatArray) -> FloatArray:
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacSite(
            self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
        jacobian = self._jacobian[:, self._dofs]
        damped = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
        return np.asarray(jacobian.T @ np.linalg.solve(damped, error))
