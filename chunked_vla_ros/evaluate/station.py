"""
Where episodes are run in process: robot, model, cameras and policies, made once.

An episode gets a world of its own that begins at time 0, so that it does not depend on which
episodes came before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
import hashlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from chunked_vla_ros.core.motion_smoothness import rms_jerk, spectral_arc_length
from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.evaluate.camera_feed import CameraFeed, check_cameras_simulated
from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord
from chunked_vla_ros.evaluate.scene_watch import distance_to_pad_m, SceneWatch
from chunked_vla_ros.evaluate.setup import StationSetup
from chunked_vla_ros.evaluate.simulated_run import RunListener, RunTrace, SimulatedRun
from chunked_vla_ros.nodes.policy_table import make_policy, PolicyOptions
from chunked_vla_ros.policies.exchange import check_cameras
from chunked_vla_ros.sim.cameras import CameraRig
from chunked_vla_ros.sim.scene import build_model
from chunked_vla_ros.sim.tasks import Start
from chunked_vla_ros.sim.world import World

EXPERT = 'expert'


@runtime_checkable
class NoisyPolicy(Protocol):
    """A generative policy: what it plans depends on the noise that it starts from."""

    @property
    def has_noise(self) -> bool:
        """Return whether it starts from noise."""

    def seed_noise(self, seed: int) -> None:
        """Let the noise begin from ``seed``."""


def load_policy(name: str, robot: RobotSpec, execution_provider: str = 'auto') -> Policy:
    """
    Return the policy that the command line calls ``name``, checked against ``robot``.

    Bundles get one thread: episodes run beside each other, and a result must not depend on how
    many cores there are.

    :raises ValueError: one line that says what is missing or does not fit.
    """
    if name == EXPERT:
        policy = make_policy(EXPERT, robot)
    elif not Path(name).is_dir():
        raise ValueError(f'policy {name}: no such bundle; name {EXPERT!r} or a directory with '
                         'manifest.json')
    else:
        policy = make_policy('onnx', robot, PolicyOptions(
            bundle=name, execution_provider=execution_provider, intra_op_threads=1))
    check_cameras(policy.spec, robot)
    check_cameras_simulated(robot, policy.spec.cameras, 'use --through-ros')
    return policy


@cache
def scene_model() -> Any:
    """Return the compiled model that all worlds and cameras of this process share."""
    return build_model()


class Station:
    """
    Run episodes one after the other.

    :param policies: Ready ones, in place of those that ``setup`` names.
    :raises ValueError: a policy or a camera is missing or does not fit; one line.
    """

    def __init__(self, setup: StationSetup, policies: Sequence[Policy] | None = None) -> None:
        self._robot, self._timing = load_robot(setup.robot), setup.timing
        self.policies = tuple(policies) if policies is not None else tuple(
            load_policy(name, self._robot, setup.execution_provider) for name in setup.policies)
        self._model = scene_model()
        self._rigs: dict[tuple[str, ...], CameraRig] = {}

    def run(self, job: EpisodeJob, listener: RunListener | None = None) -> EpisodeRecord:
        """
        Return what the episode of ``job`` showed; ``listener`` hears of it as it happens.

        :raises TaskError: if there is no such task or position set.
        """
        robot, timing, policy = self._robot, self._timing, self.policies[job.policy]
        noise_seed = _seed_noise(policy, job.seed)
        world = World(robot, self._model)
        start = world.reset(job.seed, job.position_set, job.task)
        watch = SceneWatch(start)
        cameras = [camera for camera in robot.cameras if camera.name in policy.spec.cameras]
        rate_hz = max((camera.stream.rate_hz for camera in cameras), default=1.0)
        feed = CameraFeed(
            self._rig(policy.spec.cameras), cameras, round(timing.camera_delay_s * NS_PER_S),
            every=max(1, int(robot.state.rate_hz / rate_hz + 1e-9)))
        trace = SimulatedRun(
            world, robot, policy, feed, timing, _session(job), listener).run(
                lambda now: None if watch.knows_all else watch.look(now.scene()))
        record = _record(job, start, world, watch, trace, self._arm_columns(), robot)
        return replace(record, noise_seed=noise_seed)

    def _arm_columns(self) -> list[int]:
        gripper = self._robot.gripper.joint if self._robot.gripper else ''
        return [i for i, name in enumerate(self._robot.joint_names) if name != gripper]

    def _rig(self, names: tuple[str, ...]) -> CameraRig | None:
        if not names:
            return None
        if names not in self._rigs:
            self._rigs[names] = CameraRig(self._model, [
                camera for camera in self._robot.cameras if camera.name in names])
        return self._rigs[names]

    def close(self) -> None:
        """Give the graphics contexts back."""
        while self._rigs:
            self._rigs.popitem()[1].close()


def _record(job: EpisodeJob, start: Start, world: World, watch: SceneWatch, trace: RunTrace,
            arm: list[int], robot: RobotSpec) -> EpisodeRecord:
    counters, result = trace.status.counters, trace.result
    x_m, y_m = watch.named_cube
    step_s = 1.0 / robot.command.rate_hz
    moved = len(trace.velocity) > 0
    return EpisodeRecord(
        policy=job.policy, seed=job.seed, position_set=job.position_set, task=start.task.name,
        instruction=start.task.instruction, success=world.success,
        termination=result.termination.name.lower().replace('_', ' '), message=result.message,
        duration_s=result.duration_ns / NS_PER_S, chunks=result.chunks,
        cube_x_m=x_m, cube_y_m=y_m, cube_to_pad_m=distance_to_pad_m(world.scene(), start.task),
        first_moved=watch.first_moved, first_lifted=watch.first_lifted,
        plan_wall_s=trace.plan_wall_s, accepted=counters.accepted,
        refused=counters.stale + counters.rejected, last_refusal=trace.status.last_rejection,
        points_skipped=counters.points_skipped, holds=counters.holds, clamps=counters.clamps,
        rms_jerk=rms_jerk(trace.acceleration[:, arm], step_s) if moved else None,
        spectral_arc_length=(
            spectral_arc_length(trace.velocity[:, arm], step_s) if moved else None),
        film=trace.film)


def _seed_noise(policy: Policy, seed: int) -> int | None:
    """Give each episode noise of its own: all episodes from one draw would tell of that draw."""
    if not (isinstance(policy, NoisyPolicy) and policy.has_noise):
        return None
    policy.seed_noise(seed)
    return seed


def _session(job: EpisodeJob) -> str:
    """Return 32 hex digits that the job alone determines."""
    return hashlib.md5(repr(job).encode(), usedforsecurity=False).hexdigest()
