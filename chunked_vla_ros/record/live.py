"""
What recorder and teleop say of themselves on ``/diagnostics``, as values that a screen can show.

Reads words, as they come from another process; whatever it cannot read is left out. Knows no ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import re

RATE = re.compile(r'(?P<rate>[0-9]{1,12}(\.[0-9]{1,6})?)( of (?P<of>[0-9.e+]{1,16}))? Hz')
LOST = re.compile(r'(?P<lost>[0-9]{1,12}) of [0-9]{1,12} in 10 s')
# Below this share of its promised rate a stream has not come up.
RATE_SHARE = 0.8


@dataclass(frozen=True)
class LiveStream:
    """
    One topic as it comes now.

    :ivar rate_hz: In [Hz], as ``expected_hz``; that is ``None`` where nobody promised a rate.
    :ivar lost: Messages lost in the last ten seconds.
    """

    topic: str
    rate_hz: float
    expected_hz: float | None
    lost: int

    @property
    def is_slow(self) -> bool:
        """Return whether less comes than was promised."""
        return self.expected_hz is not None and self.rate_hz < RATE_SHARE * self.expected_hz


@dataclass(frozen=True)
class LiveView:
    """
    The recorder now.

    :ivar episode: Name of the episode that is being recorded, '' when idle.
    :ivar numbers: What is known of it, in the recorder's own words, by name.
    :ivar disk: Space left, in words.
    :ivar last: Name of the episode recorded last, '' for none.
    :ivar problems: Why topics are not recorded, or not wholly, one line each.
    """

    episode: str
    numbers: Mapping[str, str]
    disk: str
    last: str
    streams: tuple[LiveStream, ...]
    problems: tuple[str, ...]

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Return the streams that do not come as promised."""
        return tuple(stream.topic for stream in self.streams if stream.is_slow)


@dataclass(frozen=True)
class HandView:
    """
    Who drives now.

    :ivar obstacle: Why the arm does not move as it is told, in one line; '' for no reason.
    :ivar controls: What can be pressed or moved, and what it does.
    """

    obstacle: str = ''
    controls: tuple[tuple[str, str], ...] = ()


CONTROL = 'control '


def hand_view(values: Mapping[str, str]) -> HandView:
    """Return what ``values`` of teleop's diagnostic status say."""
    return HandView(
        values.get('waiting', '') or values.get('complaint', ''),
        tuple((key.removeprefix(CONTROL), does) for key, does in values.items()
              if key.startswith(CONTROL)))


NUMBERS = ('task', 'outcome', 'elapsed [s]', 'messages', 'written', 'queued', 'lost', 'dropped')


def live_view(values: Mapping[str, str]) -> LiveView:
    """Return what ``values`` of a diagnostic status say."""
    streams, problems = [], []
    for key, text in values.items():
        kind, _, topic = key.partition(' ')
        rate = RATE.fullmatch(text) if kind == 'rate' else None
        if kind == 'problem':
            problems.append(f'{topic}: {text}')
        if rate is None:
            continue
        lost = LOST.fullmatch(values.get(f'lost {topic}', ''))
        streams.append(LiveStream(
            topic, float(rate['rate']), _number(rate['of']), int(lost['lost']) if lost else 0))
    last = values.get('last episode', '')
    return LiveView(
        episode=values.get('episode', ''),
        numbers={name: values[name] for name in NUMBERS if values.get(name)},
        disk=values.get('disk', ''), last='' if last == 'none' else last,
        streams=tuple(streams), problems=tuple(problems))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
