"""
What a bag holds of one robot's streams, dated by one clock: the first pass over it.

Names what is missing and whatever was left out. Knows no rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.core.dataset_episode import ActionSource
from chunked_vla_ros.core.episode_marks import EventKind, Mark
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import RobotSpec, StreamSpec
from chunked_vla_ros.core.stamp_clock import Arrivals, clock_of, date, Dated, StampClock
from chunked_vla_ros.core.tracks import Recording
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_arrivals import (
    Collected,
    column,
    EventMessages,
    FrameMessages,
    InstructionMessages,
    PolicyMessages,
    StateMessages,
)
from chunked_vla_ros.data.bag_commands import CommandMessages
from chunked_vla_ros.data.bag_messages import BagReader
from chunked_vla_ros.data.bag_topics import BagTopics
from chunked_vla_ros.data.wire_values import (
    DiagnosticValue,
    EpisodeEventValue,
    ExecutorStateValue,
    JointStateValue,
    TextValue,
    TrajectoryValue,
)

NEXT_STATE = 'next_state'
# Where commands with a stamp are found beside the contract's own topic, best first; the last is
# what `chunked-vla play` sends.
STAMPED_TOPICS = ('joint_trajectory', 'teleop/joint_targets', 'joint_trajectory_in',
                  'demonstration/joint_trajectory')
STAMPED_TYPES = (TrajectoryValue.TYPE, JointStateValue.TYPE)
# An event may be stamped when it happened and told later; beyond this its clock is another.
EVENT_DELAY_NS = 60 * NS_PER_S


@dataclass(frozen=True)
class BagRecording:
    """
    The streams of one robot in a bag.

    :ivar cameras: By name, what finds their images again.
    :ivar marks: Events and instructions, on the rows' clock.
    :ivar action_topic: '' where the action is the next state.
    :ivar policy_id: As inference said it, '' where it said nothing.
    :ivar notes: What was left out or is remarkable, by stream.
    """

    streams: Recording
    cameras: Mapping[str, FrameMessages]
    marks: tuple[Mark, ...]
    action_source: ActionSource
    action_topic: str
    policy_id: str
    notes: Mapping[str, str]


def read_recording(reader: BagReader, robot: RobotSpec, rules: ConversionRules) -> BagRecording:
    """
    Read a bag once.

    :raises ConversionRefused: a topic is missing or of no use, or the streams share no clock.
    :raises BagError: the bag cannot be read.
    """
    topics = BagTopics(reader.topics, rules.namespace)
    try:
        found = _FirstPass(topics, robot, rules)
    except InputRejected as error:
        raise ConversionRefused(str(error)) from error
    by_topic: dict[str, list[Collected]] = {}
    for collector in found.collectors:
        by_topic.setdefault(collector.topic, []).append(collector)
    for message in reader.messages(by_topic):
        for collector in by_topic[message.topic]:
            collector.take(message)
    return found.dated()


class _FirstPass:
    """Everything that takes messages, and what becomes of it."""

    def __init__(self, topics: BagTopics, robot: RobotSpec, rules: ConversionRules) -> None:
        self._robot, self._rules = robot, rules
        self._state = StateMessages(
            topics.need(robot.state.topic, 'the state', (JointStateValue.TYPE,)), robot)
        self._cameras = {camera.name: FrameMessages(topics.camera(camera), camera)
                         for camera in robot.cameras}
        self._commands = _commands(topics, robot, rules.action_topic)
        instruction = topics.find('instruction', (TextValue.TYPE,))
        events = topics.find('episode_event', (EpisodeEventValue.TYPE,))
        self._instructions = InstructionMessages(instruction) if instruction else None
        self._events = EventMessages(events) if events else None
        policy = topics.find('policy_info', (DiagnosticValue.TYPE,))
        self._policy = PolicyMessages(policy) if policy else None
        told = [each for each in (self._instructions, self._events, self._policy)
                if each is not None]
        self.collectors: list[Collected] = [
            self._state, *self._cameras.values(), *self._commands, *told]
        self._notes: dict[str, str] = {}

    def dated(self) -> BagRecording:
        """
        Return what was taken, by one clock.

        :raises ConversionRefused: as `read_recording`.
        """
        self._notes = {each.topic: f'{each.refused} unreadable: {each.reason}'
                       for each in self.collectors if each.refused}
        arrivals = self._arrivals(self._state, self._state.topic, self._robot.state)
        clock = clock_of(arrivals)
        if clock.name:
            self._notes['clock'] = (f'rows are dated by the stamps of {clock.name}, '
                                    f'{clock.offset_s:+.3f} s from the log')
        state = self._state.track(self._date(arrivals, clock))
        frames = {}
        for camera in self._robot.cameras:
            seen = self._cameras[camera.name]
            frames[camera.name] = seen.track(self._date(
                self._arrivals(seen, f'camera {camera.name}', camera.stream), clock))
        chosen = self._chosen_command()
        command = None if chosen is None else chosen.track(
            self._date(chosen.dated_arrivals(), clock))
        return BagRecording(
            Recording(state, frames, command), self._cameras, self._marks(clock),
            ActionSource.NEXT_STATE if chosen is None else chosen.source,
            '' if chosen is None else chosen.topic,
            '' if self._policy is None else self._policy.policy_id, self._notes)

    def _arrivals(self, taken: Collected, name: str, spec: StreamSpec) -> Arrivals:
        if not taken.stamps_ns:
            raise ConversionRefused(f'none of the {taken.refused} messages on {taken.topic} can '
                                    f'be used: {taken.reason}')
        return taken.arrivals(name, spec.time_base, round(spec.tolerance_s * NS_PER_S))

    def _date(self, arrivals: Arrivals, clock: StampClock) -> Dated:
        dated = date(arrivals, clock)
        if not len(dated.times_ns):
            raise ConversionRefused(f'{arrivals.name}: none of its {dated.refused} samples can be '
                                    f'used: {dated.reason}')
        if dated.refused:
            self._notes[f'{arrivals.name} stamps'] = f'{dated.refused} refused: {dated.reason}'
        return dated

    def _chosen_command(self) -> CommandMessages | None:
        """
        Return where the action comes from.

        :raises ConversionRefused: there are commands, but not for this robot's joints.
        """
        for command in self._commands:
            if command.commands:
                return command
            if command.refused or self._rules.action_topic:
                raise ConversionRefused(
                    f'{command.topic} commands nothing that fits the state '
                    f'({command.reason or "it is empty"}): name another with --action-topic, or '
                    f'say --action-topic {NEXT_STATE}')
        return None

    def _marks(self, clock: StampClock) -> tuple[Mark, ...]:
        """Return events and instructions by the rows' clock; an instruction has no stamp."""
        marks: list[Mark] = []
        if self._instructions is not None:
            heard_ns = clock.at(column(self._instructions.logs_ns)).tolist()
            marks += [Mark(now_ns, EventKind.TASK, text=text) for now_ns, text
                      in zip(heard_ns, self._instructions.texts, strict=True)]
        if self._events is not None:
            heard_ns = clock.at(column(self._events.logs_ns)).tolist()
            for now_ns, event in zip(heard_ns, self._events.values, strict=True):
                stamped = event.stamp_ns > 0 and abs(now_ns - event.stamp_ns) <= EVENT_DELAY_NS
                marks.append(Mark(event.stamp_ns if stamped else now_ns, event.type, event.value,
                                  event.text))
        return tuple(marks)


def _commands(topics: BagTopics, robot: RobotSpec, wished: str) -> Sequence[CommandMessages]:
    """
    Return what takes the commands, best source first: executor, with stamps, without.

    :raises ConversionRefused: the topic that is wished for is not there.
    """
    if wished == NEXT_STATE:
        return ()
    if wished:
        topic = topics.find(wished)
        if topic is None:
            raise ConversionRefused(f'has no message on {topics.absolute(wished)}, the wished '
                                    'action: name another with --action-topic')
        return (CommandMessages(topic, robot),)
    own = topics.find(robot.command.topic)
    stamped = [topics.find(name, STAMPED_TYPES) for name in (robot.command.topic, *STAMPED_TOPICS)]
    best = [topics.find('executor_state', (ExecutorStateValue.TYPE,)), *stamped, own]
    by_name = {topic.name: topic for topic in best if topic is not None}
    return [CommandMessages(topic, robot) for topic in by_name.values()]
