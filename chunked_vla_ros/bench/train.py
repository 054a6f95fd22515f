"""
``chunked-vla bench train``: training examples and steps per second, and what waiting costs.

Our loader, ours without its cache, and the obvious way, which decodes a video for each example,
in turns on the same windows; then training steps of the network itself. Decoded frames go into a
folder of its own, which is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib.metadata
from pathlib import Path
import sys
import tempfile
from typing import TYPE_CHECKING

from rich.console import Console

from chunked_vla_ros.bench.convert_bags import IMAGE_HZ
from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.bench.train_options import BenchTrainOptions, IMITATION
from chunked_vla_ros.demo.versions import versions

if TYPE_CHECKING:
    from chunked_vla_ros.bench.train_run import LoadRun, TrainRun

INSTALL = 'pip install -r requirements/train.txt'

__all__ = ['BenchTrainOptions', 'run_bench_train']


def run_bench_train(options: BenchTrainOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    if options.method != IMITATION:
        from chunked_vla_ros.bench.train_rl import run_bench_train_rl
        return run_bench_train_rl(options)
    console, out = Console(highlight=False), Path(options.out)
    try:
        from chunked_vla_ros.bench.train_summary import markdown, print_tables, to_json
        out.mkdir(parents=True, exist_ok=True)
        if options.json:    # told now, not after ten minutes
            Path(options.json).touch()
        with tempfile.TemporaryDirectory(dir=out, prefix='frames_') as folder:
            facts, loads, trains = _measure(options, Path(folder), console)
        written = write_results(
            out, options.json, to_json(loads, trains, options.command, facts, {
                **versions(), **{name: importlib.metadata.version(name)
                                 for name in ('torch', 'av')}}),
            markdown(loads, trains, options.command))
    except (ImportError, OSError, ValueError) as error:    # DatasetError, ConfigError, ...
        remedy = f'; {INSTALL}' if isinstance(error, ImportError) else ''
        print(f'error: {" ".join(str(error).split())}{remedy}', file=sys.stderr)
        return 2
    print_tables(loads, trains, console)
    console.print(written)
    return 0


def plan(repeats: int, sides: Sequence[str]) -> list[tuple[int, str]]:
    """Return (repeat, side) of every run, in order: who comes first changes each round."""
    return [(number, sides[(number + place) % len(sides)])
            for number in range(repeats) for place in range(len(sides))]


def _measure(options: BenchTrainOptions, folder: Path, console: Console,
             ) -> tuple[dict[str, object], list[LoadRun], list[TrainRun]]:
    from chunked_vla_ros.bench.train_run import (
        DECODED,
        make_dataset,
        OURS,
        PLAIN,
        PLAIN_WORKERS,
        TrainBench,
    )
    from chunked_vla_ros.training.config import read_config
    data, own = Path(options.data), []
    if not options.data:
        data, robot = make_dataset(folder, options.episodes, options.frames)
        own = [f'robot={robot}', f'step_s={1.0 / IMAGE_HZ}']
    config = read_config(options.config, [*own, *options.set])
    bench = TrainBench(data, config, folder / 'cache')
    sides = [OURS, DECODED, PLAIN, *([PLAIN_WORKERS] if options.workers else [])]
    loads, trains = [], []
    for side in sides:    # files into memory, for all alike
        bench.load(side, bench.order.batch_size, 0, options.workers)
    for repeat, side in plan(options.repeats, sides):
        loads.append(bench.load(side, options.windows, repeat, options.workers))
        console.print(f'{side}: {loads[-1].windows_per_s:.0f} examples/s')
        if side == sides[(repeat - 1) % len(sides)]:    # the last of its round
            trains.append(bench.train(options.steps))
            console.print(f'training: {trains[-1].steps_per_s:.2f} steps/s, '
                          f'{100.0 * trains[-1].wait_share:.1f} % waiting')
    return bench.facts, loads, trains
