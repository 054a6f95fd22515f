"""
What was said of an episode while it went on, as columns of its dataset: rewards, help, tasks.

Marks are EpisodeEvents and instructions, by the time at which they happened. Knows no messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
import math

import numpy as np

from chunked_vla_ros.core.dataset_episode import BoolArray, StampArray
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.types import FloatArray


class EventKind(IntEnum):
    """Types of EpisodeEvent.msg."""

    START = 0
    END = 1
    SUCCESS = 2
    FAILURE = 3
    REWARD = 4
    INTERVENTION_BEGIN = 5
    INTERVENTION_END = 6
    TASK = 7
    NOTE = 8
    RESET = 9


OUTCOMES = {EventKind.SUCCESS: Outcome.SUCCESS, EventKind.FAILURE: Outcome.FAILURE}
INTERVENTIONS = {EventKind.INTERVENTION_BEGIN: True, EventKind.INTERVENTION_END: False}
# Facts of every converted episode: where its actions come from, and what its rewards are of.
ACTION_TOPIC, REWARD_OF = 'action_topic', 'reward_of'
STEP_FROM_ROW = 'the step that begins at the row'


@dataclass(frozen=True)
class Mark:
    """An EpisodeEvent, or as TASK an instruction: ``time_ns`` when it happened."""

    time_ns: int
    kind: int
    value: float = 0.0
    text: str = ''


def outcome_of(marks: Sequence[Mark]) -> Outcome:
    """Return what the last SUCCESS or FAILURE says."""
    found = Outcome.UNLABELED
    for mark in sorted(marks, key=_time):
        found = OUTCOMES.get(mark.kind, found)    # type: ignore[call-overload]
    return found


def rewards(parts: Sequence[StampArray], marks: Sequence[Mark]) -> list[FloatArray]:
    """
    Return for every part of an episode what the step earned that begins at a row, shape (N,).

    The sum of what came after the row and not after the next, so that an action and what it led
    to share a row, as in LeRobot's ``next.reward`` and a step of Gymnasium. What comes when there
    are no rows any more counts for the last one there was: a task's reward often comes when it
    has ended. What comes up to the first row was earned by no action that is in the dataset: it
    is left out.

    :param parts: When the rows are, each shape (N,).
    """
    times_ns = np.concatenate(parts)
    firsts = np.cumsum([0, *map(len, parts)])[:-1]
    sums = np.zeros(len(times_ns))
    for mark in marks:
        if mark.kind != EventKind.REWARD or not math.isfinite(mark.value):
            continue
        row = int(np.searchsorted(times_ns, mark.time_ns, 'left')) - 1
        if row >= 0:
            sums[row] += mark.value
    return np.split(sums, firsts[1:])


def rewards_are_late(facts: Mapping[str, str]) -> bool:
    """Return whether a converted episode's rewards are those of the time before each row."""
    # So they were converted once, and nothing was said of it.
    return ACTION_TOPIC in facts and facts.get(REWARD_OF) != STEP_FROM_ROW


def interventions(times_ns: StampArray, marks: Sequence[Mark]) -> BoolArray:
    """Return at which rows a person had taken over, shape (N,)."""
    changes = sorted((mark for mark in marks if mark.kind in INTERVENTIONS), key=_time)
    # A recording that first tells of an end began in the middle.
    states = [bool(changes) and changes[0].kind == EventKind.INTERVENTION_END,
              *(mark.kind == EventKind.INTERVENTION_BEGIN for mark in changes)]
    return np.array(states)[_since(times_ns, changes)]


def tasks(times_ns: StampArray, marks: Sequence[Mark], before: str = '') -> tuple[str, ...]:
    """
    Return the instruction in force at each row, N entries.

    :param before: The one in force until the first is heard.
    """
    changes = sorted((mark for mark in marks if mark.kind == EventKind.TASK), key=_time)
    texts = [before, *(mark.text for mark in changes)]
    return tuple(texts[place] for place in _since(times_ns, changes))


def _since(times_ns: StampArray, changes: Sequence[Mark]) -> StampArray:
    """Return how many of ``changes`` have happened at each row, shape (N,)."""
    happened_ns = np.array([mark.time_ns for mark in changes], np.int64)
    return np.searchsorted(happened_ns, times_ns, 'right')


def _time(mark: Mark) -> int:
    return mark.time_ns
