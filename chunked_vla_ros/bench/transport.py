"""
``chunked-vla bench transport``: camera images between two processes, counted one by one.

One long run with our Fast DDS profile, then short ones with ours and with Fast DDS's default in
turns, so that both see the same machine. Exit code 0 only if ours lost none.
"""

from __future__ import annotations

from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.bench.transport_options import BenchTransportOptions
from chunked_vla_ros.bench.transport_run import (
    DEFAULT,
    NoTransport,
    OURS,
    run_once,
    TransportRun,
)
from chunked_vla_ros.bench.transport_summary import (
    lost_with_ours,
    markdown,
    print_table,
    to_json,
)
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions

__all__ = ['BenchTransportOptions', 'run_bench_transport']


def run_bench_transport(options: BenchTransportOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(), Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with reserved_domain(options.domain_id) as domain_id:
            runs = _run_all(options, domain_id, console)
    except NoTransport as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    written = write_results(
        out, options.json, to_json(runs, options.command, versions()),
        markdown(runs, options.command))
    print_table(runs, console)
    console.print(written)
    return 0 if lost_with_ours(runs) == 0 else 1


def plan(options: BenchTransportOptions) -> list[tuple[str, float]]:
    """Return profile and length in [s] of every run, in order."""
    # Which of the two comes first changes from pair to pair.
    pairs = [(OURS, DEFAULT) if index % 2 == 0 else (DEFAULT, OURS)
             for index in range(options.repeats)]
    return [(OURS, options.seconds),
            *((profile, options.repeat_seconds) for pair in pairs for profile in pair)]


def _run_all(options: BenchTransportOptions, domain_id: int,
             console: Console) -> list[TransportRun]:
    runs = []
    for profile, seconds in plan(options):
        runs.append(run_once(options, profile, seconds, domain_id))
        console.print(f'{profile}, {seconds:g} s: {runs[-1].lost} of {runs[-1].sent} lost',
                      highlight=False)
    return runs
