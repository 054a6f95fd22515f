"""
Where the expert's episodes are recorded in process: robot, model, cameras, expert, made once.

An episode depends on its job alone: neither on those before it nor on who else records. Its stamps
are simulated time, moved to an hour of its own that the seed names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.evaluate.camera_feed import check_cameras_simulated
from chunked_vla_ros.evaluate.episode import EpisodeJob
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup
from chunked_vla_ros.evaluate.station import EXPERT, scene_model, Station
from chunked_vla_ros.nodes.episode_facts import EpisodeFactsSource
from chunked_vla_ros.nodes.policy_table import make_policy, PolicyOptions
from chunked_vla_ros.nodes.simulated_topics import selection_in_process
from chunked_vla_ros.record.simulated_episode import RecordedRobot, SimulatedEpisode
from chunked_vla_ros.sim.cameras import CameraRig

# 2020-01-01 00:00 UTC, and how much of the ten years after it an episode has for itself.
FIRST_NS = 1_577_836_800 * NS_PER_S
SLOT_NS, SLOTS = 3600 * NS_PER_S, 87_600


@dataclass(frozen=True)
class StudioSetup:
    """
    What a studio is made from; goes through JSON.

    :ivar out: Folder of the episodes.
    :ivar compression: How images are kept, as the recorder's parameter says it.
    """

    robot: str
    out: str
    operator: str
    positions: str
    noise: float
    pushes_per_minute: float
    quality: str
    compression: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True)
class StudioJob:
    """An episode to record: its name, and the seed of its scene and of what goes wrong in it."""

    name: str
    seed: int


class Studio:
    """
    Record episodes one after the other.

    :raises ValueError: the robot cannot be recorded so; one line.
    """

    def __init__(self, setup: StudioSetup) -> None:
        self._setup, robot = setup, load_robot(setup.robot)
        selection = selection_in_process(setup.robot, setup.compression)
        check_cameras_simulated(
            robot, [camera.name for camera in robot.cameras], 'leave --in-process out')
        policy = make_policy(EXPERT, robot, PolicyOptions(
            expert_noise=setup.noise, expert_pushes_per_minute=setup.pushes_per_minute,
            expert_quality=setup.quality))
        timing = RunTiming(timeout_s=setup.timeout_s)
        self._station = Station(StationSetup(setup.robot, (EXPERT,), timing), [policy])
        self._rig = CameraRig(scene_model(), robot.cameras) if robot.cameras else None
        self._recorded = RecordedRobot(
            robot, self._rig, selection, EpisodeFactsSource(setup.robot, '', setup.operator),
            round(timing.camera_delay_s * NS_PER_S))

    def record(self, job: StudioJob) -> tuple[EpisodeRecord, str]:
        """
        Return what was recorded, and how the expert's run ended.

        :raises OSError: the bag cannot be written; what there is stays in its .partial folder.
        """
        episode = SimulatedEpisode(
            self._recorded, Path(self._setup.out), job.name,
            FIRST_NS + job.seed % SLOTS * SLOT_NS)
        try:
            ran = self._station.run(EpisodeJob(0, job.seed, self._setup.positions), episode)
        finally:
            episode.abandon()
        assert episode.record is not None    # the run has ended
        return episode.record, f'{ran.termination}: {ran.message}'

    def close(self) -> None:
        """Give the graphics context back."""
        self._station.close()
        if self._rig is not None:
            self._rig.close()
