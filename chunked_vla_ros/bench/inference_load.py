"""
The work of an inference beside the executor, ten times a second, in a process of its own.

Run as ``python -m chunked_vla_ros.bench.inference_load [MODEL.onnx]``: a session on random inputs,
or without a model about 20 ms of matrix products. Says ``ready`` once it is warm; ends when its
input closes.
"""

from __future__ import annotations

from collections.abc import Callable
import sys
import threading
import time

import numpy as np

PERIOD_S, WORK_S, SIZE = 0.1, 0.02, 256
TYPES = {'tensor(float)': np.float32, 'tensor(uint8)': np.uint8, 'tensor(int64)': np.int64,
         'tensor(int32)': np.int32, 'tensor(bool)': np.bool_, 'tensor(double)': np.float64}


def products() -> None:
    """Multiply matrices for about 20 ms."""
    end_s, matrix = time.monotonic() + WORK_S, np.ones((SIZE, SIZE), np.float32)
    while time.monotonic() < end_s:
        matrix = np.tanh(matrix @ matrix)


def session(path: str) -> Callable[[], object]:
    """Return a function that runs the model at ``path`` once; open dimensions are 1."""
    import onnxruntime
    model = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    given: dict[str, np.ndarray] = {
        entry.name: np.ones([size if isinstance(size, int) else 1 for size in entry.shape],
                            TYPES[entry.type])
        for entry in model.get_inputs()}
    return lambda: model.run(None, given)


def main() -> None:
    """Work until standard input ends."""
    work = session(sys.argv[1]) if sys.argv[1:] else products
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    work()
    print('ready', flush=True)
    deadline_s = time.monotonic()
    while True:
        deadline_s = max(deadline_s + PERIOD_S, time.monotonic())
        if ended.wait(max(deadline_s - time.monotonic(), 0.0)):
            return
        work()


if __name__ == '__main__':
    main()
