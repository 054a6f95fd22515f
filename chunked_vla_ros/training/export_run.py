"""
Run ``chunked-vla export``: read the checkpoint and the data, write the bundle, say what it is.

A user's mistake is one line and exit code 2, a graph that differs from the network is 1.
"""

from __future__ import annotations

from dataclasses import asdict
import json
from pathlib import Path
import sys

from chunked_vla_ros.training.export_options import ExportOptions
from chunked_vla_ros.training.run import mistake_line

FAILED, MISTAKE = 1, 2
CALL = 'chunked-vla export CHECKPOINT --out BUNDLE'
INSTALL = 'pip install -r requirements/train.txt'

__all__ = ['ExportOptions', 'run_export']


def run_export(options: ExportOptions) -> int:
    """Export as ``options`` say; return the exit code."""
    try:
        return _run(options)
    except ImportError as error:
        print(f'error: {" ".join(str(error).split())}; {INSTALL}', file=sys.stderr)
        return MISTAKE
    except Exception as error:
        line = mistake_line(error)
        if line is None:
            raise
        print(f'error: {line}', file=sys.stderr)
        return FAILED if type(error).__name__ == 'ExportError' else MISTAKE


def _run(options: ExportOptions) -> int:
    for name, value in (('CHECKPOINT', options.checkpoint), ('--out', options.out)):
        if not value:
            raise ValueError(f'{name} is missing: {CALL}')
    target = Path(options.out)
    if target.exists() or target.is_symlink():
        raise ValueError(f'{target}: exists already, expected a new directory')
    from chunked_vla_ros.data.robot_contract import load_robot
    from chunked_vla_ros.data.training_rows import read_training_rows
    from chunked_vla_ros.training.checkpoint import read_policy
    from chunked_vla_ros.training.export import export_trained, LARGEST_DIFFERENCE
    policy = read_policy(options.checkpoint)
    rows = None
    if options.data:
        rows = read_training_rows(
            options.data, load_robot(policy.config.robot),
            [camera.name for camera in policy.shape.cameras], no_cache=True)
    print(f'step {policy.step}: making the graph, which takes half a minute', flush=True)
    report = export_trained(policy, target, options.name, options.with_weights, rows,
                            options.candidates, options.candidate_noise)
    print(f'graph and network differ by at most {report.parity:.1e} on {report.observations} '
          f'observations (limit {LARGEST_DIFFERENCE:g})')
    print(f'{report.policy_id}: {report.parameters / 1e6:.2f} M parameters, policy.onnx '
          f'{report.size_bytes / 1e6:.1f} MB')
    print(f'bundle: {report.bundle}')
    if options.json:
        Path(options.json).write_text(
            json.dumps(asdict(report), indent=2) + '\n', encoding='utf-8')
    return 0
