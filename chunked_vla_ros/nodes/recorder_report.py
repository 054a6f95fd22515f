"""
What the recorder says: its entry in ``/diagnostics``, and episodes as messages.

Turns numbers into words; decides only what is worth a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chunked_vla_ros.core.disk_guard import DiskLevel, size_text
from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_metadata import writable
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.msg import EpisodeSummary
from chunked_vla_ros.nodes.conversions import ns_to_stamp
from chunked_vla_ros.nodes.diagnostics import ERROR, Finding, OK, WARN
from chunked_vla_ros.nodes.episode_recorder import EpisodeRecorder

# Below this share of the promised rate a stream is worth a warning.
RATE_SHARE = 0.8
OUTCOMES = {Outcome.UNLABELED: EpisodeSummary.OUTCOME_UNLABELED,
            Outcome.SUCCESS: EpisodeSummary.OUTCOME_SUCCESS,
            Outcome.FAILURE: EpisodeSummary.OUTCOME_FAILURE}
# The last second that a stamp can say, and the largest count.
LATEST_NS, MOST = (2**31 - 1) * NS_PER_S, 2**64 - 1
VERDICTS = {Verdict.GOOD: EpisodeSummary.VERDICT_GOOD,
            Verdict.USABLE: EpisodeSummary.VERDICT_USABLE,
            Verdict.BROKEN: EpisodeSummary.VERDICT_BROKEN}


@dataclass(frozen=True)
class Heard:
    """
    What is heard now.

    :ivar live: Per topic the rate in [Hz], and lost and sent in the last ten seconds.
    :ivar publishers: Per topic how many publishers are heard, and how many there are.
    :ivar problems: Why topics are not recorded, or not wholly.
    :ivar failure: Why nothing is heard at all any more; '' while all is well.
    """

    live: Mapping[str, tuple[float, int, int]]
    publishers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    failure: str = ''


def summary_msg(record: EpisodeRecord) -> EpisodeSummary:
    """Return an episode as a message; foreign bags may say of themselves what no message holds."""
    return EpisodeSummary(
        episode_id=writable(record.episode_id), path=writable(str(record.path)),
        start=ns_to_stamp(min(max(record.start_ns, 0), LATEST_NS)),
        duration=float(record.duration_s), task=writable(record.task),
        outcome=OUTCOMES[record.outcome], verdict=VERDICTS[record.verdict],
        reasons=[writable(reason) for reason in record.reasons],
        messages=_count(record.messages), lost=_count(record.lost),
        dropped=_count(record.dropped), bytes=_count(record.bytes))


def _count(number: int) -> int:
    return min(max(number, 0), MOST)


def outcome_from_msg(number: int) -> Outcome:
    """
    Return the outcome that ``number`` stands for.

    :raises ValueError: for none; the message names those that there are.
    """
    for outcome, value in OUTCOMES.items():
        if value == number:
            return outcome
    raise ValueError(f'outcome {number}, expected 0 (unlabeled), 1 (success) or 2 (failure)')


def finding(recorder: EpisodeRecorder, selection: Selection, heard: Heard,
            now_ns: int) -> Finding:
    """Return level, one line and every number."""
    recording = recorder.recording
    state, values = _state(recorder, now_ns)
    values.update(_stream_values(selection, heard))
    values.update((f'problem {topic}', problem) for topic, problem in heard.problems.items())
    complaints = [*_stream_complaints(selection, heard),
                  *(f'{topic}: {problem}' for topic, problem in heard.problems.items())]
    if recorder.disk.level is not DiskLevel.OK:
        complaints.insert(0, recorder.disk.text)
    if recording is not None and recording.totals()[1]:
        complaints.insert(0, f'{recording.totals()[1]} messages dropped: '
                             'the disk or the processor is too slow')
    failures = [f'nothing is recorded any more: {heard.failure}, restart the recorder'
                ] if heard.failure else []
    if recording is not None and recording.failure:
        failures.append(recording.failure)
    severe = failures or recorder.disk.level is DiskLevel.STOP
    level = ERROR if severe else WARN if complaints else OK
    return Finding(level, '; '.join([state, *failures, *complaints]), values)


def _state(recorder: EpisodeRecorder, now_ns: int) -> tuple[str, dict[str, object]]:
    """Return what the recorder is doing, in words and in numbers."""
    values: dict[str, object] = {
        'folder': recorder.out, 'disk': recorder.disk.text,
        'last episode': recorder.control.last_id or 'none'}
    recording, current = recorder.recording, recorder.control.current
    if recording is None or current is None:
        return 'idle', values
    lost, dropped = recording.totals()
    values.update({
        'episode': current.episode_id, 'task': current.request.task,
        'outcome': current.outcome.value,
        'elapsed [s]': f'{recorder.control.elapsed_s(now_ns):.1f}',
        'messages': recording.messages, 'written': size_text(recording.bytes),
        'queued': size_text(recording.queued_bytes), 'lost': lost, 'dropped': dropped})
    for topic, health in tuple(recording.health.items()):
        report = health.report(now_ns)
        least = 'at least ' if report.lost and report.publishers > 1 else ''
        values[f'recorded {topic}'] = (
            f'{report.messages}, lost {least}{report.lost}, dropped {report.dropped}, '
            f'gaps {report.gaps}, longest {report.largest_gap_s:.2f} s')
    return f'recording {current.episode_id}', values


def _stream_values(selection: Selection, heard: Heard) -> dict[str, object]:
    """Return what is heard of every stream now, also of those that are silent."""
    values: dict[str, object] = {}
    for topic, (matched, publishers) in heard.publishers.items():
        values[f'publishers {topic}'] = f'{matched} of {publishers} heard'
    for topic in _all_topics(selection, heard.live):
        rate_hz, lost, sent = heard.live.get(topic, (0.0, 0, 0))
        wish = selection.wish(topic)
        expected = wish.expected_rate_hz if wish is not None else None
        of = f' of {expected:g}' if expected else ''
        values[f'rate {topic}'] = f'{rate_hz:.1f}{of} Hz'
        values[f'lost {topic}'] = f'{lost} of {sent} in 10 s'
    return values


def _stream_complaints(selection: Selection, heard: Heard) -> Iterable[str]:
    for topic in _all_topics(selection, heard.live):
        rate_hz, lost, sent = heard.live.get(topic, (0.0, 0, 0))
        wish = selection.wish(topic)
        expected = wish.expected_rate_hz if wish is not None else None
        if expected and topic not in heard.live:
            yield f'{topic} has not come yet: is its driver running?'
        elif expected and rate_hz < RATE_SHARE * expected:
            yield f'{topic} is slow: {rate_hz:.1f} of {expected:g} Hz'
        if lost:
            # Messages do not say who sent them: of several publishers what is certain is counted.
            least = 'at least ' if heard.publishers.get(topic, (1, 1))[1] > 1 else ''
            yield f'{topic} lost {least}{lost} of {sent} messages'


def _all_topics(selection: Selection, live: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys([*selection.expected(), *live]))
