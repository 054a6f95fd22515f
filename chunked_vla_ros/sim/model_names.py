"""
The joints of the MuJoCo model by the contract's joint name.

Apart from the model, so that what it can simulate is known where MuJoCo is absent.
"""

from __future__ import annotations

GRIPPER_PREFIX = 'robotiq/'
# Joint and actuator of the model by the contract's joint name. The contract calls the gripper as
# its ROS driver does; the model calls it by the part of the linkage that is driven.
JOINTS = {
    **{f'{name}_joint': (f'{name}_joint', name) for name in (
        'shoulder_pan', 'shoulder_lift', 'elbow', 'wrist_1', 'wrist_2', 'wrist_3')},
    'finger_joint': (f'{GRIPPER_PREFIX}right_driver_joint', f'{GRIPPER_PREFIX}fingers_actuator'),
}
