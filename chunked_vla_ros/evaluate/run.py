"""
``chunked-vla evaluate``: seeded episodes, a table, results.json and a report.

Exit code 0 if every episode could be run, whatever its outcome: a policy that fails is a result.
"""

from __future__ import annotations

from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.evaluate.options import EvaluateOptions, REPORT, RESULTS
from chunked_vla_ros.evaluate.screen import print_results
from chunked_vla_ros.evaluate.setup import RosFailure

__all__ = ['EvaluateOptions', 'run_evaluate']

MISTAKE, INTERRUPTED = 2, 130


def run_evaluate(options: EvaluateOptions) -> int:
    """Evaluate what ``options`` say; return the exit code."""
    console, before = Console(stderr=True, highlight=False), _written(options)
    try:
        from chunked_vla_ros.evaluate.evaluation import evaluate
    except ImportError as error:
        print(f"error: evaluate needs the simulator: {error}; install the extra 'sim'",
              file=sys.stderr)
        return MISTAKE
    try:
        results = evaluate(options, console)
    except KeyboardInterrupt:
        print(f'interrupted{_kept(options, before)}', file=sys.stderr)
        return INTERRUPTED
    except RosFailure as error:
        print(f'error: {error}\nwhat the nodes said is in {options.out}'
              f'{_kept(options, before)}', file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return MISTAKE
    print_results(results, Console(highlight=False, markup=False))
    out = Path(options.out)
    print(f'report: {out / REPORT}   results: {out / RESULTS}')
    return 0


def _written(options: EvaluateOptions) -> bytes:
    file = Path(options.out) / RESULTS
    return file.read_bytes() if file.is_file() else b''


def _kept(options: EvaluateOptions, before: bytes) -> str:
    """Return where to find what was finished, if anything was; ``before``: the file as it was."""
    if _written(options) == before:
        return ', nothing written'
    return f'; what was finished is in {Path(options.out) / RESULTS}'
