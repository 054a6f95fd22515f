"""
The state machine behind the recorder's services and its action: what a button means now.

Says what to do and takes note of what was done; it opens no file, knows no clock (times are
arguments in [ns]) and no ROS. What cannot be done is refused with one line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.types import NS_PER_S

NOTHING = 'nothing is being recorded: start an episode first'


class Termination(IntEnum):
    """Why a recording ended; the values are those of RecordEpisode.action."""

    STOPPED = 0
    TIMEOUT = 1
    CANCELED = 2
    DISCARDED = 3
    DISK = 4
    ERROR = 5
    DEACTIVATED = 6


class RecordingRefused(ValueError):
    """What is asked for cannot be done now; the message is one line with the remedy."""


@dataclass(frozen=True)
class EpisodeRequest:
    """
    An episode to record.

    :ivar episode_id: Its name, '' for the next free one.
    :ivar task: The instruction, '' for the newest heard.
    :ivar operator: Who demonstrates, '' for the recorder's own setting.
    :ivar max_duration_ns: In [ns]; 0: until stopped.
    """

    episode_id: str = ''
    task: str = ''
    operator: str = ''
    max_duration_ns: int = 0


@dataclass(frozen=True)
class Current:
    """The episode that is being recorded: what was asked for, and what has been heard of it."""

    episode_id: str
    request: EpisodeRequest
    start_ns: int
    outcome: Outcome = Outcome.UNLABELED


@dataclass(frozen=True)
class Ending:
    """How the current episode ends; ``keep`` False: its bag goes to the trash folder."""

    termination: Termination
    outcome: Outcome
    message: str
    keep: bool = True


@dataclass(frozen=True)
class Step:
    """
    What to do now, in this order.

    :ivar ending: End the current episode so.
    :ivar discard_id: Put this finished episode into the trash folder.
    :ivar label: Label this finished episode: (name, outcome).
    :ivar begin: Then begin this one.
    """

    ending: Ending | None = None
    discard_id: str = ''
    label: tuple[str, Outcome] | None = None
    begin: EpisodeRequest | None = None


class RecordingControl:
    """
    Turn wishes into steps.

    :ivar current: The episode being recorded, ``None`` when idle.
    :ivar last_id: The episode recorded last, if it still lies in the folder.
    """

    def __init__(self) -> None:
        self.current: Current | None = None
        self.last_id = ''
        self._last_request = EpisodeRequest()

    def begun(self, episode_id: str, request: EpisodeRequest, now_ns: int) -> None:
        """Take note that ``request`` is recorded as ``episode_id`` from ``now_ns`` on."""
        self.current = Current(episode_id, request, now_ns)
        self._last_request = request

    def ended(self, kept: bool) -> None:
        """Take note that the current episode has ended; ``kept``: its bag lies in the folder."""
        if self.current is not None and kept:
            self.last_id = self.current.episode_id
        self.current = None

    def discarded(self, episode_id: str) -> None:
        """Take note that a finished episode is gone."""
        if episode_id == self.last_id:
            self.last_id = ''

    def start(self, request: EpisodeRequest, now_ns: int) -> Step:
        """
        Begin an episode.

        :raises RecordingRefused: one is being recorded.
        """
        if self.current is not None:
            raise RecordingRefused(
                f'{self.current.episode_id} is being recorded for {self.elapsed_s(now_ns):.1f} s: '
                'stop it first')
        return Step(begin=request)

    def stop(self) -> Step:
        """
        End the episode with the label it has.

        :raises RecordingRefused: none is being recorded.
        """
        return Step(ending=self._ending(Termination.STOPPED, 'stopped'))

    def judge(self, outcome: Outcome) -> Step:
        """
        End the episode as a success or a failure; when idle, label the last one.

        :raises RecordingRefused: there is none.
        """
        if self.current is not None:
            self.mark(outcome)
            return Step(ending=self._ending(Termination.STOPPED, outcome.value))
        if self.last_id:
            return Step(label=(self.last_id, outcome))
        raise RecordingRefused(NOTHING)

    def discard(self) -> Step:
        """
        Throw the episode away; when idle, the last one.

        :raises RecordingRefused: there is none.
        """
        if self.current is not None:
            return Step(ending=self._ending(Termination.DISCARDED, 'discarded', keep=False))
        if self.last_id:
            return Step(discard_id=self.last_id)
        raise RecordingRefused('there is no episode to discard: nothing has been recorded')

    def rerecord(self) -> Step:
        """
        Throw the episode (when idle: the last one) away and record it again under its name.

        :raises RecordingRefused: there is none.
        """
        if self.current is None and not self.last_id:
            raise RecordingRefused('there is no episode to record again: start one first')
        step = self.discard()
        again = self.current.episode_id if self.current is not None else self.last_id
        if step.ending is not None:
            step = replace(step, ending=replace(step.ending, message='recorded again'))
        return replace(step, begin=replace(self._last_request, episode_id=again))

    def next(self) -> Step:
        """End the episode, if there is one, and begin the next like it under a new name."""
        ending = self._ending(Termination.STOPPED, 'next') if self.current is not None else None
        return Step(ending=ending, begin=replace(self._last_request, episode_id=''))

    def finish(self, termination: Termination, message: str) -> Step:
        """Return how the episode ends for a reason of the recorder's; nothing to do when idle."""
        if self.current is None:
            return Step()
        return Step(ending=self._ending(termination, message))

    def tick(self, now_ns: int) -> Step:
        """Return what the time demands: the end of an episode that has lasted long enough."""
        current = self.current
        if current is None or not current.request.max_duration_ns:
            return Step()
        if now_ns - current.start_ns < current.request.max_duration_ns:
            return Step()
        limit_s = current.request.max_duration_ns / NS_PER_S
        return self.finish(Termination.TIMEOUT, f'max_duration of {limit_s:g} s is over')

    def mark(self, outcome: Outcome) -> bool:
        """Label the episode being recorded, the last word counts; return whether there is one."""
        if self.current is None:
            return False
        self.current = replace(self.current, outcome=outcome)
        return True

    def elapsed_s(self, now_ns: int) -> float:
        """Return for how long the current episode has been recorded in [s]."""
        if self.current is None:
            return 0.0
        return max(now_ns - self.current.start_ns, 0) / NS_PER_S

    def _ending(self, termination: Termination, message: str, keep: bool = True) -> Ending:
        if self.current is None:
            raise RecordingRefused(NOTHING)
        return Ending(termination, self.current.outcome, message, keep)
