"""
Which policy drives a graph: the scripted expert, a bundle, or the bundle that comes along.

Reads a bundle only to see that it fits the robot; the inference node checks it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.bundle_json import MANIFEST_FILE
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.graph.installation import shared_file

EXPERT = 'expert'
SHIPPED = 'models/ur5e_pick_place'
SEES = 'pictures, joints and the instruction; no simulator state is used'
CHEATS = 'it reads the poses of the cubes from the simulator'


class NoSuchPolicy(ValueError):
    """The policy asked for is not there or does not fit; the message is one line."""


@dataclass(frozen=True)
class DrivingPolicy:
    """
    A policy as the deploy graph takes it.

    :ivar policy: 'expert' or 'onnx'.
    :ivar bundle: The bundle's directory, empty for the expert.
    :ivar remark: One line for the operator: who drives, and what it sees.
    """

    policy: str
    bundle: str
    remark: str


def driving_policy(asked: str, robot: RobotSpec, shipped: str = SHIPPED) -> DrivingPolicy:
    """
    Return who drives ``robot``.

    :param asked: ``expert``, a bundle's directory, or '' for the shipped bundle if it is installed
        and fits, else the expert.
    :raises NoSuchPolicy: naming the directory and what is wrong with it.
    """
    if asked == EXPERT:
        return _expert('')
    if asked:
        if not Path(asked).is_dir():
            raise NoSuchPolicy(
                f"policy {asked}: no such bundle; name 'expert' or a directory with manifest.json")
        try:
            return _bundle(Path(asked), robot)
        except BundleError as error:
            raise NoSuchPolicy(f'policy {asked}: {error}') from error
    manifest = shared_file(f'{shipped}/{MANIFEST_FILE}')
    if manifest is None:
        return _expert(f', as {shipped} is not installed')
    try:
        # colcon's --symlink-install leaves links, which a bundle may not have: they are followed.
        return _bundle(manifest.resolve().parent, robot)
    except BundleError as error:
        return _expert(f', as {shipped} does not fit: {error}')


def _expert(reason: str) -> DrivingPolicy:
    return DrivingPolicy(EXPERT, '', f'the scripted expert drives{reason}: {CHEATS}')


def _bundle(directory: Path, robot: RobotSpec) -> DrivingPolicy:
    bundle = read_bundle(directory)
    bundle.manifest.check_robot(robot)
    return DrivingPolicy('onnx', str(directory), f'{bundle.policy_id} drives: {SEES}')
