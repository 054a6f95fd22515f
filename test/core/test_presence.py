"""When a stream was there: counts over time, in columns that are asked for afterwards."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.presence import BINS, median_of_present, Presence

MS = 1_000_000
STAMPS = st.lists(st.integers(0, 2**64 - 1), max_size=50)


def present(stamps: list[int]) -> Presence:
    presence = Presence()
    for stamp in stamps:
        presence.add(stamp)
    return presence


def test_a_steady_stream_fills_every_column_alike() -> None:
    presence = present([i * 10 * MS for i in range(100)])
    # 990 ms in 10 columns of 99 ms: ten messages in each, but for rounding to stretches of 1 ms.
    assert presence.columns(0, 990 * MS, 10) == pytest.approx([10] * 10, abs=0.2)


def test_a_gap_is_where_it_was() -> None:
    presence = present([i * 10 * MS for i in range(100) if not 40 <= i < 60])
    columns = presence.columns(0, 990 * MS, 10)
    assert columns[3] > 9
    assert columns[4:6] == pytest.approx([0, 0], abs=0.2)
    assert columns[7] > 9


def test_the_range_grows_in_both_directions_and_no_message_is_forgotten() -> None:
    # An hour in stretches of 1 ms would be 3.6 million: they are put together.
    presence = present([0, 3600 * 1000 * MS, -3600 * 1000 * MS])
    columns = presence.columns(-3600 * 1000 * MS, 3600 * 1000 * MS, 3)
    assert columns == pytest.approx([1, 1, 1], abs=0.01)


def test_a_topic_that_came_late_leaves_the_first_columns_empty() -> None:
    assert present([900 * MS]).columns(0, 1000 * MS, 4) == [0, 0, 0, 1]


def test_one_instant_fills_the_row() -> None:
    assert present([5, 5, 5, 5]).columns(5, 5, 4) == [1, 1, 1, 1]


def test_nothing_is_nothing() -> None:
    assert Presence().columns(0, 10, 3) == [0, 0, 0]
    assert median_of_present([0.0, 0.0]) == 0.0


@given(STAMPS, st.integers(1, 2 * BINS))
def test_every_message_is_counted_once_in_any_range_that_holds_it(
        stamps: list[int], count: int) -> None:
    columns = present(stamps).columns(min(stamps, default=0), max(stamps, default=0), count)
    assert sum(columns) == pytest.approx(len(stamps))
    assert all(value >= 0 for value in columns)
