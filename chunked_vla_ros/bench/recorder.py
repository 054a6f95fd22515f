"""
``chunked-vla bench recorder``: what a recorder loses, costs, and saves when it is killed.

One long recording of ours, then short ones of ours and of a plain recorder in turns, so that both
see the same machine; then recordings that SIGKILL cuts off at random times, and what can be
rescued of them. Exit code 0 only if ours kept everything that is wanted.
"""

from __future__ import annotations

from pathlib import Path
import random
import sys

from rich.console import Console

from chunked_vla_ros.bench.recorder_options import BenchRecorderOptions, LOG
from chunked_vla_ros.bench.recorder_processes import NoRecordingError, OURS, PLAIN
from chunked_vla_ros.bench.recorder_run import (
    check_room,
    kill_once,
    KilledRun,
    RecorderRun,
    run_once,
)
from chunked_vla_ros.bench.recorder_summary import kept, markdown, print_tables, to_json
from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions

__all__ = ['BenchRecorderOptions', 'run_bench_recorder']


def run_bench_recorder(options: BenchRecorderOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(highlight=False), Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / LOG).write_text('', encoding='utf-8')
        if options.json:    # told now, not after ten minutes
            Path(options.json).touch()
        check_room(options)
        with reserved_domain(options.domain_id) as domain_id:
            runs = _record(options, domain_id, console)
            kills = _kill(options, domain_id, console)
    except (NoRecordingError, ValueError) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    written = write_results(
        out, options.json, to_json(runs, kills, options.command, versions()),
        markdown(runs, kills, options.command))
    print_tables(runs, kills, console)
    console.print(written)
    return 0 if kept(runs, kills) else 1


def plan(options: BenchRecorderOptions) -> list[tuple[str, float]]:
    """Return side and length in [s] of every whole recording, in order."""
    # Which of the two comes first changes from pair to pair.
    pairs = [(OURS, PLAIN) if index % 2 == 0 else (PLAIN, OURS)
             for index in range(options.repeats)]
    return [(OURS, options.seconds),
            *((side, options.repeat_seconds) for pair in pairs for side in pair)]


def kill_times(options: BenchRecorderOptions) -> list[float]:
    """Return after how long in [s] each recording that is cut off is cut off."""
    chance = random.Random(options.seed)
    return [chance.uniform(0.0, options.kill_within_s) for _ in range(options.kills)]


def _record(options: BenchRecorderOptions, domain_id: int,
            console: Console) -> list[RecorderRun]:
    runs = []
    for side, seconds in plan(options):
        runs.append(run_once(options, side, seconds, domain_id))
        counts = runs[-1].topics.values()
        console.print(f'{side}, {seconds:g} s: {sum(each.lost for each in counts)} of '
                      f'{sum(each.sent for each in counts)} lost, '
                      f'{runs[-1].cpu_share:.0%} of a core, closed in {runs[-1].closing_s:.2f} s')
    return runs


def _kill(options: BenchRecorderOptions, domain_id: int, console: Console) -> list[KilledRun]:
    kills = []
    for after_s in kill_times(options):
        kills.append(kill_once(options, after_s, domain_id))
        longest_s = max(cut.tail_s for cut in kills[-1].topics.values())
        console.print(f'killed after {after_s:.2f} s: {kills[-1].messages} messages rescued, at '
                      f'most {longest_s:.3f} s of a topic lost')
    return kills
