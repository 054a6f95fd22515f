"""Which targets of a new plan are decided already: numbers that one can follow by hand."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.committed_rows import committed_rows, expected_latency_ns
from chunked_vla_ros.core.types import ActionChunk, DimKind

MS = 1_000_000
START, STEP = 5_000 * MS, 100 * MS
# Joint 'arm' goes 0.0 0.1 0.2 0.3, the finger closes with the third point.
TARGETS = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.8], [0.3, 0.8]])


def chunk(positions=TARGETS, kinds=(DimKind.CONTINUOUS, DimKind.BINARY), valid_ms=1000):
    return ActionChunk('5e', 0, START, START, valid_ms * MS, ('arm', 'finger'), positions,
                       STEP * np.arange(len(positions)), kinds)


def rows(after_ms, latency_ms, **fields):
    """Return the rows of a plan on what was seen ``after_ms`` after the chunk's start."""
    found = committed_rows(chunk(**fields), START + after_ms * MS, latency_ms * MS, STEP)
    return None if found is None else found.tolist()


def test_a_plan_that_takes_two_steps_finds_two_rows_of_the_chunk_before():
    assert rows(100, 200) == [[0.1, 0.0], [0.2, 0.8]]


def test_a_latency_is_rounded_up_to_steps():
    assert len(rows(100, 101)) == 2
    assert len(rows(100, 1)) == 1
    assert rows(100, 0) is None


def test_between_two_points_the_arm_is_on_the_line_and_the_finger_still_at_the_former():
    assert rows(150, 200) == [pytest.approx([0.15, 0.0]), pytest.approx([0.25, 0.8])]


def test_behind_the_chunks_end_nothing_is_decided():
    assert len(rows(200, 900)) == 2
    assert rows(301, 100) is None


def test_behind_the_chunks_validity_nothing_is_decided():
    assert len(rows(0, 900, valid_ms=150)) == 2


def test_what_was_seen_before_the_chunk_begins_is_not_told_its_rows():
    assert rows(-1, 200) is None


def test_a_joint_that_turns_round_takes_the_short_way():
    turning = np.array([[3.1, 0.0], [-3.1, 0.0]])
    [[arm, _]] = rows(50, 50, positions=turning, kinds=(DimKind.WRAPPED, DimKind.BINARY))
    assert arm == pytest.approx(np.pi)


def test_without_kinds_every_joint_is_on_the_line():
    assert rows(150, 100, kinds=()) == [pytest.approx([0.15, 0.4])]


def test_the_next_latency_is_expected_to_be_the_median_of_the_newest_nine():
    assert expected_latency_ns([]) == 0
    assert expected_latency_ns([30, 10, 20]) == 20
    assert expected_latency_ns([1000] * 5 + [10] * 9) == 10


@given(st.integers(-400, 600), st.integers(0, 2000))
def test_rows_are_those_within_latency_and_chunk_and_lie_among_its_targets(after_ms, latency_ms):
    found = rows(after_ms, latency_ms)
    due = [after_ms + 100 * k for k in range(20) if 100 * k < latency_ms]
    inside = [ms for ms in due if ms <= 300] if after_ms >= 0 else []
    assert (0 if found is None else len(found)) == len(inside)
    for [arm, finger], ms in zip(found or [], inside, strict=True):
        assert arm == pytest.approx(ms / 1000)
        assert finger == (0.8 if ms >= 200 else 0.0)
