"""
One evaluation from its options to its files: episodes in both ways, results.json, the report.

Prints nothing but progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from chunked_vla_ros.evaluate.options import EvaluateOptions, GRAPH_LOG, LOG, REPORT, RESULTS
from chunked_vla_ros.evaluate.page import evaluation_page
from chunked_vla_ros.evaluate.results import (
    EvaluationResults,
    IN_PROCESS,
    policy_results,
    PolicyResults,
    THROUGH_ROS,
)
from chunked_vla_ros.evaluate.screen import progress_bar
from chunked_vla_ros.evaluate.station import load_policy
from chunked_vla_ros.sim.tasks import draw_start


def evaluate(options: EvaluateOptions, console: Console) -> EvaluationResults:
    """
    Run every episode and write the results.

    :raises ValueError: one line: a policy, camera or task that cannot be.
    :raises GraphFailure: if the ROS graph does not play along.
    """
    robot, begun_s = load_robot(options.robot), time.monotonic()
    # Here first: what does not fit is found before a process is started.
    draw_start(options.seed, options.position_set, options.task)
    loaded = [load_policy(name, robot, options.execution_provider) for name in options.policies]
    ids = [policy.spec.policy_id for policy in loaded]
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    policies: list[PolicyResults] = []
    shown: list[EpisodeFilm] = []
    jobs = options.jobs()
    with progress_bar(console, (options.in_process + options.through_ros) * len(jobs)) as tell:
        if options.in_process:
            policies += _by_policy(options, ids, IN_PROCESS, run_jobs(
                options.setup, jobs, options.processes(len(jobs)), out / LOG, tell, loaded))
            shown += films(robot, [
                (one.label, record) for one in policies
                for record in worth_seeing([*one.episodes, *one.paired])])
        if options.through_ros:
            over_ros, filmed = _through_ros(options, ids, jobs, out, tell)
            policies += over_ros
            shown += filmed
    results = EvaluationResults(
        command=options.command, robot=robot.name, position_set=options.position_set,
        first_seed=options.seed, timing=asdict(options.timing), versions=versions(),
        policies=tuple(policies), duration_s=time.monotonic() - begun_s)
    (out / RESULTS).write_text(json.dumps(results.to_json(), indent=2) + '\n', encoding='utf-8')
    evaluation_page(results, shown).write(out / REPORT)
    return results


def _by_policy(options: EvaluateOptions, ids: Sequence[str], how: str,
               records: Sequence[EpisodeRecord]) -> list[PolicyResults]:
    """Sort the records of `EvaluateOptions.jobs`, which have the pairs at their end."""
    count = options.episodes * len(options.policies)
    return list(policy_results(
        options.policies, ids, records[:count], records[count:], how))


def _through_ros(options: EvaluateOptions, ids: Sequence[str], jobs: Sequence[EpisodeJob],
                 out: Path, tell: Callable[[EpisodeRecord], None],
                 ) -> tuple[list[PolicyResults], list[EpisodeFilm]]:
    """Return what each policy did over the ROS graph, and the films worth seeing."""
    from chunked_vla_ros.evaluate.through_ros import run_through_ros
    records: dict[EpisodeJob, EpisodeRecord] = {}
    filmed: list[EpisodeFilm] = []
    for number, policy_id in enumerate(ids):
        own = [job for job in jobs if job.policy == number]
        found, pictures = run_through_ros(
            f'{policy_id} {THROUGH_ROS}', options.setup, own, out / GRAPH_LOG.format(number), tell)
        records.update(zip(own, found, strict=True))
        filmed += [film for film in pictures if film.record in worth_seeing(found)]
    return _by_policy(options, ids, THROUGH_ROS, [records[job] for job in jobs]), filmed
