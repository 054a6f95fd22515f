"""
``chunked-vla bench train --method qc | qc_fql``: updates per second, beside the same in JAX.

The published sizes, on random numbers: what an update costs depends on no value. For ``qc`` also
the cheaper way, with candidates drawn once. Losses and weights of both sides are compared before
anything is timed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
import sys
import tempfile

from rich.console import Console

from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.bench.train_options import BenchTrainOptions
from chunked_vla_ros.bench.train_rl_inputs import Sizes
from chunked_vla_ros.demo.versions import versions

FRAMEWORKS = {
    'torch': 'pip install -r requirements/train.txt',
    **dict.fromkeys(('jax', 'flax', 'optax'), 'pip install -r requirements/bench_rl.txt')}


def run_bench_train_rl(options: BenchTrainOptions, sizes: Sizes | None = None) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    from chunked_vla_ros.bench.train import plan
    from chunked_vla_ros.bench.train_rl_run import measure, SideError, sides_of, UpdateRun
    from chunked_vla_ros.bench.train_rl_summary import markdown, print_tables, to_json
    console, out = Console(highlight=False), Path(options.out)
    sizes = sizes or Sizes(options.method, rows=options.rows)

    def tell(run: UpdateRun) -> None:
        console.print(f'{run.side}: {run.per_s:.2f} updates/s, {1e3 / run.per_s:.1f} ms')

    try:
        _need_frameworks()
        out.mkdir(parents=True, exist_ok=True)
        if options.json:    # told now, not after ten minutes
            Path(options.json).touch()
        with tempfile.TemporaryDirectory(dir=out, prefix='sides_') as folder:
            found = measure(sizes, plan(options.repeats, sides_of(sizes.method)), options.steps,
                            Path(folder), tell)
        written = write_results(
            out, options.json, to_json(sizes, found, options.command, {
                **versions(), **{name: importlib.metadata.version(name) for name in FRAMEWORKS}}),
            markdown(sizes, found, options.command))
    except (ImportError, OSError, SideError) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    print_tables(sizes, found, console)
    console.print(written)
    return 0


def _need_frameworks() -> None:
    """:raises ImportError: one is missing; the message says how to install it."""
    for name, remedy in FRAMEWORKS.items():
        if importlib.util.find_spec(name) is None:
            raise ImportError(f'{name} is not installed; {remedy}')
