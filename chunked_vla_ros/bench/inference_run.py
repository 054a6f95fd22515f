"""
The runs of the inference benchmark: the node or a bare session, beside the same stand-in robot.

Every process is started anew for each run, so that both meet the same surroundings.
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
from typing import Any

from chunked_vla_ros.bench.inference_options import BenchInferenceOptions, LOG
from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.graph import tied_process
from chunked_vla_ros.graph.transport import transport_environment

START_LIMIT_S = 60.0
NODE = 'from chunked_vla_ros.nodes.inference_node import main; raise SystemExit(main())'


class NoInference(RuntimeError):
    """A run could not be made; one line."""


@dataclass(frozen=True)
class InferencePair:
    """
    One run of the node and one of the bare session, made one after the other.

    :ivar overall_ms: From a joint sample's stamp to the arrival of its chunk, each chunk [ms].
    :ivar policy_ms: What the node itself says that its policy took, each chunk [ms].
    :ivar bare_ms: The bare session's runs [ms].
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


def run_pair(options: BenchInferenceOptions, bundle: Path, domain_id: int,
             node_first: bool) -> InferencePair:
    """
    Run node and bare session; return what both took.

    :raises NoInference: if a process fails or does not end.
    """
    if node_first:
        timed, bare = _node_run(options, bundle, domain_id), _bare_run(options, bundle, domain_id)
    else:
        bare, timed = _bare_run(options, bundle, domain_id), _node_run(options, bundle, domain_id)
    # The first chunk meets a node that has just started and streams that are being discovered.
    return InferencePair(
        tuple(timed['overall_ms'][1:]), tuple(timed['inference_ms'][1:]), tuple(bare['run_ms']))


def _node_run(options: BenchInferenceOptions, bundle: Path, domain_id: int) -> dict[str, Any]:
    settings = {
        'robot': options.robot, 'policy': 'onnx', 'bundle': str(bundle),
        'execution_provider': 'cpu', 'intra_op_threads': options.threads,
        'replan_period_s': options.replan_period_s, 'run_on_activate': True,
        'default_timeout_s': 86400.0}
    arguments = [word for name, value in settings.items()
                 for word in ('-p', f'{name}:={json.dumps(value)}')]
    with (Path(options.out) / LOG).open('a', encoding='utf-8') as log, \
            _process(domain_id, ['-c', NODE, '--ros-args', *arguments], stderr=log), \
            _load(options, domain_id, options.chunks + 1) as load:
        return _result(load, START_LIMIT_S + 10 * options.chunks * options.replan_period_s,
                       f'no {options.chunks} chunks came; see {Path(options.out) / LOG}')


def _bare_run(options: BenchInferenceOptions, bundle: Path, domain_id: int) -> dict[str, Any]:
    arguments = ['-m', 'chunked_vla_ros.bench.bare_session', '--bundle', str(bundle),
                 '--threads', str(options.threads), '--runs', str(options.chunks),
                 '--period-s', str(options.replan_period_s)]
    with _load(options, domain_id, 0), _process(domain_id, arguments) as bare:
        return _result(bare, START_LIMIT_S + 10 * options.chunks * options.replan_period_s,
                       'the bare session did not end')


def _load(options: BenchInferenceOptions, domain_id: int, chunks: int) -> Any:
    return _process(domain_id, [
        '-m', 'chunked_vla_ros.nodes.chunk_timing', '--robot', options.robot,
        '--joint-rate-hz', str(options.joint_rate_hz), '--chunks', str(chunks)])


@contextmanager
def _process(domain_id: int, arguments: Sequence[str],
             stderr: Any = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Yield a Python process tied to this one's life; end it when the block ends."""
    environment = {
        **os.environ, 'ROS_DOMAIN_ID': str(domain_id),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', **transport_environment()}
    process = subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)
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


def _result(process: subprocess.Popen[str], limit_s: float, late: str) -> dict[str, Any]:
    """Return the JSON object that ``process`` prints, waiting without closing its input."""
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired as error:
        raise NoInference(late) from error
    output = process.stdout.read() if process.stdout else ''
    if process.returncode != 0:
        said = (process.stderr.read() if process.stderr else '').strip().splitlines()
        raise NoInference(said[-1] if said else f'ended with {process.returncode}')
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
