"""
``chunked-vla evaluate BUNDLE --data DATASET``: predicted chunks against recorded ones.

Reads bundles and datasets, asks each policy at regular rows of the held-out episodes, and writes
results.json and report.html. Needs neither a simulator nor ROS; shows nothing of how it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
import json
from pathlib import Path
import sys

import numpy as np
from rich.console import Console

from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows, TrainingRows
from chunked_vla_ros.evaluate.open_loop_page import open_loop_page, ShownEpisode
from chunked_vla_ros.evaluate.open_loop_results import open_loop_results, OpenLoopResults, SCALED
from chunked_vla_ros.evaluate.open_loop_windows import (
    asked_windows,
    AskedWindows,
    choose,
    held_out_by_split,
    learnt_from,
    predict,
)
from chunked_vla_ros.evaluate.options import EvaluateOptions, REPORT, RESULTS
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy
from chunked_vla_ros.report.terminal_bar import counting_bar

__all__ = ['OpenLoopOptions', 'run_on_data', 'run_open_loop']

MISTAKE = 2


@dataclass(frozen=True)
class OpenLoopOptions:
    """
    What is compared.

    :ivar held_out: Numbers of the episodes that the policy has not learnt from; or ``split``.
    :ivar split: JSON file that training wrote, with the ids of its validation episodes.
    :ivar every: Rows from one window to the next.
    :ivar cache: Folder of decoded frames, ``None``: the default one.
    :ivar seed: Of the noise that a generative policy starts from.
    :ivar samples: Chunks drawn at each window and averaged.
    :ivar command: The call that repeats this, for the results.
    """

    bundles: tuple[Path, ...]
    data: tuple[Path, ...]
    robot: str
    out: Path
    held_out: tuple[int, ...] = ()
    split: Path | None = None
    every: int = 5
    seed: int = 0
    samples: int = 1
    execution_provider: str = 'auto'
    cache: Path | None = None
    command: str = ''


def run_on_data(options: EvaluateOptions) -> int:
    """Do what ``chunked-vla evaluate --data`` asks for; return the exit code."""
    return run_open_loop(OpenLoopOptions(
        bundles=tuple(map(Path, options.policies)), data=options.data, robot=options.robot,
        out=Path(options.out), held_out=options.held_out,
        split=Path(options.split) if options.split else None, every=options.every,
        seed=options.seed, samples=options.samples,
        execution_provider=options.execution_provider, command=options.command))


def run_open_loop(options: OpenLoopOptions) -> int:
    """Print the errors and write the results; return 0, or 2 after one line about a mistake."""
    console = Console(stderr=True)
    try:
        if bool(options.held_out) == (options.split is not None):
            raise DatasetError('name the held-out episodes: either --held-out NUMBERS or --split '
                               'FILE')
        if options.every < 1:
            raise DatasetError(f'--every is {options.every}, expected 1 row or more')
        robot = load_robot(options.robot)
        policies = _open(options, robot)
        results, shown = compare_policies(options, robot, policies, console)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / RESULTS).write_text(
            json.dumps(results.to_json(), indent=2) + '\n', encoding='utf-8')
        open_loop_page(results, shown).write(options.out / REPORT)
    except (ValueError, OSError, PolicyError) as error:    # of a bundle, data, contract, disk
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return MISTAKE
    _print(results)
    print(f'results: {options.out / RESULTS}   report: {options.out / REPORT}')
    return 0


def _open(options: OpenLoopOptions, robot: RobotSpec) -> dict[str, OnnxPolicy]:
    """
    Return the policies by id.

    :raises BundleError: a bundle is damaged or does not fit the robot.
    :raises DatasetError: two of them cannot be asked at the same windows.
    """
    policies: dict[str, OnnxPolicy] = {}
    for path in options.bundles:
        bundle = read_bundle(path)
        policy = OnnxPolicy(
            bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id, robot,
            OnnxOptions(execution_provider=options.execution_provider, seed=options.seed))
        policies[bundle.policy_id] = policy
    kinds = {(one.spec.horizon, one.spec.step_s, one.spec.cameras) for one in policies.values()}
    if len(kinds) != 1:
        raise DatasetError(f'{len(policies)} bundles differ in horizon, step or cameras, or there '
                           'is none: compare those that agree, the others one by one')
    return policies


def compare_policies(options: OpenLoopOptions, robot: RobotSpec,
                     policies: Mapping[str, OnnxPolicy], console: Console,
                     ) -> tuple[OpenLoopResults, list[ShownEpisode]]:
    """
    Ask the policies and return what came of it, and what to draw of it.

    :raises DatasetError, PolicyError: one line.
    """
    spec = next(iter(policies.values())).spec
    rows = read_training_rows(options.data, robot, spec.cameras, options.cache)
    split = held_out_by_split(options.split) if options.split is not None else ()
    held, others = choose(rows.episode_ids, options.held_out, split)
    asked = asked_windows(rows, held, spec, options.every)
    training = asked_windows(rows, others, spec, 1)
    with counting_bar(
            console, 'asking the policy', len(asked.first) * len(policies)) as progress:
        predicted = {name: predict(policy, rows, asked, options.samples, progress)
                     for name, policy in policies.items()}
    names = [[rows.episode_ids[place] for place in places] for places in (held, others)]
    learnt = {name: found for name, policy in policies.items()
              if (found := learnt_from(policy.training, names[0]))}
    results = open_loop_results(
        predicted, asked.recorded, training.recorded, robot, names, spec.step_s,
        _facts(options) | {'learnt_from': learnt})
    name = next(iter(policies))
    return results, _shown(rows, asked, name, predicted[name])


def _facts(options: OpenLoopOptions) -> dict[str, object]:
    return {
        'command': options.command, 'robot': options.robot, 'seed': options.seed,
        'every': options.every, 'samples': options.samples,
        'data': [str(path) for path in options.data],
        'bundles': [str(path) for path in options.bundles],
        'created': datetime.now(timezone.utc).isoformat(timespec='seconds')}


def _shown(rows: TrainingRows, asked: AskedWindows, policy: str, predicted: FloatArray,
           ) -> list[ShownEpisode]:
    """Return the episodes to draw, with windows that follow one another."""
    shown = []
    for place, episode in enumerate(asked.episodes):
        start, length = int(rows.episode_starts[episode]), int(rows.episode_lengths[episode])
        chosen, covered = [], start
        for number in np.flatnonzero(asked.recorded.episode == place):
            if asked.first[number] >= covered:
                chosen.append(number)
                covered = int(asked.first[number]) + predicted.shape[1] * asked.stride
        span, rate = slice(start, start + length), rows.fps or 1.0
        shown.append(ShownEpisode(
            rows.episode_ids[episode], policy, np.arange(length) / rate,
            np.float64(rows.action[span]), np.float64(rows.state[span]),
            (asked.first[chosen] - start) / rate, predicted[chosen]))
    return shown


def _print(results: OpenLoopResults) -> None:
    """Print a table in columns that no narrow terminal breaks."""
    lines = [['mean error', *(f'[{unit}]' for unit in results.by_unit), 'scaled', 'rms',
              *results.held_out]]
    lines += [[name, *(f'{means[name]:.4f}' for means in results.by_unit.values()),
               f'{errors.mean:.3f}', f'{errors.rms:.3f}',
               *(f'{one:.3f}' for one in errors.by_episode)]
              for name, errors in results.scaled.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        print('  '.join([name.ljust(widths[0]), *(
            number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))]))
    print(f'{results.windows} windows; scaled, rms and episodes in {SCALED}')
    for policy in results.policies:
        print(f'{policy}: {results.verdict(policy)}')
    for warning in results.warnings:
        print(f'warning: {warning}', file=sys.stderr)
