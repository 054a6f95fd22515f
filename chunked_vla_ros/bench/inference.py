"""
``chunked-vla bench inference``: what the node adds to its model; ONNX Runtime against torch.

The node and a bare session of the same model run in turns beside the same stand-in robot; see
`bench.inference_run` for what exactly is timed. Exit code 0 if the node adds at most 5 ms at the
median and 10 ms at the 99th percentile.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
import sys
import tempfile
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench.inference_options import BenchInferenceOptions, LOG
from chunked_vla_ros.bench.inference_run import InferenceRun, NoInference, run_once
from chunked_vla_ros.bench.inference_summary import kept, markdown, print_table, summary
from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.core.statistics import percentile, spread
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions

__all__ = ['BenchInferenceOptions', 'run_bench_inference']

SCHEMA = 2
TORCH_RUNS = 20
INSTALL = 'pip install -r requirements/train.txt'


def run_bench_inference(options: BenchInferenceOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(highlight=False), Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / LOG).write_text('', encoding='utf-8')
        with tempfile.TemporaryDirectory() as scratch, \
                reserved_domain(options.domain_id) as domain_id:
            bundle = Path(options.bundle or f'{scratch}/small_vla').resolve()
            model = _exported(options, bundle) if not options.bundle else {}
            policy_id = read_bundle(bundle).policy_id
            runs = _runs(options, bundle, domain_id, console)
            against = _against_torch(options, bundle)
    except NoInference as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except (ImportError, OSError, ValueError) as error:
        remedy = (f'; {INSTALL}, or name a bundle of your own by --bundle'
                  if isinstance(error, ImportError) else '')
        print(f'error: {" ".join(str(error).split())}{remedy}', file=sys.stderr)
        return 2
    found = {'schema': SCHEMA, 'command': options.command, 'policy_id': policy_id, **model,
             'n': len(runs), 'versions': versions(), **summary(runs),
             'onnx_against_torch': against, 'runs': [asdict(run) for run in runs]}
    written = write_results(out, options.json, found, markdown(found))
    print_table(found, console)
    console.print(written)
    return 0 if kept(found) else 1


def _runs(options: BenchInferenceOptions, bundle: Path, domain_id: int,
          console: Console) -> list[InferenceRun]:
    runs = []
    for repeat in range(options.repeats):
        runs.append(run_once(options, bundle, domain_id))
        console.print(f'run {repeat + 1}: {runs[-1].overhead_p50_ms:.2f} ms added at the median, '
                      f'{runs[-1].overhead_p99_ms:.2f} ms at p99')
    return runs


def _exported(options: BenchInferenceOptions, bundle: Path) -> dict[str, int]:
    from chunked_vla_ros.bench.vla_model import export_vla
    return {'parameters': export_vla(bundle, load_robot(options.robot))}


def _against_torch(options: BenchInferenceOptions, bundle: Path) -> dict[str, Any]:
    """Return the comparison, or the ``reason`` why there is none."""
    try:
        from chunked_vla_ros.bench.vla_model import compare
    except ImportError:
        return {'reason': f'torch is not installed; {INSTALL}'}
    if options.bundle:
        return {'reason': 'the weights of --bundle are not known to torch; leave it out'}
    onnx_ms, torch_ms, difference = compare(
        load_robot(options.robot), read_bundle(bundle).model, options.threads, options.repeats,
        TORCH_RUNS)
    by_onnx, by_torch = ([percentile(block, 50) for block in blocks]
                         for blocks in (onnx_ms, torch_ms))
    return {
        'onnx_ms': asdict(spread(by_onnx)), 'torch_ms': asdict(spread(by_torch)),
        'torch_over_onnx': asdict(spread(
            [slow / fast for slow, fast in zip(by_torch, by_onnx, strict=True)])),
        'difference_rad': difference}
