"""
A process that runs a bundle's model in a bare ONNX Runtime session, once for every line it reads.

No node, no policy, no copies beyond ONNX Runtime's own: what is left is the model. The session's
settings are those of the `onnx` policy. Says ``ready`` when it is warm, then one
duration [ms] a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys
import time
from typing import Any

import numpy as np
import onnxruntime

from chunked_vla_ros.data.policy_bundle import read_bundle

WARM_UP_RUNS = 3
TYPES = {'tensor(uint8)': np.uint8, 'tensor(int64)': np.int64, 'tensor(float)': np.float32}


def open_bare(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Return a session on the CPU; ``threads`` 0 leaves their number to ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.add_session_config_entry('session.load_model_format', 'ONNX')
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def feeds(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray[Any, Any]]:
    """Return an array of noise for every input of ``session``, the same for the same model."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray[Any, Any]] = {}
    for node in session.get_inputs():
        kind = TYPES[node.type]
        shape = [size if isinstance(size, int) else 1 for size in node.shape]
        made[node.name] = (
            random.integers(0, 256, shape, np.uint8) if kind is np.uint8
            else np.ones(shape, kind) if kind is np.int64
            else random.standard_normal(shape).astype(np.float32))
    return made


def serve(session: onnxruntime.InferenceSession, delay_s: float) -> None:
    """Run the model ``delay_s`` [s] after each line of standard input, until that ends."""
    inputs = feeds(session)
    for _ in range(WARM_UP_RUNS):
        session.run(None, inputs)
    print('ready', flush=True)
    for _ in sys.stdin:
        time.sleep(delay_s)
        begun_ns = time.monotonic_ns()
        session.run(None, inputs)
        print((time.monotonic_ns() - begun_ns) / 1e6, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--bundle', required=True)
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--delay-s', type=float, required=True)
    given = parser.parse_args(argv)
    serve(open_bare(read_bundle(given.bundle).model, given.threads), given.delay_s)
    return 0


if __name__ == '__main__':
    sys.exit(main())
