"""
A whole graph in a domain of its own, ready to be driven: started, awaited, stopped.

Demonstration and benchmarks share it, so that what they measure is what ``chunked-vla up`` runs.
Knows nothing about episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
import os
from pathlib import Path
import threading

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.demo.free_domain import free_domain
from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.node_spec import NodeSpec, ParameterValue
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.graph.transport import transport_environment
from chunked_vla_ros.nodes.demo_client import DemoClient, GraphFailure

# Two cores that also compile shaders for the first picture need their time.
START_DEADLINE_S = 60.0
TAIL_LINES = 6


@dataclass(frozen=True)
class RunningGraph:
    """The processes and the client that talks to them."""

    supervisor: Supervisor
    client: DemoClient


def graph_specs(options: DeployOptions,
                overrides: Mapping[str, Mapping[str, ParameterValue]]) -> tuple[NodeSpec, ...]:
    """Return the deploy graph with parameters changed per node; a dead node stays dead."""
    return tuple(
        replace(spec, respawn=False,
                parameters={**spec.parameters, **overrides.get(spec.name, {})})
        for spec in deploy_graph(options))


@contextmanager
def reserved_domain(domain_id: int | None) -> Iterator[int]:
    """Yield ``domain_id`` as it is, or else a free domain reserved until the block ends."""
    if domain_id is not None:
        yield domain_id
        return
    with free_domain() as domain:
        yield domain


@contextmanager
def running_graph(specs: Sequence[NodeSpec], robot: RobotSpec, domain_id: int,
                  log_path: Path, *, alone: bool = True,
                  watch: Callable[[], None] = lambda: None) -> Iterator[RunningGraph]:
    """
    Start ``specs``, yield once every node is active, stop all when the block ends.

    Every line that a node writes goes to ``log_path``.

    :param alone: Keep to this machine; else others may belong to the graph, and the block begins
        without waiting for them.
    :param watch: Called while the client waits for anything; what it raises ends the block.
    :raises GraphFailure: with the end of the log of each node that it names.
    """
    environment = {'ROS_DOMAIN_ID': str(domain_id), **transport_environment()}
    if alone:
        environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    # The client in this process reads the same variables when it joins.
    os.environ.update(environment)
    lock = threading.Lock()
    with log_path.open('w', encoding='utf-8') as log:
        def write(name: str, line: str) -> None:
            with lock:
                log.write(f'{name} | {line}\n')

        with Supervisor(specs, env=environment, on_line=write) as supervisor:
            def check() -> None:
                watch()
                _check(supervisor)

            client = DemoClient(robot, domain_id, check)
            try:
                if alone:
                    client.wait_active(START_DEADLINE_S)
                yield RunningGraph(supervisor, client)
            except GraphFailure as error:
                raise GraphFailure(_with_tails(str(error), supervisor, specs)) from error
            finally:
                client.close()


def _check(supervisor: Supervisor) -> None:
    if supervisor.failure:
        raise GraphFailure(supervisor.failure)


def _with_tails(message: str, supervisor: Supervisor, specs: Sequence[NodeSpec]) -> str:
    """Return ``message`` and, below it, what the nodes that it names said last."""
    lines = [message]
    for spec in specs:
        if spec.name in message:
            lines += [f'  {spec.name} | {line}'
                      for line in supervisor.log_tail(spec.name, TAIL_LINES)]
    return '\n'.join(lines)
