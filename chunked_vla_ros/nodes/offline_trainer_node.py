"""
Turn recorded bags into a dataset, asked by an action or by the node's own parameters.

A plug, not a brain: the work is done by a child process (`train_process`), so that the node
answers at any time and a robot's processes keep their cores' caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import sys

from chunked_vla_ros.core.training_job import JobEnd, JobRequest, Termination
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, OK, STEADY, WARN
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.parameters import declare, parameter
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.nodes.train_policy import TrainPolicyServer

TICK_S = 0.1
# Enough for a result to pass the executor's queue of tasks after the last spin.
LAST_SPINS = 20


@dataclass(frozen=True)
class TrainerParameters:
    """Parameters of the node `offline_trainer`."""

    robot: str = parameter(
        'ur5e_sim', 'robot contract, a name or the path of a .yaml file, unless a goal names one')
    bags: tuple[str, ...] = parameter(
        ('',), 'bags, or folders of episodes, that are converted on activation; empty: wait for '
        'the action train_policy')
    dataset: str = parameter('', 'folder of the dataset that is made of them')
    append: bool = parameter(False, 'add them to the dataset that is there')
    options: tuple[str, ...] = parameter(
        ('',), 'further options of `chunked-vla convert`, for example fps=20')
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class OfflineTrainerNode(ManagedNode):
    """The node `offline_trainer`."""

    def __init__(self) -> None:
        super().__init__('offline_trainer')
        self._settings = declare(self, TrainerParameters)
        wanted = self._settings
        self._request: JobRequest | None = None
        if any(wanted.bags) or wanted.dataset:
            self._request = JobRequest(
                wanted.bags, wanted.dataset, wanted.robot, wanted.append,
                wanted.options)
            # Where an error ends the process with one line.
            self._request.arguments()
        self._server: TrainPolicyServer | None = None
        self.start(wanted.autostart)

    def configure(self) -> None:
        """Serve."""
        self._server = TrainPolicyServer(self, self._settings.robot, self._on_end)
        self._diagnostics = DiagnosticsPublisher(self, '', self._finding)
        self._ticker = self.create_timer(TICK_S, self._server.tick, clock=STEADY)

    def activate(self) -> None:
        """Allow jobs, and begin the one that the parameters ask for."""
        self._active.open = True
        if self._request is not None:
            request, self._request = self._request, None    # once, not at every activation
            self._active.start(request)

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
        if end.termination is Termination.DONE:
            say.info(f'{end.dataset}: {end.episodes} episodes, {end.rows} rows: {end.message}')
        else:
            say.error(end.message)

    def _finding(self) -> Finding:
        server = self._active
        if server.busy:
            progress = server.progress
            if progress is None:
                return Finding(OK, 'a conversion begins')
            return Finding(
                OK, f'converting: {progress.step} of {progress.steps} bags',
                {'eta_s': round(progress.eta_s, 1), **progress.metrics})
        if server.last is not None and server.last.termination is Termination.FAILED:
            return Finding(WARN, f'the last job failed: {server.last.message}')
        return Finding(OK, 'no job')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until a signal; return the process's exit code."""
    return run(OfflineTrainerNode, argv)


if __name__ == '__main__':
    sys.exit(main())
