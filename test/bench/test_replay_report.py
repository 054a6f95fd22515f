"""What the nodes said is counted for one replay alone, from text as they publish it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.bench.replay_report import CameraReport, replay_report, ReplayReport

BEFORE = [
    ('chunk_executor', {'rejected': '3', 'rejected: jump': '2', 'rejected: stale': '1'}),
    ('inference', {'rate camera high': '30.0 of 30 Hz',
                   'lost camera high': '0 of 200 in 10 s (0.0%), 5 of 205 in all',
                   'refused camera high': '1'})]
DURING = [
    ('inference', {'rate camera high': '0.0 of 30 Hz',
                   'lost camera high': '0 of 0 in 10 s (0.0%), 5 of 205 in all',
                   'refused camera high': '1'}),
    ('inference', {'rate camera high': '28.0 of 30 Hz'}),
    ('sim', {'rejected: jump': '99'}),
    ('inference', {'rate camera high': '30.0 of 30 Hz',
                   'lost camera high': '2 of 80 in 10 s (2.5%), 7 of 285 in all',
                   'refused camera high': '4'}),
    ('chunk_executor', {'rejected': '16', 'rejected: jump': '3', 'rejected: stale': '1',
                        'rejected: start pose': '12'})]


def test_refusals_are_those_since_the_replay_began_by_reason() -> None:
    assert replay_report(BEFORE, DURING, {}).rejections == {'jump': 1, 'start pose': 12}
    assert replay_report([], DURING, {}).rejections == {
        'jump': 3, 'stale': 1, 'start pose': 12}


def test_a_camera_counts_from_when_the_replay_began() -> None:
    # 29 Hz is the median of 28 and 30; the report before the first image does not count.
    assert replay_report(BEFORE, DURING, {}, ['high']).cameras == (
        CameraReport('high', 29.0, 30.0, 80, 2, 3),)


def test_a_camera_of_which_nothing_came_has_no_rate() -> None:
    assert replay_report([], [], {}, ['high']).cameras == (
        CameraReport('high', 0.0, 0.0, 0, 0, 0),)


def test_waits_are_what_the_policy_says_of_its_session() -> None:
    report = replay_report([], [], {'replay_resumed': '2', 'replay_late_s': '3.066'})
    assert (report.resumed, report.late_s) == (2, pytest.approx(3.066))


def test_nodes_that_said_nothing_have_nothing_to_report() -> None:
    assert replay_report([], [], {}) == ReplayReport()


TEXT = st.text(max_size=30) | st.from_regex(r'\d{1,4} of \d{1,4} in all', fullmatch=True)


@given(st.lists(st.tuples(st.just('inference'), st.dictionaries(
    st.sampled_from(['rate camera high', 'lost camera high']), TEXT))))
def test_no_text_of_rates_and_losses_breaks_the_report(
        findings: list[tuple[str, dict[str, str]]]) -> None:
    camera, = replay_report([], findings, {}, ['high']).cameras
    assert camera.rate_hz >= 0.0
