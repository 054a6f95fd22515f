"""
The runs of the inference benchmark: the node and a bare session in turns, chunk by chunk.

What is measured: an observation is complete when the newest joint sample in it arrives, since the
node asks its policy when joints arrive. The time goes from that sample's stamp, set just before it
is sent, to the moment at which the middleware was given the chunk. So the joints' transport is in
it, the chunk's is not. After each chunk, when the node has nothing to plan, a bare session of the
same model with the same settings runs once, beside the same robot, cameras and node. What remains
after its time is what the node adds. Every process is started anew for each repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
import threading
import time
from typing import Any

from chunked_vla_ros.bench.inference_options import BenchInferenceOptions, LOG
from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.graph import tied_process
from chunked_vla_ros.graph.transport import transport_environment

START_LIMIT_S, WATCH_S = 60.0, 0.2
# The bare session runs this share of the period after a chunk: the node is done with it then.
BARE_AFTER = 0.25
ERROR = 'error: '
NODE = 'from chunked_vla_ros.nodes.inference_node import main; raise SystemExit(main())'


class NoInference(RuntimeError):
    """A run could not be made; one line."""


@dataclass(frozen=True)
class InferenceRun:
    """
    What one start of node and bare session gave, chunk by chunk, all in [ms].

    :ivar overall_ms: From the stamp of the observation's joints to the chunk's publication.
    :ivar policy_ms: What the node itself says that its policy took.
    :ivar bare_ms: The bare session's run after that chunk.
    """

    overall_ms: tuple[float, ...]
    policy_ms: tuple[float, ...]
    bare_ms: tuple[float, ...]

    @property
    def overhead_p50_ms(self) -> float:
        """Return the median of what the node adds to the bare session's median [ms]."""
        return percentile(self.overall_ms, 50) - percentile(self.bare_ms, 50)

    @property
    def overhead_p99_ms(self) -> float:
        """Return the same at the 99th percentile of both [ms]."""
        return percentile(self.overall_ms, 99) - percentile(self.bare_ms, 99)

    @property
    def outside_policy_ms(self) -> tuple[float, ...]:
        """Return what of each chunk's time the policy had no part in [ms]."""
        return tuple(whole - part for whole, part in zip(
            self.overall_ms, self.policy_ms, strict=True))


def run_once(options: BenchInferenceOptions, bundle: Path, domain_id: int) -> InferenceRun:
    """
    Run node and bare session; return what both took.

    :raises NoInference: if a process fails or says nothing, or if the model is too slow for both
        to take their turns within the period.
    """
    with (Path(options.out) / LOG).open('a', encoding='utf-8') as log, \
            _process(domain_id, _bare(options, bundle), log) as bare, \
            _process(domain_id, _node(options, bundle), log) as node, \
            _process(domain_id, _load(options), log) as load, \
            _watched(START_LIMIT_S + 10 * options.chunks * options.replan_period_s,
                     bare, node, load):
        _answer(bare, options)
        # The first chunk meets a node that has just started and streams that are discovered.
        _answer(load, options)
        timed, bare_ms = [], []
        for _ in range(options.chunks):
            timed.append(json.loads(_answer(load, options)))
            bare_ms.append(float(_ask(bare, options)))
    run = InferenceRun(tuple(chunk['overall_ms'] for chunk in timed),
                       tuple(chunk['policy_ms'] for chunk in timed), tuple(bare_ms))
    check_turns(run, options.replan_period_s)
    return run


def check_turns(run: InferenceRun, period_s: float) -> None:
    """
    Do nothing if node and bare session ran in turns, not at once.

    :raises NoInference: if both medians do not fit into ``period_s`` [s].
    """
    needed_s = BARE_AFTER * period_s + (
        percentile(run.overall_ms, 50) + percentile(run.bare_ms, 50)) / 1e3
    if needed_s > period_s:
        raise NoInference(
            f'node and bare session need {needed_s:.2f} s by turns; give --replan-period-s more '
            f'than {period_s:g}')


def _node(options: BenchInferenceOptions, bundle: Path) -> list[str]:
    settings = {
        'robot': options.robot, 'policy': 'onnx', 'bundle': str(bundle),
        'execution_provider': 'cpu', 'intra_op_threads': options.threads,
        'replan_period_s': options.replan_period_s, 'run_on_activate': True,
        'default_timeout_s': 86400.0}
    words = [word for name, value in settings.items()
             for word in ('-p', f'{name}:={json.dumps(value)}')]
    return ['-c', NODE, '--ros-args', *words]


def _bare(options: BenchInferenceOptions, bundle: Path) -> list[str]:
    return ['-m', 'chunked_vla_ros.bench.bare_session', '--bundle', str(bundle),
            '--threads', str(options.threads),
            '--delay-s', str(BARE_AFTER * options.replan_period_s)]


def _load(options: BenchInferenceOptions) -> list[str]:
    return ['-m', 'chunked_vla_ros.nodes.chunk_timing', '--robot', options.robot,
            '--joint-rate-hz', str(options.joint_rate_hz)]


@contextmanager
def _process(domain_id: int, arguments: Sequence[str],
             log: Any) -> Iterator[subprocess.Popen[str]]:
    """Yield a Python process tied to this one's life; end it when the block ends."""
    environment = {
        **os.environ, 'ROS_DOMAIN_ID': str(domain_id),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', **transport_environment()}
    process = subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def _watched(seconds: float, *processes: subprocess.Popen[str]) -> Iterator[None]:
    """End all ``processes`` when one ends or after ``seconds``: nobody waits for ever."""
    done = threading.Event()

    def watch() -> None:
        until_s = time.monotonic() + seconds
        while not done.wait(WATCH_S):
            if time.monotonic() > until_s or any(process.poll() is not None
                                                 for process in processes):
                for process in processes:
                    process.terminate()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _ask(process: subprocess.Popen[str], options: BenchInferenceOptions) -> str:
    assert process.stdin is not None    # made with a pipe
    try:
        process.stdin.write('run\n')
        process.stdin.flush()
    except BrokenPipeError:
        pass    # it has ended: its answer is none, which says more
    return _answer(process, options)


def _answer(process: subprocess.Popen[str], options: BenchInferenceOptions) -> str:
    """Return the next line that ``process`` prints."""
    assert process.stdout is not None    # made with a pipe
    line = process.stdout.readline()
    if not line:
        log = Path(options.out) / LOG
        said = [entry.removeprefix(ERROR) for entry in log.read_text('utf-8').splitlines()
                if entry.startswith(ERROR)]
        raise NoInference(said[-1] if said else f'a process said nothing more; see {log}')
    return line
