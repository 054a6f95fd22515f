"""Who drives: targets only when taken over, never by a reset alone; interventions are marked."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.teleop_session import ExecutorNews, Mark, NO_EXECUTOR, TeleopSession

MS = 1_000_000
POSE = np.zeros(2)


class Session(TeleopSession):
    """A session that hears the executor every 20 ms."""

    now_ns = 0

    def hear(self, source: Source, mode: Mode = Mode.HOLD, commanded: Any = POSE) -> Mark | None:
        self.now_ns += 20 * MS
        return self.observe(ExecutorNews(self.now_ns, mode, source, commanded, 'a reason'))


@pytest.fixture
def session() -> Session:
    return Session()


def test_before_the_executor_is_heard_nothing_is_sent(session: Session) -> None:
    assert not session.drives
    assert session.waiting == NO_EXECUTOR


@pytest.mark.parametrize(('source', 'mode', 'commanded', 'waiting'), [
    (Source.POLICY, Mode.RUNNING, POSE, 'the policy drives: take over first'),
    (Source.HOLD, Mode.HOLD, POSE, 'nobody drives: take over first'),
    (Source.TELEOP, Mode.STOPPING, POSE, 'the arm is stopping: a reason'),
    (Source.TELEOP, Mode.HOLD, None, 'the arm is not commanded: a reason'),
    (Source.TELEOP, Mode.HOLD, np.array([0.0, np.nan]), 'the arm is not commanded: a reason'),
    (Source.TELEOP, Mode.ESTOP, POSE,
     'ESTOP: a reason; reset chunk_executor, then take over again'),
    (Source.TELEOP, Mode.HOLD, POSE, ''), (Source.TELEOP, Mode.TELEOP, POSE, '')])
def test_targets_are_sent_only_when_a_person_moves_a_commanded_arm(
        session: Session, source: Source, mode: Mode, commanded: Any, waiting: str) -> None:
    session.taken_over()
    session.hear(source, mode, commanded)
    assert session.waiting == waiting
    assert session.drives == (waiting == '')


def test_after_a_latched_stop_a_reset_alone_sets_nothing_in_motion(session: Session) -> None:
    session.hear(Source.POLICY)
    session.hear(Source.TELEOP, Mode.TELEOP)
    assert session.drives
    session.hear(Source.TELEOP, Mode.FAULT)
    session.hear(Source.TELEOP, Mode.HOLD)
    assert 'take over' in session.waiting
    session.tick(session.now_ns + 1000 * MS)    # nor does silence help
    session.hear(Source.TELEOP, Mode.HOLD)
    assert not session.drives
    session.taken_over()
    session.hear(Source.TELEOP, Mode.HOLD)
    assert session.drives


def test_a_node_that_comes_back_drives_only_when_somebody_takes_over(session: Session) -> None:
    session.hear(Source.TELEOP)
    assert not session.drives
    session.taken_over()
    session.hear(Source.TELEOP)
    assert session.drives


def test_a_switch_that_somebody_else_makes_is_a_take_over(session: Session) -> None:
    session.hear(Source.HOLD)
    session.hear(Source.TELEOP)
    assert session.drives


def test_taking_a_running_policys_place_is_an_intervention(session: Session) -> None:
    assert session.hear(Source.POLICY, Mode.RUNNING) is None
    assert session.hear(Source.TELEOP, Mode.STOPPING) is Mark.BEGIN
    assert session.hear(Source.TELEOP, Mode.TELEOP) is None
    assert session.intervening
    assert session.hear(Source.POLICY, Mode.STOPPING) is Mark.END
    assert session.hear(Source.POLICY, Mode.RUNNING) is None


def test_a_policy_between_two_chunks_is_at_work_but_not_one_at_rest_for_long(
        session: Session) -> None:
    session.hear(Source.POLICY, Mode.RUNNING)
    session.hear(Source.POLICY, Mode.HOLD)
    assert session.hear(Source.TELEOP) is Mark.BEGIN
    session.hear(Source.HOLD)
    for _ in range(101):
        session.hear(Source.POLICY, Mode.HOLD)
    assert session.hear(Source.TELEOP) is None


def test_driving_where_no_policy_ran_is_no_intervention(session: Session) -> None:
    session.hear(Source.HOLD)
    assert session.hear(Source.TELEOP) is None
    assert session.hear(Source.HOLD) is None


def test_an_executor_that_falls_silent_ends_driving_and_the_intervention(
        session: Session) -> None:
    session.hear(Source.POLICY, Mode.RUNNING)
    session.hear(Source.TELEOP)
    assert session.tick(session.now_ns + 500 * MS) is None
    assert session.drives
    assert session.tick(session.now_ns + 501 * MS) is Mark.END
    assert session.waiting == NO_EXECUTOR
    assert session.tick(session.now_ns + 600 * MS) is None


def test_deactivation_ends_an_intervention_once(session: Session) -> None:
    session.hear(Source.POLICY, Mode.RUNNING)
    session.hear(Source.TELEOP)
    assert session.lost('not active') is Mark.END
    assert session.lost('not active') is None


@given(st.lists(st.tuples(st.sampled_from(Source), st.sampled_from(Mode), st.booleans())))
def test_every_end_follows_a_begin(steps: list[tuple[Source, Mode, bool]]) -> None:
    session, marks = Session(), []
    for source, mode, silent in steps:
        if silent:
            session.now_ns += 1000 * MS
            marks.append(session.tick(session.now_ns))
        marks.append(session.hear(source, mode))
        assert not session.drives or source is Source.TELEOP
    found = [mark for mark in marks if mark is not None]
    assert found == [Mark.BEGIN, Mark.END] * (len(found) // 2) + [Mark.BEGIN] * (len(found) % 2)
