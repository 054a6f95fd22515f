"""
One evaluation from its options to its files: episodes in both ways, results.json, the report.

Prints nothing but progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
import json
from pathlib import Path
import time

from rich.console import Console

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.evaluate.crew import run_jobs
from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord
from chunked_vla_ros.evaluate.films import EpisodeFilm, films, worth_seeing
from chunked_vla_ros.evaluate.imitation_control import missing_controls
from chunked_vla_ros.evaluate.options import EvaluateOptions, GRAPH_LOG, LOG, REPORT, RESULTS
from chunked_vla_ros.evaluate.page import evaluation_page
from chunked_vla_ros.evaluate.results import (
    EvaluationResults,
    policy_results,
    PolicyResults,
    THROUGH_ROS,
)
from chunked_vla_ros.evaluate.screen import progress_bar
from chunked_vla_ros.evaluate.setup import StationSetup
from chunked_vla_ros.evaluate.station import load_policy
from chunked_vla_ros.sim.tasks import draw_start

RunThroughRos = Callable[
    [str, StationSetup, Sequence[EpisodeJob], Path, Callable[[EpisodeRecord], None]],
    tuple[list[EpisodeRecord], list[EpisodeFilm]]]


def evaluate(options: EvaluateOptions, console: Console) -> EvaluationResults:
    """
    Run every episode and write the results: after each way, so that no later one can lose them.

    :raises ValueError: one line: a policy, camera or task that cannot be.
    :raises RosFailure: if the ROS graph does not play along.
    """
    robot, begun_s = load_robot(options.robot), time.monotonic()
    through_ros = _runner() if options.through_ros else None
    # Here first: what does not fit is found before a process is started.
    draw_start(options.seed, options.position_set, options.task)
    loaded = [load_policy(name, robot, options.execution_provider) for name in options.policies]
    ids = [policy.spec.policy_id for policy in loaded]
    uncontrolled = missing_controls(options, loaded)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    policies: list[PolicyResults] = []
    shown: list[EpisodeFilm] = []
    jobs, timing = options.jobs(), asdict(options.timing)
    if not options.in_process:    # over ROS nothing is assumed: it takes what it takes
        timing |= {'latency_s': None, 'camera_delay_s': None}

    def write(complete: bool) -> EvaluationResults:
        results = EvaluationResults(
            command=options.command, robot=robot.name, position_set=options.position_set,
            first_seed=options.seed, timing=timing, versions=versions(),
            policies=tuple(policies), duration_s=time.monotonic() - begun_s, complete=complete,
            missing_controls=uncontrolled)
        (out / RESULTS).write_text(
            json.dumps(results.to_json(), indent=2) + '\n', encoding='utf-8')
        return results

    with progress_bar(console, (options.in_process + options.through_ros) * len(jobs)) as tell:
        if options.in_process:
            records = run_jobs(
                options.setup, jobs, options.processes(len(jobs)), out / LOG, tell, loaded)
            count = options.episodes * len(ids)    # the pairs come after them
            policies += policy_results(
                options.policies, ids, records[:count], records[count:],
                assumed_latency_s=options.timing.latency_s)
            shown += films(robot, [
                (one.label, record) for one in policies
                for record in worth_seeing([*one.episodes, *one.paired])])
            write(not options.through_ros)
        if through_ros is not None:
            for one, filmed in _over_ros(through_ros, options, ids, out, tell):
                policies.append(one)
                shown += filmed
                write(False)
    results = write(True)
    evaluation_page(results, shown).write(out / REPORT)
    return results


def _over_ros(run: RunThroughRos, options: EvaluateOptions, ids: Sequence[str], out: Path,
              tell: Callable[[EpisodeRecord], None],
              ) -> Iterator[tuple[PolicyResults, list[EpisodeFilm]]]:
    """Yield what each policy did over the ROS graph, and the films worth seeing."""
    jobs = options.jobs()
    for number, (name, policy_id) in enumerate(zip(options.policies, ids, strict=True)):
        records, pictures = run(
            f'{policy_id} {THROUGH_ROS}', options.setup,
            [job for job in jobs if job.policy == number], out / GRAPH_LOG.format(number), tell)
        # By position: a pair may hold the very job that is an episode of its own as well.
        yield PolicyResults(
            name, policy_id, tuple(records[:options.episodes]),
            tuple(records[options.episodes:]), THROUGH_ROS), [
                film for film in pictures if film.record in worth_seeing(records)]


def _runner() -> RunThroughRos:
    """
    Return what runs episodes over the ROS graph.

    :raises ValueError: there is no ROS.
    """
    try:
        from chunked_vla_ros.evaluate.through_ros import run_through_ros
    except ImportError as error:
        raise ValueError(f'--through-ros needs ROS 2: {error}; leave it out, or source a '
                         'workspace') from error
    return run_through_ros
