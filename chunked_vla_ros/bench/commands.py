"""
The benchmarks as commands: a name, what it measures in one line, and the function that runs it.

A benchmark's modules are imported when it is called. Knows no command line: how options are read
is told from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

OptionsT = TypeVar('OptionsT')


class Parse(Protocol):
    """Reads the options that the user typed."""

    def __call__(self, options: type[OptionsT]) -> OptionsT:
        """Return ``options`` filled; a mistake ends the program with one line."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """One of ``chunked-vla bench``: its name, its line of the overview, and what runs it."""

    name: str
    summary: str
    run: Callable[[Parse], int]


def _chunks(parse: Parse) -> int:
    from chunked_vla_ros.bench.chunks import BenchChunksOptions, run_bench_chunks
    return run_bench_chunks(parse(BenchChunksOptions))


def _convert(parse: Parse) -> int:
    from chunked_vla_ros.bench.convert import BenchConvertOptions, run_bench_convert
    return run_bench_convert(parse(BenchConvertOptions))


def _executor(parse: Parse) -> int:
    from chunked_vla_ros.bench.executor import BenchExecutorOptions, run_bench_executor
    return run_bench_executor(parse(BenchExecutorOptions))


def _inference(parse: Parse) -> int:
    from chunked_vla_ros.bench.inference import BenchInferenceOptions, run_bench_inference
    return run_bench_inference(parse(BenchInferenceOptions))


def _recorder(parse: Parse) -> int:
    from chunked_vla_ros.bench.recorder import BenchRecorderOptions, run_bench_recorder
    return run_bench_recorder(parse(BenchRecorderOptions))


def _rl(parse: Parse) -> int:
    from chunked_vla_ros.bench.rl import BenchRlOptions, run_bench_rl
    return run_bench_rl(parse(BenchRlOptions))


def _train(parse: Parse) -> int:
    from chunked_vla_ros.bench.train import BenchTrainOptions, run_bench_train
    return run_bench_train(parse(BenchTrainOptions))


def _transport(parse: Parse) -> int:
    from chunked_vla_ros.bench.transport import BenchTransportOptions, run_bench_transport
    return run_bench_transport(parse(BenchTransportOptions))


BENCHMARKS = (
    Benchmark('chunks', 'recorded motion through the executor, with delays', _chunks),
    Benchmark('convert', 'bags to a dataset, ours against the obvious way', _convert),
    Benchmark('executor', 'lateness and cost of the control loop, against a bare one', _executor),
    Benchmark('transport', "camera images lost, our DDS profile against Fast DDS's own",
              _transport),
    Benchmark('recorder', 'what a recorder loses and costs, ours against a plain one', _recorder),
    Benchmark('inference', 'what the node adds to its model; ONNX Runtime against torch',
              _inference),
    Benchmark('rl', "OGBench's cube tasks by chunked RL, beside published success rates", _rl),
    Benchmark('train', 'training examples and steps per second, and waiting for data', _train))
