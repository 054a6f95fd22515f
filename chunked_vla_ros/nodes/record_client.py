"""
Ask the recorder: record an episode, press its buttons, hear how it stands.

Works on another participant's node and lets that spin. Decides nothing about success or failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from chunked_vla_ros.action import RecordEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.recording_control import Termination
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.msg import EpisodeSummary
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import stamp_to_ns
from chunked_vla_ros.nodes.demo_client import AnswerTimeout, GraphFailure
from chunked_vla_ros.nodes.recorder_report import OUTCOMES, VERDICTS
from chunked_vla_ros.nodes.teleop_inputs import KEYS_TOPIC
from chunked_vla_ros.srv import ListEpisodes

SPIN_S = 0.02
ANSWER_DEADLINE_S = 10.0
ASK_AGAIN_S = 0.5
# A disk that is slow to sync keeps the recorder waiting for so long at the end of an episode.
CLOSE_DEADLINE_S = 60.0
BUTTONS = ('start', 'stop', 'success', 'failure', 'discard', 'rerecord', 'next')
TELEOP_BUTTONS = ('hold', 'take_over')


class RecordingFailure(GraphFailure):
    """The recorder could not record; the message is one line."""


@dataclass
class Asked:
    """A button that was pressed and what has become of it; ``at_s`` on the monotonic clock."""

    name: str
    future: Future
    at_s: float

    def answer(self) -> str | None:
        """Return what was answered in one line, ``None`` while nothing was."""
        if not self.future.done():
            late = time.monotonic() - self.at_s > CLOSE_DEADLINE_S
            return f'{self.name}: no answer' if late else None
        result = self.future.result()
        return str(result.message) if result.success else f'{self.name} refused: {result.message}'


class RecordClient:
    """Talks to `recorder`, and to `teleop` where there is one, through ``node``."""

    def __init__(self, node: Node, spin_for: Callable[[float], None]) -> None:
        """``spin_for`` takes what arrives during so many [s]."""
        self._spin_for = spin_for
        self._action = ActionClient(node, RecordEpisode, 'recorder/record_episode')
        self._clients = {
            **{name: node.create_client(Trigger, f'recorder/{name}') for name in BUTTONS},
            **{name: node.create_client(Trigger, f'teleop/{name}') for name in TELEOP_BUTTONS}}
        self._keys = node.create_publisher(String, KEYS_TOPIC, qos.EVENT)
        self._result: Future | None = None
        # The last one made: who answers this knows the others, too.
        self._last = node.create_client(ListEpisodes, 'recorder/list_episodes')
        self._asked: list[Future] = []
        self._asked_s = 0.0

    @property
    def ready(self) -> bool:
        """
        Return whether the recorder serves, and its answers come back; to be asked again and again.

        A recorder that has just been found may not know its client yet: it would do what it is
        told, and its answer would be lost. So it is asked for something harmless first.
        """
        if not (self._action.server_is_ready() and self._last.service_is_ready()):
            return False
        if any(future.done() for future in self._asked):
            return True
        now_s = time.monotonic()
        if now_s - self._asked_s > ASK_AGAIN_S:
            self._asked_s = now_s
            self._asked.append(self._last.call_async(ListEpisodes.Request()))
        return False

    def type(self, keys: str) -> None:
        """Send keys to teleop, as if they had been typed there."""
        self._keys.publish(String(data=keys))

    def press(self, name: str) -> Asked:
        """
        Press one of `BUTTONS` or `TELEOP_BUTTONS`, without waiting for the answer.

        :raises GraphFailure: nobody serves it.
        """
        client = self._clients[name]
        if not client.service_is_ready():
            raise GraphFailure(f'{client.srv_name} is not there: has its node ended?')
        return Asked(name, client.call_async(Trigger.Request()), time.monotonic())

    def begin(self, task: str, max_duration_s: float) -> None:
        """
        Begin to record an episode.

        :raises RecordingFailure: the recorder refuses, and says why in its log.
        """
        goal = RecordEpisode.Goal(task=task, max_duration=max_duration_s)
        handle = self._wait(self._action.send_goal_async(goal), 'recorder/record_episode',
                            ANSWER_DEADLINE_S)
        if not handle.accepted:
            raise RecordingFailure('recorder refused to record: see its log')
        self._result = handle.get_result_async()

    def end(self, outcome: Outcome) -> EpisodeRecord:
        """
        End the episode as ``outcome`` and return what was recorded.

        :raises RecordingFailure: it had ended before, for a reason of the recorder's.
        """
        assert self._result is not None, 'nothing was begun'
        future, self._result = self._result, None
        if not future.done():
            asked = self.press(outcome.value if outcome is not Outcome.UNLABELED else 'stop')
            self._wait(asked.future, f'recorder/{asked.name}', CLOSE_DEADLINE_S)
        result = self._wait(future, 'recorder/record_episode result', CLOSE_DEADLINE_S).result
        if result.termination_reason != Termination.STOPPED:
            kept = f' ({result.episode.path} is kept)' if result.episode.path else ''
            raise RecordingFailure(f'recorder ended the episode: {result.message}{kept}')
        return record_from_msg(result.episode)

    def wait_for(self, asked: Asked) -> str:
        """
        Return the answer of a button.

        :raises GraphFailure: it was refused, or did not come.
        """
        result = self._wait(asked.future, asked.name, ANSWER_DEADLINE_S)
        if not result.success:
            raise GraphFailure(f'{asked.name} refused: {result.message}')
        return str(result.message)

    def _wait(self, future: Future, name: str, deadline_s: float) -> Any:
        end_s = time.monotonic() + deadline_s
        while not future.done():
            if time.monotonic() > end_s:
                raise AnswerTimeout(f'{name} did not answer within {deadline_s:.0f} s')
            self._spin_for(SPIN_S)
        return future.result()


def newest_values(findings: list[tuple[str, dict[str, str]]]) -> Mapping[str, str] | None:
    """Return what the recorder said last among ``findings``, ``None`` if it did not."""
    return next((values for name, values in reversed(findings)
                 if name.rpartition('/')[2] == 'recorder'), None)


def record_from_msg(msg: EpisodeSummary) -> EpisodeRecord:
    """Return the episode that ``msg`` sums up."""
    path = Path(msg.path)
    return EpisodeRecord(
        msg.episode_id, path, complete=path.name == msg.episode_id,
        start_ns=stamp_to_ns(msg.start), duration_s=msg.duration, task=msg.task,
        outcome=_key(OUTCOMES, msg.outcome), verdict=_key(VERDICTS, msg.verdict),
        reasons=tuple(msg.reasons), messages=msg.messages, lost=msg.lost, dropped=msg.dropped,
        bytes=msg.bytes)


def _key(table: Mapping[Any, int], number: int) -> Any:
    return next(key for key, value in table.items() if value == number)


