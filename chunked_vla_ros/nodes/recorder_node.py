"""
Record episodes: every topic of the robot contract, as the bytes that came, one bag for each.

A plug, not a brain: `recorder_loop` takes messages, `recorder_writer` writes them, and what to do
is decided in `core`. Its own process, so that no disk can delay a control loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import gc
import os
from pathlib import Path
import sys
import time

from chunked_vla_ros.core.disk_guard import DiskLevel
from chunked_vla_ros.core.pretrigger import PretriggerRing
from chunked_vla_ros.core.recording import EpisodeFacts, Outcome
from chunked_vla_ros.core.recording_control import (
    Ending,
    EpisodeRequest,
    RecordingRefused,
    Step,
    Termination,
)
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos, recorder_report
from chunked_vla_ros.nodes.conversions import ns_to_stamp
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, STEADY
from chunked_vla_ros.nodes.episode_facts import EpisodeFactsSource
from chunked_vla_ros.nodes.episode_recorder import (
    EpisodeRecorder,
    Limits,
    summary,
    Surroundings,
)
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.parameters import declare, parameter
from chunked_vla_ros.nodes.record_episode import RecordEpisodeServer
from chunked_vla_ros.nodes.recorded_types import load_usual_types
from chunked_vla_ros.nodes.recorder_inputs import RecorderInputs
from chunked_vla_ros.nodes.recorder_loop import RecorderLoop
from chunked_vla_ros.nodes.recorder_selection import make_selection
from chunked_vla_ros.nodes.runtime import run

TICK_S = 0.1
# In ticks: how often clients are told, and the disk is looked at.
FEEDBACK, DISK = 2, 5
MEGABYTE = 1_000_000
# So long the result of an episode that ends with the process has to reach its client: it is not
# delivered any more once this participant has left.
LAST_WORDS_S = 0.5
OUTCOMES = {EpisodeEvent.SUCCESS: Outcome.SUCCESS, EpisodeEvent.FAILURE: Outcome.FAILURE}


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the node `recorder`."""

    robot: str = parameter(
        'ur5e_sim', 'robot contract whose topics are recorded: a name or the path of a .yaml '
        'file; empty: none')
    out: str = parameter('~/chunked_vla/episodes', 'folder of the episodes, made where missing')
    topics: tuple[str, ...] = parameter(
        ('',), 'topics that are recorded besides those of the contract')
    patterns: tuple[str, ...] = parameter(
        ('',), 'regular expressions; topics whose whole name matches are recorded too')
    exclude: tuple[str, ...] = parameter(
        ('',), 'regular expressions; topics whose whole name matches are never recorded')
    compression: tuple[str, ...] = parameter(
        ('',), 'how images are kept, TOPIC=jpeg:QUALITY, TOPIC=png:LEVEL or TOPIC=none; a '
        "camera's name stands for its topic")
    task: str = parameter(
        '', 'the task, unless a goal or the topic instruction names one')
    operator: str = parameter('', 'who demonstrates, unless a goal says')
    pretrigger_s: float = parameter(
        0.0, 'every episode begins with what came so long before its start [s]',
        minimum=0.0, maximum=60.0)
    queue_mb: int = parameter(
        256, 'what may wait for the disk, and what the time before the start may hold [MB]',
        minimum=1, maximum=65_536)
    min_free_mb: int = parameter(
        500, 'recording stops before less than this is free on the disk [MB]',
        minimum=0, maximum=10_000_000)
    max_duration_s: float = parameter(
        0.0, 'an episode ends after so long, unless its goal says; 0: when stopped [s]',
        minimum=0.0, maximum=86_400.0)
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class RecorderNode(ManagedNode):
    """The node `recorder`."""

    def __init__(self) -> None:
        super().__init__('recorder')
        # What a user can get wrong is read here, where an error ends the process with one line.
        given = self._settings = declare(self, RecorderParameters)
        self._selection = make_selection(
            given.robot, given.topics, given.patterns, given.exclude, given.compression,
            self.resolve_topic_name)
        self._out = _folder(given.out)
        self._facts = EpisodeFactsSource(given.robot, given.task, given.operator)
        self._fact_topics = {name: self.resolve_topic_name(name)
                             for name in ('instruction', 'policy_info')}
        self._ticks, self._complained = 0, ''
        self._recorder: EpisodeRecorder | None = None
        self.start(given.autostart)

    def configure(self) -> None:
        """Listen to every topic, and serve."""
        given = self._settings
        queue_bytes = given.queue_mb * MEGABYTE
        self._inputs = RecorderInputs(self, self._selection)
        self._loop = RecorderLoop(
            self._inputs, PretriggerRing(given.pretrigger_s, queue_bytes),
            frozenset(self._fact_topics.values()), self._log_ns, self._now_ns)
        self._events = self.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        self._heard = self.create_subscription(
            EpisodeEvent, 'episode_event', self._on_event, qos.EVENT)
        self._recorder = EpisodeRecorder(
            self._out, self._loop, self._selection,
            Limits(queue_bytes, given.min_free_mb * MEGABYTE,
                   round(given.max_duration_s * NS_PER_S)),
            Surroundings(self._now_ns, self._episode_facts, self._announce, self._remarks,
                         self._on_ended))
        self._server = RecordEpisodeServer(self, self._recorder, self._now_ns)
        self._diagnostics = DiagnosticsPublisher(self, self._facts.robot, self._finding)
        load_usual_types()
        self._inputs.find()
        self._loop.start()
        # Steady: an episode can be stopped while simulated time stands still.
        self._ticker = self.create_timer(TICK_S, self._tick, clock=STEADY)

    def activate(self) -> None:
        """Allow recordings."""
        self._server.open = True
        # A full collection over what the node was built of would hold the listening thread up.
        gc.collect()
        gc.freeze()

    def deactivate(self) -> None:
        """End the episode; its bag is whole."""
        self._server.open = False
        self._perform(self._active.control.finish(Termination.DEACTIVATED, 'deactivated'))
        gc.unfreeze()

    def cleanup(self) -> None:
        """Close in reverse order."""
        self.destroy_timer(self._ticker)
        self._loop.stop()
        self._diagnostics.destroy()
        self._server.destroy()
        self.destroy_subscription(self._heard)
        self.destroy_publisher(self._events)
        self._inputs.destroy()
        self._recorder = None

    def close(self) -> None:
        """Finish in order; a client that waits for the result of its recording still gets it."""
        if self._recorder is not None and self.executor is not None:
            self._server.open = False
            waiting = self._server.has_client
            self._perform(self._recorder.control.finish(Termination.DEACTIVATED, 'shut down'))
            until_s = time.monotonic() + (LAST_WORDS_S if waiting else 0.0)
            while time.monotonic() < until_s:
                self.executor.spin_once(timeout_sec=TICK_S)
        super().close()

    @property
    def _active(self) -> EpisodeRecorder:
        assert self._recorder is not None    # the lifecycle allows no other order
        return self._recorder

    # --- time --------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _log_ns(self, received_ns: int) -> int:
        """Return the log stamp of a message: the middleware's own word, on the node's clock."""
        simulated = self.get_clock().ros_time_is_active
        return self._now_ns() if simulated or not received_ns else received_ns

    # --- what happens ------------------------------------------------------------------------

    def _tick(self) -> None:
        recorder, self._ticks = self._active, self._ticks + 1
        control = recorder.control
        self._perform(control.tick(self._now_ns()))
        if self._server.take_cancel():
            self._perform(control.finish(Termination.CANCELED, 'cancelled by the client'))
        if recorder.recording is not None and recorder.recording.failure:
            reason = Termination.DISK if recorder.recording.no_room else Termination.ERROR
            self._perform(control.finish(reason, recorder.recording.failure))
        if self._ticks % DISK == 0:
            disk = recorder.look_at_disk()
            if disk.level is DiskLevel.STOP:
                self._perform(control.finish(Termination.DISK, disk.text))
        if self._ticks % FEEDBACK == 0:
            self._server.feed_back()
        if self._loop.failure and self._loop.failure != self._complained:
            self._complained = self._loop.failure
            self.get_logger().error(f'nothing is recorded any more: {self._complained}')
            self._perform(control.finish(Termination.ERROR, self._complained))

    def _perform(self, step: Step) -> None:
        """Do what nobody waits for an answer to."""
        try:
            self._active.perform(step)
        except RecordingRefused as error:
            self.get_logger().error(str(error))

    def _on_event(self, event: EpisodeEvent) -> None:
        outcome = OUTCOMES.get(event.type)
        if outcome is not None and event.source != self.get_fully_qualified_name():
            self._active.control.mark(outcome)

    def _on_ended(self, ending: Ending, record: EpisodeRecord) -> None:
        text = f'{summary(record)} ({ending.message})'
        say = self.get_logger()
        if ending.termination in (Termination.DISK, Termination.ERROR):
            say.error(text)
        else:
            say.info(text)
        self._server.ended(ending, record)

    def _announce(self, kind: str, episode_id: str, text: str) -> None:
        event = EpisodeEvent(
            episode_id=episode_id, type=getattr(EpisodeEvent, kind), text=text,
            source=self.get_fully_qualified_name())
        event.header.stamp = ns_to_stamp(self._now_ns())
        self._events.publish(event)

    def _episode_facts(self, name: str, request: EpisodeRequest, start_ns: int) -> EpisodeFacts:
        heard = {key: self._loop.newest(topic) for key, topic in self._fact_topics.items()}
        return self._facts.facts(name, request, start_ns, heard)

    def _remarks(self) -> list[str]:
        failure = f'listening has failed: {self._loop.failure}' if self._loop.failure else ''
        return [*filter(None, [failure]),
                *(f'{topic}: {problem}' for topic, problem in self._inputs.problems.items())]

    def _finding(self) -> Finding:
        now_ns = self._now_ns()
        return recorder_report.finding(
            self._active, self._selection,
            recorder_report.Heard(self._loop.live_numbers(now_ns), self._inputs.publishers,
                                  self._inputs.problems, self._loop.failure), now_ns)


def _folder(text: str) -> Path:
    """
    Return the folder of the episodes, made where it is missing.

    :raises ValueError: nothing can be written there; the message names it and the remedy.
    """
    path = Path(text).expanduser().absolute()
    remedy = 'choose another folder (parameter out)'
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}: {remedy}') from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f'{path}: not writable: {remedy}')
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run(RecorderNode, argv)


if __name__ == '__main__':
    sys.exit(main())
