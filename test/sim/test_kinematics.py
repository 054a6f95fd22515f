"""Inverse kinematics against forward kinematics."""

from hypothesis import given, HealthCheck, settings, strategies
import numpy as np
import pytest

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')

from chunked_vla_ros.sim.kinematics import ArmKinematics, UnreachableError, wrap

# The fixtures are read only.
SHARED = settings(deadline=None, suppress_health_check=[*HealthCheck],
                  max_examples=50)


@pytest.fixture(scope='module')
def kinematics(_world, robot):
    return ArmKinematics(_world.model, robot.joint_names[:6])


@pytest.fixture(scope='module')
def home(robot):
    return robot.home[:6]


def test_the_tool_points_at_the_table_from_home(kinematics, home):
    position, yaw = kinematics.tool(home)
    assert position == pytest.approx([0.492, 0.134, 0.332], abs=1e-3)
    assert yaw == pytest.approx(0.0, abs=1e-3)


@SHARED
@given(x=strategies.floats(0.30, 0.64), y=strategies.floats(-0.30, 0.30),
       z=strategies.floats(0.02, 0.30), yaw=strategies.floats(-np.pi / 4, np.pi / 4))
def test_every_place_a_task_needs_is_reached_from_home(kinematics, home, x, y, z, yaw):
    joints = kinematics.solve(np.array([x, y, z]), yaw, home)
    position, found = kinematics.tool(joints)
    assert position == pytest.approx([x, y, z], abs=1e-4)
    assert wrap(found - yaw) == pytest.approx(0.0, abs=1e-3)


def test_a_place_out_of_reach_is_named(kinematics, home):
    with pytest.raises(UnreachableError, match=r'\(1\.500, 0\.000, 0\.200\) m is out of reach'):
        kinematics.solve(np.array([1.5, 0.0, 0.2]), 0.0, home)


@given(strategies.floats(-50, 50))
def test_wrap_keeps_the_angle_and_the_range(angle):
    assert -np.pi <= wrap(angle) < np.pi + 1e-9
    assert np.cos(wrap(angle)) == pytest.approx(np.cos(angle), abs=1e-9)
