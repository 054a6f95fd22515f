"""
Teleoperation as a lifecycle node: what a person wants becomes targets for the chunk executor.

Everything happens in one timer, in one thread. The arm is moved by the executor alone, so its
limits and its emergency stop hold for people too. Decides nothing: see `core.teleop_session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import time

import numpy as np
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.executor_state import Answer, Mode, Source
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.teleop_joy import JoySettings
from chunked_vla_ros.core.teleop_keyboard import KeyboardSettings
from chunked_vla_ros.core.teleop_leader import LeaderSettings
from chunked_vla_ros.core.teleop_session import ExecutorNews, Mark, TeleopSession
from chunked_vla_ros.core.teleop_targets import Demand, TargetStream
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.control_source import ControlSourceClient, LateTrigger
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, OK, STEADY, WARN
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.parameters import declare
from chunked_vla_ros.nodes.polled import Polled
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.nodes.teleop_inputs import Hand, JoyHand, KeyboardHand, LeaderHand

LOG_PERIOD_S = 0.5
SOURCES = {Demand.TAKE_OVER: Source.TELEOP, Demand.GIVE_BACK: Source.POLICY,
           Demand.HOLD: Source.HOLD}


@dataclass(frozen=True)
class TeleopParameters(KeyboardSettings, JoySettings, LeaderSettings):
    """Parameters of teleop_node."""

    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    hand: str = parameter('keyboard', 'what a person drives with',
                          choices=('keyboard', 'joy', 'leader'))
    rate_hz: float = parameter(100.0, 'rate of teleop/joint_targets [Hz]',
                               minimum=20.0, maximum=200.0)
    speed_share: float = parameter(
        0.5, "fastest that a joint's target moves, as a share of its velocity limit",
        minimum=0.01, maximum=0.9)
    take_over_on_activate: bool = parameter(
        False, 'drive from the start; else take over by key, button or ~/take_over')
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class TeleopNode(ManagedNode):
    """Publish joint targets while a person drives."""

    def __init__(self) -> None:
        super().__init__('teleop')
        self._settings = declare(self, TeleopParameters)
        self._robot = load_robot(self._settings.robot)
        self._active = self._wants_start = False
        self._episode_id, self._told, self._told_s = '', '', 0.0
        self._stepped_ns: int | None = None    # None: nobody drives
        self._sent_ns = 0
        # What a user can get wrong is read here, where an error ends the process with one line.
        self._hand: Hand = self._make_hand()
        self.start(self._settings.autostart)

    # --- lifecycle --------------------------------------------------------------------------

    def configure(self) -> None:
        """Open every topic and service; nothing is sent yet."""
        given, robot = self._settings, self._robot
        self._stream = TargetStream(robot.limits, given.speed_share)
        self._session = TeleopSession()
        self._targets = self.create_lifecycle_publisher(
            JointState, 'teleop/joint_targets', qos.SENSOR)
        self._events = self.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        self._inputs = [Polled(self, ExecutorState, 'executor_state', qos.STATUS),
                        Polled(self, EpisodeEvent, 'episode_event', qos.EVENT)]
        self._executor_news, self._event_news = self._inputs
        self._switch = ControlSourceClient(self, lambda: self._session.hears)
        self._triggers = [
            LateTrigger(self, f'~/{name}', partial(self._ask, demand))
            for name, demand in (('take_over', Demand.TAKE_OVER), ('give_back', Demand.GIVE_BACK),
                                 ('hold', Demand.HOLD))]
        self._diagnostics = DiagnosticsPublisher(self, robot.name, self._finding)
        # Steady: a person's keys and buttons must be heard while simulated time stands still.
        self._ticker = self.create_timer(1.0 / given.rate_hz, self._tick, clock=STEADY)

    def activate(self) -> None:
        """Allow targets."""
        # What came while nobody listened is not asked for any more.
        for subscription in self._inputs:
            subscription.newest()
        self._hand.poll(0, self._robot.home)
        self._hand.release()
        self._active, self._wants_start = True, self._settings.take_over_on_activate

    def deactivate(self) -> None:
        """Send no more targets; the executor brings the arm to rest."""
        self._active = self._wants_start = False
        self._let_go()
        self._mark(self._session.lost('not active'))

    def cleanup(self) -> None:
        """Close every connection; the terminal is given back at the node's end."""
        self.destroy_timer(self._ticker)
        self._diagnostics.destroy()
        self._switch.destroy()
        for trigger in self._triggers:
            trigger.destroy()
        for subscription in self._inputs:
            subscription.destroy()
        self.destroy_publisher(self._events)
        self.destroy_lifecycle_publisher(self._targets)

    def close(self) -> None:
        """Finish in order and give the terminal back."""
        super().close()
        self._hand.destroy()

    def _make_hand(self) -> Hand:
        given, robot = self._settings, self._robot
        if given.hand == 'keyboard':
            return KeyboardHand(self, robot, given, self._say)
        if given.hand == 'joy':
            return JoyHand(self, robot, given, self._say)
        return LeaderHand(self, robot, given, self._say)

    # --- at every tick ----------------------------------------------------------------------

    def _tick(self) -> None:
        steady_ns = time.monotonic_ns()
        self._switch.tick()
        if not self._active:
            return
        self._hear_executor(steady_ns)
        for msg in self._event_news.take():
            self._episode_id = msg.episode_id or self._episode_id
        pose = self._stream.target
        if pose is None:
            pose = self._session.commanded
        for demand in self._hand.poll(steady_ns, self._robot.home if pose is None else pose):
            self._ask(demand, self._tell)
        self._start_if_wished()
        if self._session.drives:
            self._drive(steady_ns)
        else:
            self._let_go()
        self._tell_what_is_waited_for()

    def _hear_executor(self, steady_ns: int) -> None:
        # Each of them: a policy may have moved the arm in one alone.
        for state in self._executor_news.take():
            try:
                news = executor_news(state, self._robot.joint_names, steady_ns)
            except InputRejected as error:
                self._mark(self._session.lost(str(error)))
            else:
                self._mark(self._session.observe(news))
        self._mark(self._session.tick(steady_ns))

    def _drive(self, steady_ns: int) -> None:
        """Send the next target, if the person wants one sent."""
        commanded = self._session.commanded
        assert commanded is not None    # `drives` says so
        node_ns = int(self.get_clock().now().nanoseconds)
        if self._stepped_ns is None:
            self._hand.release()
            self._stepped_ns = node_ns
        pose = self._stream.target
        wish = self._hand.wish(steady_ns, commanded if pose is None else pose)
        if wish is None:
            self._stream.forget()
            self._stepped_ns = node_ns
            return
        if pose is None:
            self._stream.seed(commanded)
        elif 0 < wish.made_ns == self._sent_ns:
            return    # nothing new: sent again it would look like standing still
        dt_s, self._stepped_ns = (node_ns - self._stepped_ns) / NS_PER_S, node_ns
        self._sent_ns = wish.made_ns
        target = self._stream.advance(wish, dt_s, commanded)
        msg = JointState(name=list(self._robot.joint_names), position=target.tolist())
        # The stamps of the device say how far apart its poses were; ours would add our own delays.
        msg.header.stamp = conversions.ns_to_stamp(wish.made_ns or node_ns)
        self._targets.publish(msg)

    def _let_go(self) -> None:
        if self._stepped_ns is not None:
            self._stepped_ns = None
            self._stream.forget()
            self._hand.release()

    # --- who drives -------------------------------------------------------------------------

    def _ask(self, demand: Demand, then: Callable[[Answer], None]) -> None:
        """Ask the executor for what ``demand`` means, and answer when it has answered."""
        if not self._active:
            then(Answer(False, 'teleop is not active'))
            return

        def answered(answer: Answer) -> None:
            if answer.done and demand is Demand.TAKE_OVER:
                self._session.taken_over()
            then(answer)
        self._switch.ask(SOURCES[demand], answered)

    def _start_if_wished(self) -> None:
        if self._wants_start and self._session.commanded is not None:
            self._wants_start = False
            self._ask(Demand.TAKE_OVER, self._tell)

    def _mark(self, mark: Mark | None) -> None:
        if mark is None:
            return
        begins = mark is Mark.BEGIN
        event = EpisodeEvent(
            episode_id=self._episode_id, source=self.get_name(),
            type=EpisodeEvent.INTERVENTION_BEGIN if begins else EpisodeEvent.INTERVENTION_END,
            text=f'{self._settings.hand}: '
            + ('took over from the policy' if begins else 'no longer in place of the policy'))
        event.header.stamp = self.get_clock().now().to_msg()
        self._events.publish(event)
        self.get_logger().info(event.text)

    # --- words ------------------------------------------------------------------------------

    def _finding(self) -> Finding:
        complaint = self._hand.complaint
        message = self._session.waiting or complaint or 'a person drives'
        return Finding(WARN if complaint else OK, message, {
            'hand': self._settings.hand, 'intervention': self._session.intervening,
            'waiting': self._session.waiting, 'complaint': complaint,
            **{f'control {name}': does for name, does in self._hand.controls}})

    def _tell_what_is_waited_for(self) -> None:
        told = self._session.waiting or self._hand.complaint or 'you drive'
        if told != self._told and time.monotonic() - self._told_s >= LOG_PERIOD_S:
            self._told, self._told_s = told, time.monotonic()
            self._say(told)

    def _tell(self, answer: Answer) -> None:
        self._say(answer.message)

    def _say(self, text: str) -> None:
        self.get_logger().info(text)


def executor_news(state: ExecutorState, joint_names: Sequence[str], heard_ns: int) -> ExecutorNews:
    """
    Return what an executor of these joints says, heard at ``heard_ns``.

    :raises InputRejected: it is of other joints, or of another version.
    """
    if list(state.joint_names) != list(joint_names):
        raise InputRejected(
            f'executor_state is of {", ".join(state.joint_names) or "no joints"}, expected '
            f'{", ".join(joint_names)}: give both nodes the same robot')
    try:
        mode, source = Mode(state.mode), Source(state.control_source)
    except ValueError as error:
        raise InputRejected(f'executor_state: {error}') from error
    positions = np.array(state.command.positions, dtype=np.float64)
    commanded = positions if len(positions) == len(joint_names) else None
    return ExecutorNews(heard_ns, mode, source, commanded, state.reason)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    return run(TeleopNode, argv)
