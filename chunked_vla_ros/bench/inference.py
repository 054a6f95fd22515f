"""
``chunked-vla bench inference``: what the node adds to its model; ONNX Runtime against torch.

The node and a bare session of the same model run in turns beside the same stand-in robot. Exit
code 0 if the node adds at most 5 ms at the median and 10 ms at the 99th percentile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
import json
from pathlib import Path
import sys
import tempfile
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench.inference_options import (
    BenchInferenceOptions,
    LOG,
    RESULTS,
    TABLE,
)
from chunked_vla_ros.bench.inference_run import InferencePair, NoInference, run_pair
from chunked_vla_ros.core.statistics import percentile, Spread, spread
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions

__all__ = ['BenchInferenceOptions', 'run_bench_inference']

SCHEMA = 1
LARGEST_P50_MS, LARGEST_P99_MS = 5.0, 10.0
TORCH_RUNS = 20
REMEDY = 'pip install -r requirements/bench.txt, or name a bundle of your own by --bundle'


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
            pairs = _pairs(options, bundle, domain_id, console)
            against = _against_torch(options, bundle) if not options.bundle else {}
    except NoInference as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except (ImportError, OSError, ValueError) as error:
        remedy = f'; {REMEDY}' if isinstance(error, ImportError) else ''
        print(f'error: {" ".join(str(error).split())}{remedy}', file=sys.stderr)
        return 2
    found = {'schema': SCHEMA, 'command': options.command, 'policy_id': policy_id, **model,
             'n': len(pairs), 'versions': versions(), **summary(pairs),
             'onnx_against_torch': against, 'runs': [asdict(pair) for pair in pairs]}
    for path in [str(out / RESULTS), *([options.json] if options.json else [])]:
        Path(path).write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    table = markdown(found)
    (out / TABLE).write_text(table, encoding='utf-8')
    print(table)
    console.print(f'results: {out / RESULTS}   table: {out / TABLE}')
    return 0 if kept(pairs) else 1


def kept(pairs: Sequence[InferencePair]) -> bool:
    """Return whether the medians over the pairs are within the bounds."""
    p50, p99 = (percentile([getattr(pair, name) for pair in pairs], 50)
                for name in ('overhead_p50_ms', 'overhead_p99_ms'))
    return p50 <= LARGEST_P50_MS and p99 <= LARGEST_P99_MS


def summary(pairs: Sequence[InferencePair]) -> dict[str, dict[str, float]]:
    """Return median and range over the pairs of every quantity [ms]."""
    quantities = {
        'overall_p50_ms': [percentile(pair.overall_ms, 50) for pair in pairs],
        'overall_p99_ms': [percentile(pair.overall_ms, 99) for pair in pairs],
        'policy_p50_ms': [percentile(pair.policy_ms, 50) for pair in pairs],
        'bare_p50_ms': [percentile(pair.bare_ms, 50) for pair in pairs],
        'bare_p99_ms': [percentile(pair.bare_ms, 99) for pair in pairs],
        'overhead_p50_ms': [pair.overhead_p50_ms for pair in pairs],
        'overhead_p99_ms': [pair.overhead_p99_ms for pair in pairs]}
    return {name: asdict(spread(values)) for name, values in quantities.items()}


def markdown(found: Mapping[str, Any]) -> str:
    """Return the table as Markdown, with the command that makes it."""
    lines = [f'`{found["command"]}`', '', '| quantity | median (range) |', '| --- | --- |']
    for name, title in (
            ('overall_p50_ms', 'joint stamp to chunk at a subscriber, p50 [ms]'),
            ('overall_p99_ms', 'the same, p99 [ms]'),
            ('policy_p50_ms', 'of that in the policy, p50 [ms]'),
            ('bare_p50_ms', 'bare session run, p50 [ms]'),
            ('bare_p99_ms', 'bare session run, p99 [ms]'),
            ('overhead_p50_ms', 'added by the node, p50 [ms]'),
            ('overhead_p99_ms', 'added by the node, p99 [ms]')):
        lines.append(f'| {title} | {_cell(Spread(**found[name]))} |')
    against = found['onnx_against_torch']
    if against:
        for name, title in (('onnx_ms', 'ONNX Runtime [ms]'), ('torch_ms', 'torch eager [ms]'),
                            ('torch_over_onnx', 'torch eager / ONNX Runtime')):
            lines.append(f'| {title} | {_cell(Spread(**against[name]))} |')
        lines.append(f'| largest difference [rad] | {against["difference_rad"]:.1e} |')
    return '\n'.join(lines) + '\n'


def _cell(found: Spread) -> str:
    return f'{found.median:.2f} ({found.low:.2f} to {found.high:.2f}), n = {found.count}'


def _pairs(options: BenchInferenceOptions, bundle: Path, domain_id: int,
           console: Console) -> list[InferencePair]:
    pairs = []
    for repeat in range(options.repeats):
        # Which of the two comes first changes from pair to pair.
        pairs.append(run_pair(options, bundle, domain_id, node_first=repeat % 2 == 0))
        console.print(f'run {repeat + 1}: {pairs[-1].overhead_p50_ms:.2f} ms added at the median, '
                      f'{pairs[-1].overhead_p99_ms:.2f} ms at p99')
    return pairs


def _exported(options: BenchInferenceOptions, bundle: Path) -> dict[str, int]:
    from chunked_vla_ros.bench.vla_model import export_vla
    return {'parameters': export_vla(bundle, load_robot(options.robot))}


def _against_torch(options: BenchInferenceOptions, bundle: Path) -> dict[str, Any]:
    from chunked_vla_ros.bench.vla_model import compare
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
