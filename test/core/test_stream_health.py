"""A stream is whole if nothing is missing between its first and last message, and in no gap."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.loss_meter import NOT_NUMBERED
from chunked_vla_ros.core.recording import StreamSpec, Verdict
from chunked_vla_ros.core.stream_health import StreamHealth, StreamReport, verdict

S = 1_000_000_000
START = 10**18


def health(rate_hz=10.0, required=True, publishers=1):
    spec = StreamSpec('/joint_states', 'sensor_msgs/msg/JointState', expected_rate_hz=rate_hz,
                      required=required)
    return StreamHealth(spec, START, publishers)


def fed(tenths, **fields):
    """Return the health of a 10 Hz stream with messages at ``tenths`` of a second."""
    stream = health(**fields)
    for tenth in tenths:
        stream.add(START + tenth * S // 10, tenth, 100)
    return stream


def judged(stream, duration_s=2.0):
    return verdict([stream.report(START + round(duration_s * S))], duration_s)


def test_a_stream_without_a_hole_is_good():
    report = fed(range(1, 21)).report(START + 2 * S)
    assert (report.messages, report.bytes, report.lost, report.gaps) == (20, 2000, 0, 0)
    assert report.rate_hz == pytest.approx(10.0)
    assert report.largest_gap_s == pytest.approx(0.1)
    assert (report.first_ns, report.last_ns) == (START + S // 10, START + 2 * S)
    assert verdict([report], 2.0) == (Verdict.GOOD, [])


def test_one_lost_message_is_usable_and_named():
    result, reasons = judged(fed([n for n in range(1, 41) if n != 7]), 4.0)
    assert result is Verdict.USABLE
    assert reasons == ['/joint_states: 1 of 40 messages lost on the way']


def test_a_tenth_lost_of_a_required_stream_is_broken_and_of_another_usable():
    tenths = [n for n in range(1, 41) if n % 10]
    assert judged(fed(tenths), 4.0)[0] is Verdict.BROKEN
    assert judged(fed(tenths, required=False), 4.0)[0] is Verdict.USABLE


def test_what_the_queue_dropped_is_no_loss_on_the_way():
    stream = fed(range(1, 20))
    stream.dropped(START + 2 * S, 20)
    stream.add(START + 2 * S + S // 10, 21, 100)
    report = stream.report(START + 2 * S + S // 10)
    assert (report.messages, report.lost, report.dropped) == (20, 0, 1)
    assert 'dropped: the disk or the processor was too slow' in verdict([report], 2.1)[1][0]


def test_a_required_stream_that_never_came_breaks_the_episode():
    result, reasons = judged(fed([]))
    assert result is Verdict.BROKEN
    assert '/joint_states never came: is its driver running?' in reasons


def test_a_stream_that_nobody_promised_may_be_absent():
    spec = StreamSpec('/scene', 'visualization_msgs/msg/MarkerArray')
    absent = StreamHealth(spec, START).report(START + 2 * S)
    present = fed(range(1, 21)).report(START + 2 * S)
    assert verdict([present, absent], 2.0) == (Verdict.GOOD, [])


def test_nothing_at_all_is_broken():
    assert verdict([], 2.0)[0] is Verdict.BROKEN


@pytest.mark.parametrize(('tenths', 'gap_s', 'gaps', 'reason'), [
    ([*range(1, 11), *range(16, 21)], 0.6, 1, 'paused once, 0.60 s at most'),
    (range(6, 21), 0.6, 0, 'began 0.60 s after the start'),
    (range(1, 15), 0.6, 0, 'fell silent 0.60 s before the end'),
    (range(1, 19), 0.2, 0, None),                  # the last period is still running
])
def test_a_silence_of_more_than_three_periods_has_a_reason_that_says_where_it_is(
        tenths, gap_s, gaps, reason):
    report = fed(tenths).report(START + 2 * S)
    assert report.largest_gap_s == pytest.approx(gap_s)
    assert report.gaps == gaps
    found, reasons = verdict([report], 2.0)
    assert (found is Verdict.GOOD) == (reason is None)
    assert reasons[-1:] == ([f'/joint_states {reason}'] if reason else [])


def test_a_stream_that_died_while_others_went_on_breaks_the_episode():
    camera = fed(range(1, 85)).report(START + 10 * S)
    joints = fed(range(1, 101)).report(START + 10 * S)
    found, reasons = verdict([camera, joints], 10.0)
    assert found is Verdict.BROKEN
    assert reasons == [('/joint_states fell silent 1.60 s before the end while others went on: '
                        'has its driver died?')]


def test_streams_that_begin_late_or_end_together_before_the_stop_are_only_cut_shorter():
    """The robot was started 3 s after the recorder, and stopped 2 s before it."""
    joints, camera = (fed(range(30 + late, 101)).report(START + 12 * S) for late in (0, 1))
    found, reasons = verdict([joints, camera], 12.0)
    assert found is Verdict.USABLE
    assert reasons == [
        '/joint_states began 3.00 s after the start',
        '/joint_states fell silent 2.00 s before the end',
        '/joint_states began 3.10 s after the start',
        '/joint_states fell silent 2.00 s before the end']


@pytest.mark.parametrize('tenths', [range(60, 101), range(1, 40), range(30, 70)])
def test_a_required_stream_that_is_absent_for_most_of_the_episode_breaks_it(tenths):
    assert judged(fed(tenths), 10.0)[0] is Verdict.BROKEN
    assert judged(fed(tenths, required=False), 10.0)[0] is Verdict.USABLE


def test_what_came_before_the_start_is_no_silence():
    """A ring of 0.5 s was kept."""
    report = fed(range(-5, 21)).report(START + 2 * S)
    assert (report.head_s, report.tail_s, report.pause_s) == (0.0, 0.0, 0.1)


def test_what_was_sent_before_a_publisher_was_found_has_a_reason():
    stream = fed(range(12, 41))
    stream.unheard = 11
    assert judged(stream, 4.0)[1][0] == (
        '/joint_states was found while recording: up to 11 messages before that are missing')


def test_losses_of_several_publishers_are_called_a_lower_bound():
    stream = health(None, publishers=2)
    for sequence in (5, 900, 6, 9, 901):    # 7 and 8 are missing
        stream.add(START, sequence, 1)
    assert judged(stream)[1] == ['/joint_states: at least 2 of 7 messages lost on the way']


def test_a_fast_stream_may_hiccup_for_a_tenth_of_a_second():
    stream = health(1000.0)
    for n in (1, 2, 3, 100, 101):
        stream.add(START + n * S // 1000, n, 1)
    assert stream.report(START + 101 * S // 1000).gaps == 0


@pytest.mark.parametrize(('rate_hz', 'expected'), [
    (10.0, Verdict.GOOD), (12.0, Verdict.USABLE), (25.0, Verdict.BROKEN)])
def test_a_stream_slower_than_promised_is_worth_a_reason(rate_hz, expected):
    result, reasons = judged(fed(range(1, 21), rate_hz=rate_hz))
    assert result is expected
    assert (not reasons) == (expected is Verdict.GOOD)
    assert all(f'10.0 of {rate_hz:g} Hz' in reason for reason in reasons)


def test_an_episode_of_a_moment_is_not_called_slow():
    assert judged(fed([1]), 0.2) == (Verdict.GOOD, [])


def test_a_note_makes_a_recording_usable():
    report = StreamReport('/odd', messages=1, notes=('its type has no definition here',))
    assert verdict([report], 1.0) == (
        Verdict.USABLE, ['/odd: its type has no definition here'])


def test_two_publishers_that_count_for_themselves_lose_nothing():
    stream = health(None, publishers=2)
    for sequence in (5, 900, 6, 7, 901, 902, 8):
        stream.add(START, sequence, 1)
    assert stream.report(START).lost == 0


def test_a_hole_in_one_of_two_publishers_numbers_is_a_loss():
    stream = health(None, publishers=2)
    for sequence in (5, 900, 6, 9, 901):    # 7 and 8 are missing
        stream.add(START, sequence, 1)
    assert stream.report(START).lost == 2


def test_one_publisher_more_than_before_has_lost_nothing():
    stream = health(None)
    for sequence in (500, 501):
        stream.add(START, sequence, 1)
    stream.publishers = 2
    for sequence in (1, 502, 2, 503):
        stream.add(START, sequence, 1)
    assert stream.report(START).lost == 0


def test_what_passed_between_two_subscriptions_is_not_lost():
    stream = fed([1, 2])
    stream.rejoin()
    stream.add(START + S, 10, 1)
    assert stream.report(START + S).lost == 0


def test_middleware_without_numbers_reports_no_losses():
    stream = health(publishers=2)
    for _ in range(3):
        stream.add(START, NOT_NUMBERED, 1)
    assert stream.report(START).lost == 0


def test_live_numbers_are_those_of_the_last_seconds():
    stream = fed(n for n in range(1, 41) if n != 30)
    rate_hz, lost, sent = stream.live(START + 4 * S)
    assert rate_hz == pytest.approx(9.5)    # 19 in two seconds
    assert (lost, sent) == (1, 40)
    assert stream.live(START + 60 * S) == (0.0, 0, 0)


@given(st.lists(st.integers(1, 3), max_size=60), st.data())
def test_of_interleaved_publishers_no_more_is_called_lost_than_was(order, data):
    """Several publishers count from 1, some messages vanish; the meter sees a mix."""
    counts, sent = {}, []
    for publisher in order:
        counts[publisher] = counts.get(publisher, 0) + 1
        sent.append((publisher, counts[publisher]))
    kept = [message for message in sent if data.draw(st.booleans())]
    stream = health(None, publishers=max(len(counts), 1))
    for _, sequence in kept:
        stream.add(START, sequence, 1)
    assert stream.report(START).messages == len(kept)
    if len(kept) == len(sent):
        assert stream.report(START).lost == 0


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 2**64 - 1)), max_size=50),
       st.integers(0, 2 * 10**9))
def test_whatever_numbers_and_times_come_a_report_can_be_made(messages, now):
    stream = health()
    for offset, sequence in messages:
        stream.add(START + offset, sequence, 10)
    report = stream.report(START + now)
    assert report.messages == len(messages)
    assert report.lost >= 0
    assert report.largest_gap_s >= 0.0
    assert verdict([report], 1.0)[0] in Verdict
