"""
Which topics a recorder records: those of the robot contract, a list, and patterns.

Knows names and nothing of what flows: neither ROS nor files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import re

from chunked_vla_ros.core.recording import Compression
from chunked_vla_ros.core.robot_spec import RobotSpec

# Topics of the package that tell what an episode was, when a graph has them.
GRAPH_TOPICS = (
    'instruction', 'action_chunk', 'executor_state', 'teleop/joint_targets', 'joint_trajectory_in',
    'episode_event', 'policy_info', 'scene', 'emergency_stop')
DIAGNOSTICS = '/diagnostics'
JPEG_QUALITY, PNG_LEVEL = 90, 1
LIMITS = {Compression.JPEG: (1, 100, JPEG_QUALITY), Compression.PNG: (0, 9, PNG_LEVEL)}
ENTRY = re.compile(r'(?P<topic>[^=\s]+)=(?P<codec>[a-z]+)(?::(?P<value>[0-9]{1,3}))?')


class SelectionError(ValueError):
    """A choice of topics cannot be understood; the message is one line with the remedy."""


@dataclass(frozen=True)
class Wish:
    """What is known of a topic before it is heard: the rate in [Hz], and whether it must come."""

    expected_rate_hz: float | None = None
    required: bool = False


@dataclass(frozen=True)
class Codec:
    """How a topic's images are kept; ``value``: JPEG quality or PNG level."""

    compression: Compression = Compression.NONE
    value: int = 0


@dataclass(frozen=True)
class Selection:
    """
    The choice, with absolute topic names.

    :ivar wishes: Topics that are recorded whatever the patterns say.
    :ivar patterns: What also is recorded if a whole name matches.
    :ivar exclude: What is never recorded.
    :ivar codecs: By topic.
    :ivar named: What a person has asked for by its name: one that nobody publishes is a slip.
    """

    wishes: Mapping[str, Wish]
    patterns: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    named: tuple[str, ...] = ()

    def wish(self, topic: str) -> Wish | None:
        """Return what is known of ``topic``, ``None`` if it is not to be recorded."""
        if any(pattern.fullmatch(topic) for pattern in self.exclude):
            return None
        if topic in self.wishes:
            return self.wishes[topic]
        return Wish() if any(pattern.fullmatch(topic) for pattern in self.patterns) else None

    def expected(self) -> list[str]:
        """Return the topics that someone promised."""
        return [topic for topic, wish in self.wishes.items()
                if (wish.required or wish.expected_rate_hz) and self.wish(topic) is not None]

    def codec(self, topic: str) -> Codec:
        """Return how the images of ``topic`` are kept."""
        return self.codecs.get(topic, Codec())


def compressed_topic(topic: str) -> str:
    """Return under which name the images of ``topic`` are kept that a codec has compressed."""
    return f'{topic}/compressed'


def contract_wishes(robot: RobotSpec) -> dict[str, Wish]:
    """Return the topics of a robot by their relative names."""
    wishes = {robot.state.topic: Wish(robot.state.rate_hz, required=True)}
    for camera in robot.cameras:
        wishes[camera.stream.topic] = Wish(camera.stream.rate_hz, required=True)
        wishes[camera.info_topic] = Wish()
    wishes[robot.command.topic] = Wish()
    return wishes


def graph_wishes() -> dict[str, Wish]:
    """Return the topics of the graph that drives a robot, any robot, by their relative names."""
    return {topic: Wish() for topic in (*GRAPH_TOPICS, DIAGNOSTICS)}


def patterns(texts: Sequence[str], parameter: str) -> tuple[re.Pattern[str], ...]:
    """
    Return regular expressions; an empty text, which ROS needs for an empty list, is none.

    :raises SelectionError: naming the ``parameter`` and what is wrong.
    """
    compiled = []
    for text in filter(None, texts):
        try:
            compiled.append(re.compile(text))
        except re.error as error:
            raise SelectionError(
                f'parameter {parameter}: {text!r} is no regular expression: {error}') from None
    return tuple(compiled)


def codecs(texts: Sequence[str]) -> dict[str, Codec]:
    """
    Return the codecs by topic in entries such as 'cameras/front/image_raw=jpeg:90'.

    :raises SelectionError: naming the entry and what was expected.
    """
    chosen = {}
    for text in filter(None, texts):
        match = ENTRY.fullmatch(text)
        names = [codec.value for codec in Compression]
        if match is None or match['codec'] not in names:
            raise SelectionError(
                f'parameter compression: {text!r}, expected TOPIC=CODEC or TOPIC=CODEC:VALUE '
                f'with one of {", ".join(names)}')
        compression = Compression(match['codec'])
        low, high, default = LIMITS.get(compression, (0, 0, 0))
        value = int(match['value']) if match['value'] else default
        if not low <= value <= high:
            raise SelectionError(
                f'parameter compression: {text!r} has the value {value}, expected {low} to {high}')
        chosen[match['topic']] = Codec(compression, value)
    return chosen
