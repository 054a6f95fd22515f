"""A bundle acts only on the robot it was made for; the first difference is named in one line."""

from dataclasses import replace

import pytest

from chunked_vla_ros.core.bundle_manifest import BundleCamera, BundleError
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.types import DimKind

C, B = DimKind.CONTINUOUS, DimKind.BINARY


@pytest.fixture
def robot(make_robot):
    """Return joint_0 and joint_1 at 200 Hz, and a camera that policies see as 8x6."""
    wrist = CameraSpec('wrist', StreamSpec('wrist/image', 20.0, TimeBase.HEADER, 0.2),
                       'wrist/info', 64, 48, 'rgb8', resize=(8, 6))
    return replace(make_robot(), cameras=(wrist,))


def test_a_manifest_made_for_the_robot_fits(robot, make_manifest):
    make_manifest(robot).check_robot(robot)


def test_a_policy_need_not_use_every_camera(robot, make_manifest):
    make_manifest(robot, cameras=()).check_robot(robot)


@pytest.mark.parametrize(('change', 'difference'), [
    ({'joint_names': ('joint_1', 'joint_0')},
     "joint_names[0] is 'joint_1', the robot has 'joint_0' there: another joint order"),
    ({'joint_names': ('joint_0',), 'dim_kinds': (C,)}, "joint 'joint_1' is missing in the bundle"),
    ({'joint_names': ('joint_0', 'joint_1', 'thumb'), 'dim_kinds': (C, C, C)},
     "joint 'thumb' is not one of the robot"),
    ({'dim_kinds': (C, B)}, "joint 'joint_1' is binary, the robot says continuous"),
    ({'cameras': (BundleCamera('front', 8, 6),)},
     "it needs camera 'front', the robot has wrist; add the camera"),
    ({'cameras': (BundleCamera('wrist', 64, 48),)},
     "camera 'wrist' is 64x48, the robot shows 8x6; set resize"),
    ({'cameras': (BundleCamera('wrist', 6, 8),)}, "camera 'wrist' is 6x8, the robot shows 8x6"),
    ({'step_s': 0.004}, 'step_s is 0.004 s, shorter than the control period 0.005 s')])
def test_the_first_difference_is_named(robot, make_manifest, change, difference):
    with pytest.raises(BundleError) as caught:
        make_manifest(robot, **change).check_robot(robot)
    assert str(caught.value).startswith('bundle small does not fit robot small: ' + difference)
    assert '\n' not in str(caught.value)
