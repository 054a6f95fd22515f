"""
``chunked-vla bench chunks``: real recorded motion through the deploy graph, with delays.

Every recording is replayed by the policy `replay` on the simulated arm, for every injected
inference delay in a graph of its own. Exit code 0 only if every replay ran to its end with no
limit exceeded; how well it was tracked is reported, not judged.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
import json
from pathlib import Path
import shlex
import sys

from rich.console import Console

from chunked_vla_ros.bench.chunks_summary import markdown, print_table, to_json
from chunked_vla_ros.bench.replay_run import judge, NoReplay, ReplayRun
from chunked_vla_ros.core.retarget import retarget, Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.free_domain import NoFreeDomain
from chunked_vla_ros.demo.option_bounds import check_bounds, flag
from chunked_vla_ros.demo.running_graph import (
    graph_specs,
    reserved_domain,
    running_graph,
    RunningGraph,
)
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.motion_log import MotionLog

TIMEOUT_MARGIN_S = 15.0
# The last chunk is still being executed when the policy is done.
AFTERWARDS_S = 0.5
LOG, RESULTS, TABLE = 'graph.log', 'results.json', 'table.md'


@dataclass(frozen=True)
class BenchChunksOptions:
    """Replay recorded teleoperation through inference and executor; report how it was tracked."""

    demonstrations: str = parameter('', 'recording to replay: a .npy file, or a folder of them')
    delays_s: tuple[float, ...] = parameter(
        (0.0, 0.05, 0.15), 'inference delays to inject [s]')
    repeats: int = parameter(1, 'replays per recording and delay', minimum=1, maximum=100)
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    out: str = parameter('out/bench_chunks', f'folder for {RESULTS}, {TABLE} and {LOG}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        if not self.demonstrations:
            raise GraphError(
                '--demonstrations is missing: a .npy recording, or a folder of them')
        if not self.delays_s or not all(0.0 <= delay <= 2.0 for delay in self.delays_s):
            raise GraphError(f'--delays-s is {self.delays_s}, expected values from 0 to 2')
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        words = ['chunked-vla', 'bench', 'chunks']
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value != spec.default and spec.name not in ('domain_id', 'json', 'out'):
                words.append(flag(spec.name))
                words += map(str, value) if isinstance(value, tuple) else [str(value)]
        return shlex.join(words)


def run_bench_chunks(options: BenchChunksOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(), Path(options.out)
    try:
        robot = load_robot(options.robot)
        replays = {
            file: retarget(load_demonstration(file), robot)
            for file in _recordings(Path(options.demonstrations))}
        out.mkdir(parents=True, exist_ok=True)
        with reserved_domain(options.domain_id) as domain_id:
            runs = _run_all(options, robot, replays, domain_id, console)
    except (GraphFailure, NoReplay) as error:
        print(f'error: {error}\nthe whole log is in {out / LOG}', file=sys.stderr)
        return 1
    except (NoFreeDomain, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    results = json.dumps(to_json(runs, options.command, versions()), indent=2) + '\n'
    for path in [str(out / RESULTS), *([options.json] if options.json else [])]:
        Path(path).write_text(results, encoding='utf-8')
    (out / TABLE).write_text(markdown(runs, options.command), encoding='utf-8')
    print_table(runs, console)
    console.print(f'results: {out / RESULTS}   table: {out / TABLE}')
    return 1 if any(run.limits.violations for run in runs) else 0


def _recordings(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob('*.npy'))
    if not files:
        raise FileNotFoundError(f'{path}: has no .npy recording')
    return files


def _run_all(options: BenchChunksOptions, robot: RobotSpec, replays: dict[Path, Retargeted],
             domain_id: int, console: Console) -> list[ReplayRun]:
    runs = []
    for file, replayed in replays.items():
        for delay_s in options.delays_s:
            specs = graph_specs(
                DeployOptions(robot=options.robot, policy='replay', demonstration=str(file)),
                {'inference': {'injected_delay_s': delay_s, 'run_on_activate': False}})
            with running_graph(specs, robot, domain_id, Path(options.out) / LOG) as graph:
                log = MotionLog(graph.client.node, robot, commands=True)
                for repeat in range(options.repeats):
                    run = _replay(graph, log, robot, replayed, delay_s, repeat)
                    runs.append(run)
                    console.print(
                        f'{file.name}, {delay_s * 1e3:.0f} ms delay, run {repeat + 1}: '
                        f'measured {run.measured.whole.rms_rad * 1e3:.1f} mrad rms, '
                        f'{run.measured.whole.max_rad * 1e3:.1f} mrad max')
    return runs


def _replay(graph: RunningGraph, log: MotionLog, robot: RobotSpec, replayed: Retargeted,
            delay_s: float, repeat: int) -> ReplayRun:
    client = graph.client
    client.reset_executor()
    start = client.reset_scene(repeat, 'fixed')
    client.reset_executor()
    log.start()
    outcome = client.run_policy(start, replayed.motion.duration_s + TIMEOUT_MARGIN_S)
    client.spin_for(AFTERWARDS_S)
    record = log.decode(log.take())
    if outcome.termination != 'policy done':
        raise NoReplay(f'the replay ended by {outcome.termination}: {outcome.message}')
    return judge(record, outcome.session_id, robot, replayed, delay_s, repeat)
