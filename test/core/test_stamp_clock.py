"""Which clock a recording's stamps are of, and which of them can be true."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import ConversionRefused
from chunked_vla_ros.core.robot_spec import TimeBase
from chunked_vla_ros.core.stamp_clock import Arrivals, clock_of, date

MS = 1_000_000
S = 1000 * MS
T0 = 1_700_000_000 * S
TOLERANCE = 100 * MS


def arrivals(stamps_ns, logs_ns, time_base=TimeBase.HEADER, name='joints'):
    return Arrivals(name, time_base, np.array(stamps_ns, np.int64), np.array(logs_ns, np.int64),
                    TOLERANCE)


def at(count, step_ns, start_ns):
    return [start_ns + place * step_ns for place in range(count)]


def test_stamps_near_their_arrival_are_of_the_logs_clock():
    clock = clock_of(arrivals(at(50, 10 * MS, T0), at(50, 10 * MS, T0 + 30 * MS)))
    assert (clock.name, clock.offset_s) == ('', 0.0)
    assert clock.at(np.array([T0 + 7])).tolist() == [T0 + 7]


def test_a_clock_of_its_own_is_followed_though_it_runs_at_another_rate():
    # Simulation time at 0.9 of the wall clock's rate, for 100 s.
    logs_ns, stamps_ns = at(1000, 100 * MS, T0), at(1000, 90 * MS, 5 * S)
    joints = arrivals(stamps_ns, logs_ns)
    clock = clock_of(joints)
    assert clock.name == 'joints'
    assert np.abs(clock.at(joints.logs_ns) - stamps_ns).max() <= 1000
    assert clock.at(np.array([T0 + 50 * S]))[0] == pytest.approx(5 * S + 45 * S, abs=1000)
    assert date(joints, clock).refused == 0


def test_one_wrong_stamp_moves_no_clock():
    logs_ns, stamps_ns = at(200, 10 * MS, T0), at(200, 10 * MS, 5 * S)
    stamps_ns[100] += 3600 * S
    joints = arrivals(stamps_ns, logs_ns)
    dated = date(joints, clock_of(joints))
    assert dated.refused == 1
    assert dated.places.tolist() == [*range(100), *range(101, 200)]


def test_a_clock_that_goes_back_is_refused():
    stamps_ns = at(200, 10 * MS, 50 * S) + at(200, 10 * MS, 1 * S)
    with pytest.raises(ConversionRefused, match='the clock of joints goes back by 5'):
        clock_of(arrivals(stamps_ns, at(400, 10 * MS, T0)))


def test_what_arrives_late_is_used_and_what_is_ten_seconds_old_is_not():
    clock = clock_of(arrivals([], []))
    stamps_ns = at(20, 100 * MS, T0)
    logs_ns = [*stamps_ns[:18], stamps_ns[18] + 9 * S, stamps_ns[19] + 11 * S]
    dated = date(arrivals(stamps_ns, logs_ns), clock)
    assert dated.places.tolist() == [*range(19)]
    assert dated.reason == 'stamp is 11.0 s before its arrival'


def test_a_stream_of_the_logs_clock_needs_no_stamps():
    dated = date(arrivals([0, 0, 0], at(3, MS, T0), TimeBase.RECEIPT), clock_of(arrivals([], [])))
    assert dated.times_ns.tolist() == at(3, MS, T0)
    with pytest.raises(ConversionRefused, match=r'joints has no stamps, all 3 are zero'):
        date(arrivals([0, 0, 0], at(3, MS, T0)), clock_of(arrivals([], [])))


# Whatever a damaged header or a log may hold.
STAMPS = st.one_of(st.integers(-2**31 * S, 2**31 * S), st.integers(T0, T0 + S),
                   st.just(0))
LOGS = st.one_of(st.integers(0, 2**63 - 1), st.integers(T0, T0 + S))


@given(pairs=st.lists(st.tuples(STAMPS, LOGS), max_size=150), others=st.lists(STAMPS, max_size=5),
       time_base=st.sampled_from(TimeBase))
def test_whatever_the_stamps_are_samples_come_in_order_or_the_bag_is_refused(
        pairs, others, time_base):
    logs_ns = sorted(log_ns for _, log_ns in pairs)
    joints = arrivals([stamp_ns for stamp_ns, _ in pairs], logs_ns, time_base)
    try:
        clock = clock_of(joints)
        found = [date(joints, clock), date(arrivals(others, logs_ns[:len(others)]), clock)] \
            if len(others) <= len(logs_ns) else [date(joints, clock)]
    except ConversionRefused as error:
        assert '\n' not in str(error)    # noqa: PT017
        return
    for dated in found:
        assert (np.diff(dated.times_ns) > 0).all()
        assert (np.diff(dated.places) > 0).all()
        assert (dated.times_ns > 0).all()
