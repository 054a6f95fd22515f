"""
Turn observations into action chunks: subscribes, asks the policy in its own thread, publishes.

A plug, not a brain: callbacks convert and hand over to `policies.runner`, which decides when to
plan and when a run has ended. The policy never runs inside a callback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import gc
import uuid

from diagnostic_msgs.msg import DiagnosticStatus

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ActionChunk
from chunked_vla_ros.nodes import inference_report, qos
from chunked_vla_ros.nodes.conversions import chunk_to_msg
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, STEADY
from chunked_vla_ros.nodes.load_policy import LoadPolicyServer
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.observation_streams import ObservationStreams
from chunked_vla_ros.nodes.parameters import declare, parameter
from chunked_vla_ros.nodes.policy_notes import PolicyNotes
from chunked_vla_ros.nodes.policy_table import (
    EXECUTION_PROVIDERS,
    make_policy,
    POLICIES,
    PolicyOptions,
)
from chunked_vla_ros.nodes.run_policy import RunPolicyServer
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.policies.exchange import PolicyExchange
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.policies.runner_records import RunnerSettings
from chunked_vla_ros.policies.worker import PolicyWorker
from chunked_vla_ros.sim.quality_dial import QUALITIES

TICK_S = 0.02
# Enough for a result to pass the executor's queue of tasks after the last spin.
LAST_SPINS = 20


@dataclass(frozen=True)
class InferenceParameters:
    """Parameters of the node `inference`."""

    robot: str = parameter('ur5e_sim', 'robot contract: a name or the path of a .yaml file')
    policy: str = parameter('expert', 'which policy drives', choices=tuple(POLICIES))
    demonstration: str = parameter(
        '', "recording for policy 'replay': a .npy file or a directory; empty: none")
    episode: int = parameter(
        PolicyOptions.episode, "episode of a dataset for policy 'replay'; -1: its first one",
        minimum=-1, maximum=10**9)
    replay_rate_hz: float = parameter(
        PolicyOptions.replay_rate_hz, "points per second of the chunks of policy 'replay' [1/s]",
        minimum=5.0, maximum=100.0)
    replay_cameras: bool = parameter(
        PolicyOptions.replay_cameras, "policy 'replay' waits for every camera of the contract, as "
        'a policy that sees would')
    replay_moved: bool = parameter(
        PolicyOptions.replay_moved, "policy 'replay' takes another robot's recording too: its "
        "first joints, moved to begin at this robot's home pose")
    expert_noise: float = parameter(
        PolicyOptions.expert_noise, "how imperfect policy 'expert' is; 1: a standard deviation of "
        '0.05 rad at every joint', minimum=0.0, maximum=1.0)
    expert_pushes_per_minute: float = parameter(
        PolicyOptions.expert_pushes_per_minute, "how often policy 'expert' is pushed aside in "
        'free space, to recover [1/min]', minimum=0.0, maximum=60.0)
    expert_quality: str = parameter(
        PolicyOptions.expert_quality, "how well policy 'expert' demonstrates; even: always well; "
        'mixed: one run better than the other, in speed and precision, with slips and wanders; '
        'varying: the same changes every second or so', choices=QUALITIES)
    expert_seed: int = parameter(
        PolicyOptions.expert_seed, "seed of what disturbs policy 'expert'; every run of a seed "
        'differs', minimum=0, maximum=2**31 - 1)
    bundle: str = parameter(
        '', "policy bundle for policy 'onnx': a directory with manifest.json; empty: none")
    execution_provider: str = parameter(
        PolicyOptions.execution_provider, "where the models of bundles run; 'auto': the fastest "
        'that works', choices=EXECUTION_PROVIDERS)
    intra_op_threads: int = parameter(
        PolicyOptions.intra_op_threads,
        'threads for one operator of a model; 0: as many as the runtime finds right',
        minimum=0, maximum=256)
    replan_period_s: float = parameter(
        RunnerSettings.replan_period_s, 'shortest time between two inferences [s]; 0: what the '
        'policy was made for', minimum=0.0, maximum=10.0)
    valid_for_s: float = parameter(
        RunnerSettings.valid_for_s, 'a chunk is stale this long after its observation [s]',
        minimum=0.05, maximum=30.0)
    injected_delay_s: float = parameter(
        0.0, 'hold every chunk back this long, as a slower model would; for measurements [s]',
        minimum=0.0, maximum=2.0)
    default_timeout_s: float = parameter(
        RunnerSettings.default_timeout_s, 'a run ends after this long, unless its goal says [s]',
        minimum=0.1, maximum=86400.0)
    run_on_activate: bool = parameter(
        RunnerSettings.run_on_activate,
        'start a run without a goal: once observations exist, and with every new instruction')
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class InferenceNode(ManagedNode):
    """The node `inference`."""

    def __init__(self) -> None:
        super().__init__('inference')
        # What a user can get wrong is read here, where an error ends the process with one line.
        given = self._settings = declare(self, InferenceParameters)
        self._runs = RunnerSettings(
            given.replan_period_s, given.valid_for_s, given.default_timeout_s,
            given.run_on_activate)
        self._robot = load_robot(self._settings.robot)
        self._policy = make_policy(
            self._settings.policy, self._robot, self._policy_options(self._settings.bundle))
        self._runner: PolicyRunner | None = None
        self._announced: DiagnosticStatus | None = None
        self.start(self._settings.autostart)

    def configure(self) -> None:
        """Open every topic and service, and start the policy's thread."""
        given = self._settings
        self._guard = self.create_guard_condition(self._on_answers)
        self._worker = PolicyWorker(
            self._policy, self._guard.trigger, given.injected_delay_s)
        self._runner = PolicyRunner(
            self._robot, PolicyExchange(self._policy, self._worker.use),
            self._runs, self._worker.ask, lambda: uuid.uuid4().hex)
        self._chunks = self.create_lifecycle_publisher(
            ActionChunk, 'action_chunk', qos.chunk_out(given.valid_for_s))
        self._info = self.create_publisher(DiagnosticStatus, 'policy_info', qos.LATCHED)
        self._streams = ObservationStreams(self, self._robot, self._runner, self._now_ns)
        self._server = RunPolicyServer(self, self._runner, self._now_ns)
        self._loader = LoadPolicyServer(self, self._runner, self._load_bundle, self._now_ns)
        self._notes = PolicyNotes(self)
        self._diagnostics = DiagnosticsPublisher(self, self._robot.name, self._finding)
        # Steady: a run can be cancelled while simulated time stands still.
        self._ticker = self.create_timer(TICK_S, self._tick, clock=STEADY)
        self._report()

    def activate(self) -> None:
        """Allow runs."""
        self._configured.activate(self._now_ns())
        # A full collection over what the node was built of would hold a chunk up for 20 ms.
        gc.collect()
        gc.freeze()

    def deactivate(self) -> None:
        """End the run; the executor holds when its chunk runs out."""
        self._configured.deactivate(self._now_ns())
        gc.unfreeze()
        self._report()

    def cleanup(self) -> None:
        """Close in reverse order."""
        if not self._worker.stop():
            self.get_logger().error('the policy does not return; its thread is left behind')
        self.destroy_timer(self._ticker)
        self._diagnostics.destroy()
        self._notes.destroy()
        self._loader.destroy()
        # What is in force now is what the node configures itself with again.
        self._policy = self._configured.exchange.in_force
        self._server.destroy()
        self._streams.destroy()
        self.destroy_publisher(self._info)
        self.destroy_lifecycle_publisher(self._chunks)
        self.destroy_guard_condition(self._guard)
        self._runner = self._announced = None

    def close(self) -> None:
        """Finish in order; a client that waits for the result of its run still gets it."""
        if self._runner is not None and self.executor is not None:
            self._runner.deactivate(self._now_ns())
            self._report()
            for _ in range(LAST_SPINS):
                self.executor.spin_once(timeout_sec=0.0)
        super().close()

    @property
    def _configured(self) -> PolicyRunner:
        assert self._runner is not None    # the lifecycle allows no other order
        return self._runner

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _policy_options(self, bundle: str) -> PolicyOptions:
        given = self._settings
        return PolicyOptions(
            given.demonstration, given.replay_rate_hz, bundle, given.execution_provider,
            given.intra_op_threads, given.episode, given.replay_cameras, given.replay_moved,
            expert_noise=given.expert_noise, expert_seed=given.expert_seed,
            expert_pushes_per_minute=given.expert_pushes_per_minute,
            expert_quality=given.expert_quality)

    def _load_bundle(self, bundle: str) -> Policy:
        return make_policy('onnx', self._robot, self._policy_options(bundle))

    def _tick(self) -> None:
        self._streams.joints.tick()
        self._configured.tick(self._now_ns())
        self._streams.follow_policy()
        self._report()

    def _on_answers(self) -> None:
        for answer in self._worker.answers():
            chunk = self._configured.accept(answer, self._now_ns())
            if chunk is not None:
                self._chunks.publish(chunk_to_msg(chunk))
                self._server.chunk_published(chunk)
                if answer.plan is not None:
                    self._notes.plan_sent(
                        answer.plan, chunk.session_id, chunk.observation_ns)
        # What came during the inference is old; a plan that is due is made on the next sample.
        self._streams.joints.catch_up()
        self._report()

    def _report(self) -> None:
        while (result := self._configured.take_result()) is not None:
            self.get_logger().info(
                f'run {result.session_id} ended: {result.termination.name}, '
                f'{result.chunks} chunks, {result.message}')
            self._server.run_ended(result)
        self._loader.report()
        info = inference_report.policy_info(self._configured, self._robot)
        if info != self._announced:
            self._announced = info
            self._info.publish(info)

    def _finding(self) -> Finding:
        return inference_report.finding(
            self._configured, self._robot, self._now_ns(), TICK_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run(InferenceNode, argv)
