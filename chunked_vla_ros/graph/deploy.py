"""
The deploy graph: robot (simulated or real), inference and chunk executor.

The one description that ``launch/deploy.launch.py`` and ``chunked-vla up deploy`` share; the
record graph is built on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from chunked_vla_ros.graph.installation import shared_file
from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec, ParameterValue
from chunked_vla_ros.graph.options import option
from chunked_vla_ros.graph.transport import transport_environment

# Held equal to what inference knows by a test: nothing of it is imported here.
POLICIES = ('onnx', 'replay', 'expert')
EXECUTION_PROVIDERS = ('auto', 'cpu', 'cuda', 'tensorrt')
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')


class SharedOptions(Protocol):
    """What every graph lets the user choose for all of its nodes."""

    @property
    def namespace(self) -> str:
        """Return the namespace of every node."""

    @property
    def params_file(self) -> str:
        """Return a parameter file, '' for none."""

    @property
    def log_level(self) -> str:
        """Return one of ``LOG_LEVELS``."""


def check_shared(options: SharedOptions) -> None:
    """
    Check what all graphs share.

    :raises GraphError: naming the option.
    """
    if options.log_level not in LOG_LEVELS:
        raise GraphError(
            f'log level {options.log_level!r}, expected one of {", ".join(LOG_LEVELS)}')
    if options.params_file and not Path(options.params_file).is_file():
        raise GraphError(f'{options.params_file}: no such parameter file')


@dataclass(frozen=True)
class DeployOptions:
    """Start a robot (simulated or real), inference and the chunk executor; Ctrl-C stops them."""

    policies: ClassVar[tuple[str, ...]] = POLICIES

    robot: str = option('ur5e_sim', 'robot contract: a name from config/robots or a path')
    policy: str = option('expert', 'policy that drives: onnx, replay or expert (simulator only)')
    demonstration: str = option(
        '', 'motion for policy replay: a .npy file, a folder of them, or a LeRobot dataset')
    episode: int = option(-1, 'episode of a LeRobot dataset for policy replay; -1: its first one')
    replay_rate_hz: float = option(20.0, 'points per second of the chunks of policy replay')
    replay_moved: bool = option(
        False, 'policy replay takes the recording of another robot too, moved to begin at home')
    bundle: str = option('', 'policy bundle for policy onnx: a directory with manifest.json')
    execution_provider: str = option(
        'auto', f'where policy onnx runs: one of {", ".join(EXECUTION_PROVIDERS)}')
    use_sim: bool = option(True, 'start the simulated robot; false for a real one')
    namespace: str = option('', 'namespace of every node and relative topic')
    params_file: str = option(
        '', 'parameter file for every node, over config/*.yaml and under these arguments')
    autostart: bool = option(
        True, 'nodes configure and activate themselves; false leaves it to a lifecycle manager')
    run_on_activate: bool = option(
        True, 'the policy starts once it observes; false waits for the action run_policy')
    log_level: str = option('info', f'one of {", ".join(LOG_LEVELS)}')
    use_sim_time: bool = option(False, 'run on /clock instead of the system clock')

    def __post_init__(self) -> None:
        check_shared(self)
        if self.policy not in self.policies:
            raise GraphError(
                f'policy {self.policy!r}, expected one of {", ".join(self.policies)}')
        if self.policy == 'replay' and not Path(self.demonstration or '/nowhere').exists():
            raise GraphError(
                f'policy replay: {self.demonstration or "no demonstration"}: name a recording '
                'that exists, a .npy file or a directory, by demonstration')
        if not 5.0 <= self.replay_rate_hz <= 100.0:
            raise GraphError(
                f'replay_rate_hz is {self.replay_rate_hz:g}, expected 5 to 100 points per second')
        if self.policy == 'onnx' and not Path(self.bundle or '/nowhere').is_dir():
            raise GraphError(
                f'policy onnx: {self.bundle or "no bundle"}: name the directory of a policy '
                'bundle by bundle')
        if self.execution_provider not in EXECUTION_PROVIDERS:
            raise GraphError(
                f'execution provider {self.execution_provider!r}, expected one of '
                f'{", ".join(EXECUTION_PROVIDERS)}')


def deploy_graph(options: DeployOptions) -> tuple[NodeSpec, ...]:
    """Return the graph's nodes in the order in which they start."""
    robot = absolute_if_path(options.robot)
    managed: dict[str, ParameterValue] = {
        'use_sim_time': options.use_sim_time, 'robot': robot, 'autostart': options.autostart}
    simulator = NodeSpec(
        executable='sim_node', name='sim', respawn=True, **shared_settings(options, 'sim'),
        parameters={'robot': robot, 'clock': 'sim' if options.use_sim_time else 'wall'})
    inference = NodeSpec(
        executable='inference_node', name='inference', respawn=True,
        **shared_settings(options, 'inference'),
        parameters={
            **managed, 'policy': options.policy, 'run_on_activate': options.run_on_activate,
            'demonstration': absolute_if_path(options.demonstration),
            'episode': options.episode, 'replay_rate_hz': options.replay_rate_hz,
            'replay_moved': options.replay_moved, 'bundle': absolute_if_path(options.bundle),
            'execution_provider': options.execution_provider})
    # Not respawned: an arm's controller that died starts again when somebody has looked.
    executor = NodeSpec(
        executable='chunk_executor_node', name='chunk_executor', required=True,
        **shared_settings(options, 'executor'), parameters=managed)
    return (simulator, inference, executor) if options.use_sim else (inference, executor)


def shared_settings(options: SharedOptions, config: str) -> dict[str, Any]:
    """Return what all nodes have in common; ``config`` names a file in config/."""
    packaged = shared_file(f'config/{config}.yaml')
    files = [str(packaged)] if packaged else []
    if options.params_file:
        files.append(str(Path(options.params_file).resolve()))
    return {
        'namespace': options.namespace, 'parameter_files': tuple(files),
        'environment': transport_environment(), 'log_level': options.log_level}


def absolute_if_path(text: str) -> str:
    """Return a path made absolute, as a node may run elsewhere; a bare name stays as it is."""
    path = Path(text).expanduser()
    return str(path.resolve()) if text and (path.exists() or path.parent != Path()) else text
