"""
Replay recordings through the deploy graph, each injected delay in a graph of its own.

Writes nothing but the nodes' log; `bench.chunks` writes the results.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from chunked_vla_ros.bench.chunks_options import BenchChunksOptions, LOG
from chunked_vla_ros.bench.replay_run import judge, NoReplay, ReplayRun
from chunked_vla_ros.core.retarget import Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.demo.running_graph import graph_specs, running_graph, RunningGraph
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.nodes.motion_log import MotionLog

TIMEOUT_MARGIN_S = 15.0
# The last chunk is still being executed when the policy is done.
AFTERWARDS_S = 0.5


def replay_all(options: BenchChunksOptions, robot: RobotSpec, replays: dict[Path, Retargeted],
               domain_id: int, console: Console) -> list[ReplayRun]:
    """
    Return every run of every recording and delay, told one by one on ``console``.

    :raises GraphFailure: if the graph does not start or does not play along.
    :raises NoReplay: if a replay did not run to its end.
    """
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
