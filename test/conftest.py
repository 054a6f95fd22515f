"""Factories shared by the tests: a small robot and chunks for it, in numbers for the head."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import (
    CommandKind,
    CommandSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import ActionChunk, DimKind

MS = 1_000_000
SESSION = 'ab' * 16


@pytest.fixture(scope='session')
def make_robot() -> Callable[..., RobotSpec]:
    """Return a factory: joints with range +-2 rad, 1 rad/s, 2 rad/s^2, 20 rad/s^3."""
    def make(kinds: Sequence[DimKind] = (DimKind.CONTINUOUS, DimKind.CONTINUOUS),
             **limits: float) -> RobotSpec:
        values = {'lower': -2.0, 'upper': 2.0, 'velocity': 1.0, 'acceleration': 2.0,
                  'jerk': 20.0, 'home': 0.0} | limits
        joints = tuple(JointSpec(name=f'joint_{i}', kind=kind, **values)
                       for i, kind in enumerate(kinds))
        return RobotSpec(
            name='small', base_frame='world', joints=joints, gripper=None,
            state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1), cameras=(),
            command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 200.0))
    return make


@pytest.fixture(scope='session')
def make_chunk() -> Callable[..., ActionChunk]:
    """Return a factory: points 50 ms apart, valid for 1 s, observed when they start."""
    def make(positions: Any, start_ns: int = 10**9, chunk_id: int = 1, step_ns: int = 50 * MS,
             **fields: Any) -> ActionChunk:
        rows = np.asarray(positions, dtype=float)
        values = {
            'session_id': SESSION, 'observation_ns': start_ns, 'valid_for_ns': 1000 * MS,
            'joint_names': tuple(f'joint_{i}' for i in range(rows.shape[1])),
            'offsets_ns': np.arange(len(rows)) * step_ns} | fields
        return ActionChunk(chunk_id=chunk_id, start_ns=start_ns, positions=rows, **values)
    return make
