"""
The chunk executor's state machine: what the arm is commanded at this tick, and why.

One owner: only `step`, called by the control thread, changes anything. Other threads hand over
chunks, samples and requests through bounded queues. Every command passes `core.guard`; every stop
is bounded; ESTOP and FAULT are latched until an explicit reset. Clocks are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from chunked_vla_ros.core.chunk_follower import ChunkFollower
from chunked_vla_ros.core.chunk_inbox import ChunkInbox
from chunked_vla_ros.core.curves import Curve, RestCurve
from chunked_vla_ros.core.emergency_stop import EmergencyStop
from chunked_vla_ros.core.executor_state import (
    Answer,
    Command,
    ExecutorConfig,
    ExecutorStatus,
    LATCHED,
    Mode,
    Source,
)
from chunked_vla_ros.core.guard import Guard
from chunked_vla_ros.core.ledger import Ledger
from chunked_vla_ros.core.motion_clock import MotionClock, Tick
from chunked_vla_ros.core.pose_monitor import PoseError, PoseMonitor
from chunked_vla_ros.core.preview import preview
from chunked_vla_ros.core.profiles import Profiles
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_follower import TeleopFollower
from chunked_vla_ros.core.types import ActionChunk, JointSample, MotionState


class Executor:
    """Turn chunks into commands for ``robot``."""

    def __init__(self, robot: RobotSpec, config: ExecutorConfig) -> None:
        self.period_ns = round(1e9 / config.rate_hz)
        profiles = Profiles(robot.limits)
        self.longest_stop_s = profiles.longest_stop_s
        self._guard = Guard(robot.limits, profiles)
        self._follower = ChunkFollower(robot, config, profiles)
        self.teleop = TeleopFollower(robot.limits, config.teleop_timeout_s)
        self._clock = MotionClock(self.period_ns)
        self._pose = PoseMonitor(robot, config.joint_state_timeout_s,
                                 config.tracking_tolerance_rad, config.tracking_time_s)
        self._inbox = ChunkInbox()
        self.emergency_stop = EmergencyStop()
        self._measured: deque[JointSample] = deque(maxlen=1)
        self.mode, self.source, self._reason = Mode.INACTIVE, Source.POLICY, 'not activated'
        self._after_stop = (Mode.HOLD, '')
        self._state: MotionState | None = None    # None: not armed, nothing is commanded
        self._curve: Curve | None = None
        self._ledger = Ledger()
        self._command: Command | None = None

    def offer_chunk(self, chunk: ActionChunk) -> None:
        """Hand over a chunk for the next tick; when ticks lag behind, the oldest are dropped."""
        self._inbox.put(chunk)

    def offer_rejection(self, error: ChunkRejected) -> None:
        """Hand over a message that could not become a chunk, so that it is counted."""
        self._inbox.put(error)

    def observe(self, sample: JointSample) -> None:
        """Hand over a measurement of the joints; the newest wins."""
        self._measured.append(sample)

    def step(self, node_ns: int, steady_ns: int) -> Command | None:
        """
        Return the command due at ``node_ns``, or None while the executor is not armed.

        :param node_ns: Node clock, which dates chunks and samples.
        :param steady_ns: Clock that nobody sets, which paces motion.
        """
        tick = self._clock.advance(node_ns, steady_ns)
        before_ns = self._clock.now_ns - self._clock.step_ns
        self._ledger.counters.ticks += 1
        self._ledger.counters.deadline_misses += tick is Tick.LATE
        if tick is Tick.CLOCK_JUMP:
            self._clock_was_set(before_ns)
        self._watch(node_ns, before_ns)
        self._finish_motion(before_ns)
        self._inbox.serve(lambda chunk: self._take(chunk, node_ns), self._ledger.refuse)
        self._follow_teleop(node_ns, before_ns)
        if self._state is None:
            self._command = None
            return None
        self._state = self._next_state(before_ns)
        self._pose.commanded(node_ns, self._state.position)
        self._command = Command(node_ns, self._state)
        return self._command

    def set_source(self, source: Source) -> Answer:
        """Choose who moves the arm; what moves it now is stopped first."""
        if self.mode in LATCHED:
            return Answer(False, f'{self.mode.name}: {self._reason}; reset first')
        if source is not self.source:
            self.source = source
            self._inbox.clear()
            self.teleop.clear()
            self._begin_stop(self._clock.now_ns, Mode.HOLD, f'source is {source.name.lower()}')
        return Answer(True, f'source is {source.name.lower()}')

    def reset(self, node_ns: int) -> Answer:
        """Leave a latched stop: the measured pose becomes the commanded one, at rest."""
        refusal = (self.emergency_stop.reason or self._pose.silence(node_ns)
                   or ('' if self.at_rest else f'{self.mode.name}: {self._reason}')
                   or ('the arm is moving' if self._pose.moving() else '') or self._seed())
        if refusal:
            return Answer(False, refusal)
        self._set_mode(Mode.HOLD, 'reset: holding the measured pose')
        return Answer(True, self._reason)

    def restore_latch(self, mode: Mode, reason: str) -> None:
        """Start latched: what latched an executor before outlives its deactivation."""
        self._set_mode(mode, reason)

    def request_stop(self, reason: str) -> None:
        """Bring the arm to rest and hold; chunks are refused from now on."""
        self.source = Source.HOLD
        self._begin_stop(self._clock.now_ns, Mode.HOLD, reason)

    def fail(self, reason: str) -> None:
        """Bring the arm to rest after an unforeseen error, then latch FAULT."""
        self._begin_stop(self._clock.now_ns, Mode.FAULT, reason)

    @property
    def at_rest(self) -> bool:
        """Return whether nothing moves: held, latched or not armed."""
        return self.mode in (Mode.HOLD, Mode.INACTIVE, *LATCHED)

    @property
    def latch(self) -> tuple[Mode, str]:
        """Return the latched mode that the executor is in or about to be in, or the present."""
        if self.mode is Mode.STOPPING and self._after_stop[0] in LATCHED:
            return self._after_stop
        return self.mode, self._reason

    def preview(self, ahead_ns: range) -> list[tuple[int, MotionState]]:
        """Return the coming states as (ns from now, state), ending at rest; see `preview`."""
        if self._state is None:
            return []
        followed = (self._follower if self.mode is Mode.RUNNING
                    else self._curve if self.mode is Mode.TELEOP else None)
        return preview(followed, self._guard, self._clock.now_ns, self._state, ahead_ns)

    def status(self, node_ns: int) -> ExecutorStatus:
        """Return a snapshot for publication."""
        chunk, t_ns = self._follower.chunk, self._clock.now_ns
        status = ExecutorStatus(
            self.mode, self.source, self._reason, replace(self._ledger.counters),
            self._follower.limit_flags, self._command, rejections=dict(self._ledger.rejections),
            last_rejection=self._ledger.last_rejection,
            observation_to_command_ns=self._ledger.observation_to_command_ns)
        if chunk is None:
            return status
        return replace(
            status, session_id=chunk.session_id, chunk_id=chunk.chunk_id,
            chunk_position=self._follower.chunk_position(t_ns),
            observation_age_ns=max(node_ns - chunk.observation_ns, 0),
            buffer_left_s=self._follower.buffer_left_s(t_ns))

    def _watch(self, node_ns: int, t_ns: int) -> None:
        """Act on the emergency stop, on silent joints and on an arm that does not follow."""
        pressed = self.emergency_stop.consume()
        if pressed:
            self._begin_stop(t_ns, Mode.ESTOP, pressed)
        if self._measured:
            self._pose.observe(self._measured.popleft(), node_ns)
        silence = self._pose.silence(node_ns)
        if self._state is None:
            if silence and self.mode not in LATCHED:
                self._reason = silence
            elif not silence and self.mode not in LATCHED and not self._pose.moving():
                self._arm()
            return
        if silence and self.mode in (Mode.RUNNING, Mode.TELEOP):
            self._begin_stop(t_ns, Mode.HOLD, silence)
        elif silence and self.mode in (Mode.HOLD, *LATCHED):
            # Where the arm is now is unknown: command nothing until it is measured again.
            self._disarm(silence)
        elif not silence and (astray := self._pose.astray()):
            self._begin_stop(t_ns, Mode.FAULT, astray)

    def _arm(self) -> None:
        refusal = self._seed()
        if refusal:
            self._reason = refusal
        else:
            self._set_mode(Mode.HOLD, 'holding the measured pose')

    def _disarm(self, reason: str) -> None:
        self._state = self._curve = None
        self._pose.forget()
        self._follower.release()
        if self.mode not in LATCHED:
            self._set_mode(Mode.HOLD, reason)

    def _seed(self) -> str:
        """Take the measured pose as the commanded one; return why that cannot be, or ''."""
        try:
            inside = self._pose.take_start_pose()
        except PoseError as error:
            return str(error)
        self._follower.release()
        self._inbox.clear()
        self._state = MotionState.at_rest(inside)
        self._curve = RestCurve(self._clock.now_ns, inside)
        return ''

    def _clock_was_set(self, t_ns: int) -> None:
        self._inbox.clear()
        self._follower.clock_was_set()
        self._pose.clock_was_set()
        self._begin_stop(t_ns, Mode.HOLD, 'the clock was set')

    def _begin_stop(self, t_ns: int, into: Mode, reason: str) -> None:
        """Decelerate from the present state, then be in ``into``; the severest reason stays."""
        present = self._after_stop[0] if self.mode is Mode.STOPPING else self.mode
        if present in LATCHED and (into not in LATCHED or present >= into):
            return
        self._after_stop = (into, reason)
        if self._state is None:
            self._set_mode(into if into in LATCHED else self.mode, reason)
        elif self.mode is not Mode.STOPPING:
            self._curve = self._guard.stop(t_ns, self._state)
            self._follower.release()
            self._set_mode(Mode.STOPPING, reason)
        else:
            self._reason = reason

    def _finish_motion(self, t_ns: int) -> None:
        """Go on when a stop is complete, and stop when a chunk has run out."""
        if self.mode is Mode.STOPPING and self._curve and t_ns >= self._curve.end_ns:
            assert self._state is not None
            self._curve = RestCurve(t_ns, self._state.position)
            self._state = MotionState.at_rest(self._state.position)
            self._set_mode(*self._after_stop)
        elif self.mode is Mode.RUNNING and self._follower.buffer_left_s(self._clock.now_ns) <= 0:
            finished = self._follower.ends_at_rest
            self._ledger.counters.holds += not finished
            self._begin_stop(t_ns, Mode.HOLD,
                             'chunk finished' if finished else 'starved: no chunk arrived in time')

    def _take(self, chunk: ActionChunk, node_ns: int) -> None:
        stopping_for = self._after_stop[0] if self.mode is Mode.STOPPING else None
        if (self._state is None or self.source is not Source.POLICY or self.mode in LATCHED
                or stopping_for in LATCHED or self._pose.silence(node_ns)):
            raise ChunkRejected(Rejection.NOT_LISTENING, f'{self.mode.name}: {self._reason}')
        at_rest = self.mode is Mode.HOLD
        # The state known is that of the tick before; the new motion starts there.
        before_ns = self._clock.now_ns - self._clock.step_ns
        skipped = self._follower.take(
            chunk, node_ns - self._clock.step_ns, before_ns, self._state,
            self._pose.sample if at_rest else None)
        self._ledger.accept(skipped, bool(self._follower.limit_flags.any()),
                            node_ns - chunk.observation_ns)
        self._set_mode(Mode.RUNNING, f'following {chunk.policy_id or "chunk"}')

    def _follow_teleop(self, node_ns: int, t_ns: int) -> None:
        if self.source is not Source.TELEOP or self.mode not in (Mode.HOLD, Mode.TELEOP):
            return
        late = self.teleop.late(node_ns)
        if late and self.mode is Mode.TELEOP:
            self._begin_stop(t_ns, Mode.HOLD, 'teleoperation target is late')
        elif not late and self._state is not None:
            curve = self.teleop.take(node_ns - self._clock.step_ns, t_ns, self._state)
            if curve is not None:
                self._curve = curve
                self._set_mode(Mode.TELEOP, 'following teleoperation')

    def _next_state(self, before_ns: int) -> MotionState:
        """Return the state at the motion clock's now, after the guard has judged it."""
        assert self._state is not None
        assert self._curve is not None
        now_ns, step_ns = self._clock.now_ns, self._clock.step_ns
        if step_ns == 0 or self.mode not in (Mode.RUNNING, Mode.TELEOP):
            return self._curve.state_at(now_ns) if step_ns else self._state
        if self.mode is Mode.RUNNING:
            self._follower.aim_binary(before_ns, self._state)
            state = self._follower.state_at(now_ns, self._state)
        else:
            state = self._curve.state_at(now_ns)
        violation = (self._guard.step_violation(self._state, state, step_ns * 1e-9)
                     or self._guard.violation(state, now_ns))
        if not violation:
            return state
        self._ledger.counters.clamps += 1
        self._begin_stop(before_ns, Mode.HOLD, f'stopped at a limit: {violation}')
        return self._curve.state_at(now_ns)

    def _set_mode(self, mode: Mode, reason: str) -> None:
        self.mode, self._reason = mode, reason
