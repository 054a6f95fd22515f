"""The time line in the terminal: full where a topic is as usual, a dot where it is silent."""

from chunked_vla_ros.bag.timeline import axis, bar


def test_a_steady_topic_is_full_and_a_gap_is_a_dot() -> None:
    assert bar([10, 10, 0, 10]) == '██·█'


def test_a_lower_block_is_a_share_of_the_usual_count() -> None:
    assert bar([8, 8, 8, 4, 1, 8]) == '███▅▂█'


def test_more_than_usual_is_not_more_than_full() -> None:
    assert bar([5, 5, 50]) == '███'


def test_a_latched_message_shows_once() -> None:
    assert bar([1, 0, 0]) == '█··'


def test_a_steady_topic_with_fewer_messages_than_columns_does_not_look_broken() -> None:
    assert bar([1, 1, 0] * 10 + [1]) == '█' * 31


def test_its_pause_is_seen_nevertheless() -> None:
    assert '····' in bar([1, 1, 0] * 10 + [0] * 20 + [1, 1, 0] * 10)


def test_a_topic_that_comes_now_and_then_is_shown_message_by_message() -> None:
    assert bar([1, 0, 0, 0, 1, 0, 0, 0, 0, 1]) == '█···█····█'


def test_a_topic_without_messages_is_all_gap() -> None:
    assert bar([0, 0]) == '··'


def test_what_leaks_from_a_neighbouring_stretch_is_no_message() -> None:
    assert bar([10, 0.01, 10]) == '█·█'


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert bar([8, 8, 8, 4, 0], ascii_only=True) == '###+ '


def test_the_scale_ends_where_the_row_ends() -> None:
    assert axis(95.24, 20) == '0             95.2 s'
    assert len(axis(1200.0, 30)) == 30
    assert axis(1200.0, 30).endswith('20.0 min')
