"""
From bags to a dataset, from datasets to a policy: asked by an action or by the node's parameters.

A plug, not a brain: the work is done by child processes (`train_job`), so that the node answers at
any time and a robot's processes keep their cores' caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import sys
from typing import Any

from chunked_vla_ros.core.training_job import JobRequest, Stage, Termination
from chunked_vla_ros.core.training_words import JobEnd, Progress
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, OK, STEADY, WARN
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.parameters import declare, parameter
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.nodes.train_policy import TrainPolicyServer
from chunked_vla_ros.nodes.train_robot import CONVERT_ROBOT, robot_of

TICK_S = 0.1
# Enough for a result to pass the executor's queue of tasks after the last spin.
LAST_SPINS = 20


@dataclass(frozen=True)
class TrainerParameters:
    """Parameters of the node `offline_trainer`."""

    robot: str = parameter(
        '', 'robot contract, a name or the path of a .yaml file, unless a goal names one; empty: '
        'that of the training configuration, or of a conversion alone '
        f'{CONVERT_ROBOT}')
    config: str = parameter(
        'compact', 'training configuration, a name or the path of a .yaml file, unless a goal '
        'names one')
    bags: tuple[str, ...] = parameter(
        ('',), 'bags, or folders of episodes, that are converted on activation; empty: wait for '
        'the action train_policy')
    dataset: str = parameter(
        '', 'folder of the dataset that is made of them; without bags, of one to learn from')
    append: bool = parameter(False, 'add them to the dataset that is there')
    options: tuple[str, ...] = parameter(
        ('',), 'further options of `chunked-vla convert`, for example fps=20')
    start_from: str = parameter(
        '', 'checkpoint, or training, of imitation that offline RL begins at; empty: imitation')
    datasets: tuple[str, ...] = parameter(('',), 'datasets to learn from, beside that one')
    out: str = parameter(
        '', 'folder of a training, which is begun on activation or gone on with; empty: none')
    bundle: str = parameter(
        '', 'folder of the policy bundle that comes of it; empty: bundle in the folder out')
    train_options: tuple[str, ...] = parameter(
        ('',), 'settings over those of the training configuration, for example steps=2000')
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class OfflineTrainerNode(ManagedNode):
    """The node `offline_trainer`."""

    def __init__(self, **options: Any) -> None:
        """Take what a LifecycleNode takes; a job that cannot begin is refused here."""
        super().__init__('offline_trainer', **options)
        self._settings = declare(self, TrainerParameters)
        self._request = _wish(self._settings)
        if self._request is not None:
            # Where an error ends the process with one line.
            self._request.commands()
        self._server: TrainPolicyServer | None = None
        self.start(self._settings.autostart)

    def configure(self) -> None:
        """Serve."""
        self._server = TrainPolicyServer(
            self, self._settings.robot, self._settings.config, self._on_end)
        self._diagnostics = DiagnosticsPublisher(self, '', self._finding)
        self._ticker = self.create_timer(TICK_S, self._server.tick, clock=STEADY)

    def activate(self) -> None:
        """Allow jobs, and begin the one that the parameters ask for."""
        self._active.open = True
        if self._request is not None:
            self._active.start(self._request)
            self._request = None    # begun once, not at every activation

    def deactivate(self) -> None:
        """End the job under way; what it has finished is kept."""
        self._active.open = False
        self._active.stop(Termination.DEACTIVATED)

    def cleanup(self) -> None:
        """Stop serving."""
        self.destroy_timer(self._ticker)
        self._diagnostics.destroy()
        self._active.destroy()
        self._server = None

    def close(self) -> None:
        """Finish in order; a client that waits for the result of its job still gets it."""
        if self._server is not None and self.executor is not None:
            self._server.stop(Termination.DEACTIVATED)
            for _ in range(LAST_SPINS):
                self.executor.spin_once(timeout_sec=0.0)
        super().close()

    @property
    def _active(self) -> TrainPolicyServer:
        assert self._server is not None    # the lifecycle allows no other order
        return self._server

    def _on_end(self, end: JobEnd) -> None:
        say = self.get_logger()
        for line in end.refused:
            say.warning(line)
        if end.termination is not Termination.DONE:
            say.error(end.message)
            return
        if end.dataset:
            say.info(f'{end.dataset}: {end.episodes} episodes, {end.rows} rows: {end.message}')
        if end.bundle:
            say.info(f'{end.bundle}: the policy after {end.step} steps: {end.message}')

    def _finding(self) -> Finding:
        server = self._active
        if server.stage is not None:
            return _under_way(server.stage, server.progress)
        if server.last is None:
            return Finding(OK, 'no job')
        made = {name: value for name in ('dataset', 'bundle', 'checkpoint')
                if (value := getattr(server.last, name))}
        if server.last.termination is Termination.FAILED:
            return Finding(WARN, f'the last job failed: {server.last.message}', made)
        return Finding(OK, f'no job; the last one: {server.last.message}', made)


def _wish(wanted: TrainerParameters) -> JobRequest | None:
    """Return the job that the parameters ask for, ``None`` if they ask for none."""
    trains = bool(
        any(wanted.datasets) or wanted.out or wanted.bundle or wanted.start_from)
    if not (trains or any(wanted.bags) or wanted.dataset):
        return None
    stage = Stage.CONVERT
    if trains:
        stage = Stage.OFFLINE_RL if wanted.start_from else Stage.IMITATION
    return JobRequest(
        wanted.bags, wanted.dataset,
        robot_of(wanted.bags, wanted.robot, stage, wanted.config), wanted.append,
        wanted.options, stage, wanted.config, wanted.start_from,
        wanted.datasets, wanted.out, wanted.bundle, wanted.train_options)


def _under_way(stage: Stage, progress: Progress | None) -> Finding:
    """Return what is to be said of a job that is being worked at."""
    if progress is None or progress.stage is not stage:
        return Finding(OK, f'a {stage.noun} begins', {'stage': stage.name.lower()})
    unit = 'bags' if stage is Stage.CONVERT else 'steps'
    beside = f', {progress.message}' if progress.message else ''
    return Finding(
        OK, f'{stage.noun}: {progress.step} of {progress.steps} {unit}{beside}',
        {'stage': stage.name.lower(), 'step': progress.step, 'steps': progress.steps,
         'eta_s': round(progress.eta_s, 1), **progress.metrics})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the process's exit code."""
    return run(OfflineTrainerNode, argv)


if __name__ == '__main__':
    sys.exit(main())
