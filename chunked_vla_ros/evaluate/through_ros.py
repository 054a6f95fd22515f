"""
The episodes of an evaluation over the real ROS graph, in wall time: as the demonstration does it.

The only module of `evaluate` that talks to nodes. The scene is recorded to judge episodes; which
policies see it is theirs to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chunked_vla_ros.core.types import NS_PER_S, Pose
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.driving_policy import driving_policy
from chunked_vla_ros.demo.episodes import Episode, EpisodeDriver
from chunked_vla_ros.demo.results import counted
from chunked_vla_ros.demo.running_graph import graph_specs, reserved_domain, running_graph
from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord
from chunked_vla_ros.evaluate.films import EpisodeFilm, spaced
from chunked_vla_ros.evaluate.scene_watch import distance_to_pad_m, SceneWatch
from chunked_vla_ros.evaluate.setup import RosFailure, StationSetup
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.scene_log import SceneLog
from chunked_vla_ros.sim.tasks import draw_start


def run_through_ros(label: str, setup: StationSetup, jobs: Sequence[EpisodeJob], log: Path,
                    tell: Callable[[EpisodeRecord], None],
                    ) -> tuple[list[EpisodeRecord], list[EpisodeFilm]]:
    """
    Return a record and a film for each of ``jobs``, which are all of one policy.

    :param label: What the films are to be called by.
    :param log: Takes what the nodes say.
    :raises RosFailure: if the graph does not start or does not play along.
    """
    try:
        return _run(label, setup, jobs, log, tell)
    except GraphFailure as error:    # of nodes, which who evaluates in process need not have
        raise RosFailure(str(error)) from error


def _run(label: str, setup: StationSetup, jobs: Sequence[EpisodeJob], log: Path,
         tell: Callable[[EpisodeRecord], None],
         ) -> tuple[list[EpisodeRecord], list[EpisodeFilm]]:
    robot, timing = load_robot(setup.robot), setup.timing
    driver = driving_policy(setup.policies[jobs[0].policy], robot)
    specs = graph_specs(
        DeployOptions(robot=setup.robot, policy=driver.policy, bundle=driver.bundle,
                      execution_provider=setup.execution_provider),
        {'inference': {'run_on_activate': False, 'autostart': True,
                       'replan_period_s': timing.replan_period_s}})
    records, films = [], []
    with (reserved_domain(None) as domain_id,
          running_graph(specs, robot, domain_id, log) as graph):
        scene = SceneLog(graph.client.node)
        stage = EpisodeDriver(graph.client, robot, jobs[0].position_set, timing.timeout_s)
        for job in jobs:
            episode = stage.run(job.seed, lambda _: scene.start(), job.task)
            latencies = [chunk.inference_latency_ns / NS_PER_S
                         for chunk in stage.log.decode(episode.raw).chunks]
            record = _record(job, episode, scene.take(), latencies)
            records.append(record)
            films.append(EpisodeFilm(label, record, episode.film.camera, tuple(
                spaced(episode.film.frames))))
            tell(record)
    return records, films


def _record(job: EpisodeJob, episode: Episode, scenes: Sequence[Mapping[str, Pose]],
            latencies_s: Sequence[float]) -> EpisodeRecord:
    start = draw_start(job.seed, job.position_set, job.task)
    watch = SceneWatch(start)
    for scene in scenes:
        watch.look(scene)
    x_m, y_m = watch.named_cube
    counters, result = counted([episode.executor]), episode.result
    return EpisodeRecord(
        policy=job.policy, seed=job.seed, position_set=job.position_set, task=start.task.name,
        instruction=result.instruction, success=result.success, termination=result.termination,
        message=result.message, duration_s=result.cycle_time_s, chunks=result.chunks,
        cube_x_m=x_m, cube_y_m=y_m,
        cube_to_pad_m=distance_to_pad_m(scenes[-1], start.task) if scenes else None,
        first_moved=watch.first_moved if scenes else None,
        first_lifted=watch.first_lifted if scenes else None,
        plan_wall_s=tuple(latencies_s), accepted=counters.accepted,
        refused=counters.stale + counters.rejected, points_skipped=counters.points_skipped,
        holds=counters.holds, clamps=counters.clamps)
