"""A recording is warned when its disk lasts a minute, and stopped before it is full."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.disk_guard import DiskGuard, DiskLevel, size_text

S = 1_000_000_000
GB, MB = 10**9, 10**6


def after_ten_seconds(free, rate, reserve=0):
    guard = DiskGuard('/data', reserve)
    for second in range(10):
        guard.check(free, second * rate, second * S)
    return guard.check(free, 10 * rate, 10 * S)


def test_a_warning_names_time_rate_space_and_remedy():
    report = after_ten_seconds(free=1000 * MB, rate=84 * MB)
    assert report.level is DiskLevel.WARN
    assert report.text == ('12 s left at 84.0 MB/s, 1.0 GB free on /data: '
                           'free space or choose another folder (parameter out)')


def test_space_for_more_than_a_minute_is_enough():
    report = after_ten_seconds(free=100 * GB, rate=83 * MB)
    assert report.level is DiskLevel.OK
    assert report.left_s == pytest.approx(100 * GB / (83 * MB))


def test_the_reserve_is_not_counted_as_space():
    report = after_ten_seconds(free=3 * GB, rate=100 * MB, reserve=GB)
    assert (report.level, report.left_s) == (DiskLevel.WARN, pytest.approx(20.0))


def test_at_the_reserve_recording_stops():
    report = after_ten_seconds(free=500 * MB, rate=MB, reserve=500 * MB)
    assert report.level is DiskLevel.STOP
    assert '500 MB free on /data, 500 MB are kept free' in report.text
    assert 'choose another folder' in report.text


def test_before_anything_is_written_only_the_reserve_counts():
    guard = DiskGuard('/data', GB)
    assert guard.check(2 * GB, 0, 0).level is DiskLevel.OK
    assert guard.check(2 * GB, 0, 0).left_s == math.inf
    assert guard.check(GB, 0, 0).level is DiskLevel.STOP


def test_the_rate_is_that_of_the_last_seconds():
    guard = DiskGuard('/data', 0)
    written = 0
    for second in range(20):
        written += 100 * MB if second < 10 else 10 * MB
        report = guard.check(10 * GB, written, second * S)
    assert report.rate == pytest.approx(10 * MB)


def test_another_recording_starts_with_a_rate_of_its_own():
    guard = DiskGuard('/data', 0)
    guard.check(GB, 0, 0)
    guard.check(GB, GB, S)
    guard.restart()
    assert guard.check(GB, 0, 2 * S).rate == 0.0


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, 10**13),
                          st.integers(0, 10**12))), st.integers(0, 10**12))
def test_whatever_the_numbers_the_guard_answers_in_one_line(checks, reserve):
    guard = DiskGuard('/data', reserve)
    for free, written, now_ns in checks:
        report = guard.check(free, written, now_ns)
        assert (report.level is DiskLevel.STOP) == (free <= reserve)
        assert report.left_s >= 0.0
        assert report.rate >= 0.0
        assert '\n' not in report.text


@pytest.mark.parametrize(('size', 'text'), [
    (999, '999 B'), (83_000_000, '83.0 MB'), (250 * MB, '250 MB'), (1.04e9, '1.0 GB'),
    (4.2e12, '4200 GB'), (1500, '1.5 kB')])
def test_sizes_are_told_in_three_digits(size, text):
    assert size_text(size) == text
