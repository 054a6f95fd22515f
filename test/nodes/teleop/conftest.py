"""The real executor and teleop_node as processes, beside an arm that obeys at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import time
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from sensor_msgs.msg import JointState, Joy  # noqa: E402
from std_msgs.msg import Bool, Float64MultiArray, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from chunked_vla_ros.bench.motion_audit import jumps, limit_use, track  # noqa: E402
from chunked_vla_ros.core.executor_state import Mode, Source  # noqa: E402
from chunked_vla_ros.core.types import ActionChunk as Chunk  # noqa: E402
from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.graph.node_spec import NodeSpec  # noqa: E402
from chunked_vla_ros.graph.supervisor import Supervisor  # noqa: E402
from chunked_vla_ros.msg import ActionChunk, EpisodeEvent, ExecutorState  # noqa: E402
from chunked_vla_ros.nodes import conversions, qos  # noqa: E402
from chunked_vla_ros.nodes.motion_log import MotionLog  # noqa: E402
from chunked_vla_ros.srv import ResetExecutor, SetControlSource  # noqa: E402

MS = 1_000_000
DEADMAN = 4
# Of 100 targets a second each is followed by the next sooner than this, or one was left out.
PAUSE_S = 0.018
ROBOT = load_robot('ur5e_sim')
STALL_NS = 15 * MS
POLICY_STEPS = 16


class Stage:
    """A kinematic arm, a person's devices, and a record of what the executor says."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.node = peer, peer.node
        self.position = ROBOT.home.copy()
        self.states: list[ExecutorState] = []
        self.targets: list[JointState] = []
        self.events: list[EpisodeEvent] = []
        self.holding: tuple[Any, Any] | None = None    # publisher and message, 50 times a second
        self.chunk_id = 0
        self.policy_runs = False
        self.log = MotionLog(peer.node, ROBOT, commands=True)
        create = self.node.create_publisher
        self.joints = create(JointState, 'joint_states', qos.SENSOR)
        self.chunks = create(ActionChunk, 'action_chunk', qos.chunk_out(1.0))
        self.stop = create(Bool, 'emergency_stop', qos.LATCHED)
        self.keys = create(String, 'teleop/keys', qos.EVENT)
        self.joy = create(Joy, 'joy', qos.SENSOR)
        self.leader = create(JointState, 'leader/joint_states', qos.SENSOR)
        self.marks = create(EpisodeEvent, 'episode_event', qos.EVENT)
        subscribe = self.node.create_subscription
        subscribe(Float64MultiArray, 'position_command', self._obey, qos.COMMAND)
        subscribe(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        subscribe(JointState, 'teleop/joint_targets', self.targets.append, qos.SENSOR)
        subscribe(EpisodeEvent, 'episode_event', self.events.append, qos.EVENT)
        self.node.create_timer(0.008, self._tell)
        self.node.create_timer(0.02, self._hold)
        self.node.create_timer(0.2, self._plan)

    def _obey(self, msg: Float64MultiArray) -> None:
        self.position = np.array(msg.data)

    def _tell(self) -> None:
        msg = JointState(name=list(ROBOT.joint_names), position=self.position.tolist())
        msg.header.stamp = self.node.get_clock().now().to_msg()
        self.joints.publish(msg)

    def _hold(self) -> None:
        if self.holding is not None:
            publisher, msg = self.holding
            publisher.publish(msg)

    def _plan(self) -> None:
        """Be a policy: from where the arm is, joint 5 on at 0.2 rad/s."""
        if not self.policy_runs:
            return
        now_ns = self.node.get_clock().now().nanoseconds
        self.chunk_id += 1
        rows = np.tile(self.position, (POLICY_STEPS, 1))
        rows[:, 5] += 0.2 * 0.05 * np.arange(POLICY_STEPS)
        self.chunks.publish(conversions.chunk_to_msg(Chunk(
            'ab' * 16, self.chunk_id, now_ns, now_ns, 1000 * MS, ROBOT.joint_names, rows,
            np.arange(POLICY_STEPS) * 50 * MS, policy_id='test')))

    @property
    def state(self) -> ExecutorState:
        return self.states[-1]

    def wait(self, condition: Callable[[], object], what: str) -> Any:
        return self.peer.wait_for(condition, what, instead=lambda: self.states[-1:])

    def wait_mode(self, mode: Mode) -> None:
        self.wait(lambda: self.states and self.state.mode == mode, f'mode {mode.name}')

    def call(self, name: str) -> Any:
        return self.peer.call(Trigger, f'teleop/{name}', Trigger.Request())

    def sent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return when targets were made, in [s] after the first, and their positions."""
        targets = list(self.targets)
        stamps = np.array([conversions.stamp_to_ns(msg.header.stamp) for msg in targets])
        # Subtracted before scaling: seconds since 1970 in float64 are only good to 240 ns.
        return (stamps - stamps[0]) * 1e-9, np.array([list(msg.position) for msg in targets])

    def take_over(self) -> None:
        answer = self.call('take_over')
        assert answer.success, answer.message
        self.wait(lambda: self.state.control_source == Source.TELEOP, 'take-over')

    def choose(self, source: Source) -> None:
        answer = self.peer.call(SetControlSource, 'chunk_executor/set_control_source',
                                SetControlSource.Request(source=int(source)))
        assert answer.success, answer.message
        self.wait(lambda: self.state.control_source == source, source.name)

    def press(self, *held: int, axes: Any = (0.0,) * 8) -> None:
        """Hold the joystick like this from now on."""
        self.holding = (self.joy, Joy(
            axes=list(axes), buttons=[int(i in held) for i in range(12)]))

    def steer(self, axes: Any, condition: Callable[[], object], what: str) -> None:
        """Hold deadman and sticks until ``condition``, pressing anew now and then."""
        # A machine that has no time for the joystick stops the arm, and after a stop the deadman
        # must be let go of and pressed again.
        def done() -> object:
            held = time.monotonic() % 2.0 < 1.7
            self.press(*((DEADMAN,) if held else ()), axes=axes)
            return condition()
        self.wait(done, what)

    def lead(self, position: Any, names: Any = ROBOT.joint_names) -> None:
        """Hold the leader arm like this from now on."""
        self.holding = (self.leader, JointState(
            name=list(names), position=[float(value) for value in position]))

    def lead_from_near(self, position: Any, condition: Callable[[], object], what: str) -> None:
        """Hold the leader arm like this until ``condition``, near the arm after each stop."""
        # A machine that has no time for the leader stops the arm, and a leader that must be near
        # to be followed is then waited for.
        def done() -> object:
            self.lead(position if self.state.mode == Mode.TELEOP else self.position)
            return condition()
        self.wait(done, what)

    def type(self, keys: str) -> None:
        """Hold a key down, as a terminal tells it."""
        self.holding = (self.keys, String(data=keys))

    def check_targets(self, fastest: float, column: int) -> None:
        """Check by their stamps that targets moved no faster than ``fastest`` [rad/s]."""
        times_s, rows = self.sent()
        steps, pauses_s = np.abs(np.diff(rows[:, column])), np.diff(times_s)
        # After a longer pause, as after a stop, they begin anew at the commanded pose.
        assert (steps <= fastest * pauses_s + 1e-6)[pauses_s < PAUSE_S].all()

    def let_go(self) -> None:
        self.holding = None

    def rest(self) -> None:
        self.wait(lambda: self.state.mode in (Mode.HOLD, Mode.ESTOP, Mode.FAULT), 'rest')

    def check_motion(self) -> None:
        """Check what was commanded since ``log.start``: within every limit, nowhere a jump."""
        record = self.peer.record_of(self.log)
        motion = track(record.executor, record.commands.times_ns, STALL_NS)
        use = limit_use(motion, ROBOT.limits)
        assert use.violations == 0, use
        for at_splices in (False, True):
            found = jumps(motion, ROBOT.limits, at_splices=at_splices)
            assert found.jumps == 0, found


@pytest.fixture(scope='module')
def stage(peer: Any) -> Stage:
    return Stage(peer)


@pytest.fixture(scope='module')
def executor(domain: int, stage: Stage, patient_contract: Path) -> Iterator[Supervisor]:
    spec = NodeSpec('chunk_executor_node', 'chunk_executor', parameters={
        'robot': str(patient_contract)})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        stage.wait_mode(Mode.HOLD)
        yield graph
    assert graph.poll() == {'chunk_executor': 0}, graph.log_tail('chunk_executor')


@contextmanager
def teleop_process(domain: int, stage: Stage, **parameters: Any) -> Iterator[Supervisor]:
    """Run teleop_node until the block ends; it must end with 0."""
    spec = NodeSpec('teleop_node', 'teleop', parameters={'robot': 'ur5e_sim', **parameters})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        # Our own subscription is one; what is sent before the node listens is lost.
        stage.wait(lambda: stage.marks.get_subscription_count() > 1, 'teleop_node')
        yield graph
    assert graph.poll() == {'teleop': 0}, graph.log_tail('teleop')


@pytest.fixture(scope='module')
def start_teleop(domain: int, stage: Stage, executor: Supervisor) -> Any:
    """Return a context manager that runs teleop_node beside the executor."""
    return lambda **parameters: teleop_process(domain, stage, **parameters)


@pytest.fixture
def calm(stage: Stage, executor: Supervisor) -> Stage:
    """Return the stage with nobody driving, the arm held, and nothing recorded."""
    stage.let_go()
    stage.policy_runs = False
    stage.stop.publish(Bool(data=False))
    # Whoever drives ends; a latched executor refuses that, and is reset.
    stage.peer.call(SetControlSource, 'chunk_executor/set_control_source',
                    SetControlSource.Request(source=int(Source.HOLD)))
    stage.rest()
    stage.wait(lambda: stage.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    stage.choose(Source.POLICY)
    stage.wait_mode(Mode.HOLD)
    stage.events.clear()
    stage.targets.clear()
    return stage
