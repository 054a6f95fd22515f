"""
The inference node with a policy that stands still but will not do so without its cameras.

A program for the tests beside it: only the policy is the test's own.
"""

import sys

import numpy as np

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.nodes import policy_table
from chunked_vla_ros.nodes.inference_node import main

HORIZON = 8


class StandStill:
    """Ask every joint to stay where it was observed."""

    def __init__(self, robot):
        self.spec = PolicySpec(
            'stand still', robot.joint_names, robot.dim_kinds, 0.05, HORIZON,
            cameras=tuple(camera.name for camera in robot.cameras))

    def reset(self):
        pass

    def plan(self, observation):
        assert set(observation.images) == set(self.spec.cameras)
        return ActionPlan(np.tile(observation.joints.position, (HORIZON, 1)))


policy_table.POLICIES['replay'] = lambda robot, *_: StandStill(robot)

if __name__ == '__main__':
    sys.exit(main())
