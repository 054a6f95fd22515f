"""
``chunked-vla bench convert``: bags to a dataset, our way against the obvious one.

Ours with its default codec and with LeRobot's, and the obvious way, in turns on the same bags;
then ours on few and on many bags, in turns too, as many must not cost more each. Writes its bags
first, into a folder of its own, and removes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import sys
import tempfile

from rich.console import Console

from chunked_vla_ros.bench.convert_bags import contract, write_bag
from chunked_vla_ros.bench.convert_options import BenchConvertOptions
from chunked_vla_ros.bench.convert_run import (
    ConvertRun,
    NoConversionError,
    OURS,
    run_once,
    SIDES,
)
from chunked_vla_ros.bench.convert_summary import markdown, print_tables, to_json
from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.demo.versions import versions

SHORT_SIZE = (320, 240)

__all__ = ['BenchConvertOptions', 'run_bench_convert']


def run_bench_convert(options: BenchConvertOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(highlight=False), Path(options.out)

    def say(run: ConvertRun) -> None:
        console.print(f'{run.side}, {run.episodes} episodes: {run.frames_per_s:.1f} frames/s')

    try:
        out.mkdir(parents=True, exist_ok=True)
        if options.json:    # told now, not after ten minutes
            Path(options.json).touch()
        with tempfile.TemporaryDirectory(dir=out, prefix='bags_') as folder:
            runs = _side_by_side(options, Path(folder) / 'long', say)
            flat = _few_and_many(options, Path(folder), say)
    except NoConversionError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    written = write_results(
        out, options.json, to_json(runs, flat, options.command, versions()),
        markdown(runs, flat, options.command))
    print_tables(runs, flat, console)
    console.print(written)
    return 0


def plan(repeats: int) -> list[str]:
    """Return the side of every run, in order: who comes first changes from round to round."""
    return [SIDES[(number + place) % len(SIDES)]
            for number in range(repeats) for place in range(len(SIDES))]


def _side_by_side(options: BenchConvertOptions, folder: Path,
                  say: Callable[[ConvertRun], None]) -> list[ConvertRun]:
    bags = _write(folder, options.episodes, options.frames, (options.width, options.height))
    runs: list[ConvertRun] = []
    for side in plan(options.repeats):
        # Quality is the same every time.
        first = all(run.side != side for run in runs)
        runs.append(run_once(side, bags, folder / 'out', psnr=first))
        say(runs[-1])
    return runs


def _few_and_many(options: BenchConvertOptions, folder: Path,
                  say: Callable[[ConvertRun], None]) -> list[ConvertRun]:
    if not options.many:
        return []
    places = [_write(folder / name, count, options.short_frames, SHORT_SIZE)
              for name, count in (('few', options.few), ('many', options.many))]
    runs = []
    for number in range(options.repeats):
        for bags in places if number % 2 == 0 else places[::-1]:
            runs.append(run_once(OURS, bags, bags.parent / 'out', psnr=False))
            say(runs[-1])
    return runs


def _write(folder: Path, count: int, frames: int, size: tuple[int, int]) -> Path:
    """Write the bags and their contract; return their folder."""
    bags = folder / 'bags'
    bags.mkdir(parents=True)
    (folder / 'robot.yaml').write_text(contract(*size), encoding='utf-8')
    for number in range(count):
        write_bag(bags / f'bag_{number:04d}', number, frames, *size)
    return bags
