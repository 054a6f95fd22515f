"""A chunk is taken whole or refused whole, with the reason."""

from collections.abc import Callable

import numpy as np
import pytest

from chunked_vla_ros.core.intake import Intake, IntakeConfig
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.types import ActionChunk, DimKind

MS = 1_000_000
NOW = 10**9
MakeChunk = Callable[..., ActionChunk]


@pytest.fixture
def intake() -> Intake:
    return Intake(('joint_0', 'joint_1'), (DimKind.CONTINUOUS, DimKind.BINARY), IntakeConfig(
        max_future_ns=500 * MS, max_observation_age_ns=2000 * MS, session_lease_ns=500 * MS,
        max_horizon=50))


def refusal(intake: Intake, chunk: ActionChunk, now_ns: int = NOW, running: bool = True
            ) -> Rejection:
    with pytest.raises(ChunkRejected) as error:
        intake.align(chunk, now_ns, running)
    assert '\n' not in str(error.value)
    return error.value.rejection


def test_valid_chunk_keeps_its_points_and_due_times(intake: Intake, make_chunk: MakeChunk
                                                    ) -> None:
    aligned = intake.align(make_chunk([[0.0, 1.0], [0.1, 1.1]]), NOW, running=False)
    assert aligned.positions.tolist() == [[0.0, 1.0], [0.1, 1.1]]
    assert aligned.due_ns.tolist() == [NOW, NOW + 50 * MS]
    assert aligned.dim_kinds == (DimKind.CONTINUOUS, DimKind.BINARY)


def test_permuted_joint_names_give_the_same_motion(intake: Intake, make_chunk: MakeChunk) -> None:
    chunk = make_chunk([[1.0, 0.0], [1.1, 0.1]], joint_names=('joint_1', 'joint_0'),
                       dim_kinds=(DimKind.BINARY, DimKind.WRAPPED))
    aligned = intake.align(chunk, NOW, running=False)
    assert aligned.positions.tolist() == [[0.0, 1.0], [0.1, 1.1]]
    assert aligned.dim_kinds == (DimKind.WRAPPED, DimKind.BINARY)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize('place', [(0, 0), (1, 1)])
def test_value_that_is_no_angle_refuses_the_chunk(
        intake: Intake, make_chunk: MakeChunk, value: float, place: tuple[int, int]) -> None:
    rows = np.zeros((2, 2))
    rows[place] = value
    assert refusal(intake, make_chunk(rows)) is Rejection.NOT_FINITE


def test_denormal_value_is_a_number_like_any_other(intake: Intake, make_chunk: MakeChunk) -> None:
    assert intake.align(make_chunk([[5e-324, 0.0], [0.0, 0.0]]), NOW, running=False)


def test_wrong_width_is_refused(intake: Intake, make_chunk: MakeChunk) -> None:
    assert refusal(intake, make_chunk([[0.0], [0.0]])) is Rejection.WRONG_WIDTH


@pytest.mark.parametrize('names', [('joint_0', 'elbow'), ('joint_0', 'joint_0')])
def test_foreign_or_doubled_names_are_refused(
        intake: Intake, make_chunk: MakeChunk, names: tuple[str, str]) -> None:
    chunk = make_chunk([[0.0, 0.0], [0.0, 0.0]], joint_names=names)
    assert refusal(intake, chunk) is Rejection.JOINT_NAMES


def test_horizon_0_and_a_horizon_beyond_the_limit_are_refused(
        intake: Intake, make_chunk: MakeChunk) -> None:
    assert refusal(intake, make_chunk(np.zeros((0, 2)))) is Rejection.EMPTY
    assert refusal(intake, make_chunk(np.zeros((51, 2)))) is Rejection.TOO_LONG


@pytest.mark.parametrize('offsets', [[0, 0], [50, 0], [-1, 50]])
def test_point_times_must_increase(
        intake: Intake, make_chunk: MakeChunk, offsets: list[int]) -> None:
    chunk = make_chunk(np.zeros((2, 2)), offsets_ns=np.array(offsets) * MS)
    assert refusal(intake, chunk) is Rejection.POINT_TIMES


@pytest.mark.parametrize('stamps', [
    {'start_ns': 0}, {'start_ns': -5}, {'start_ns': NOW, 'observation_ns': 0}])
def test_zero_or_negative_stamps_are_refused(
        intake: Intake, make_chunk: MakeChunk, stamps: dict[str, int]) -> None:
    assert refusal(intake, make_chunk(np.zeros((2, 2)), **stamps)) is Rejection.ZERO_STAMP


def test_chunk_is_stale_after_its_validity(intake: Intake, make_chunk: MakeChunk) -> None:
    chunk = make_chunk(np.zeros((40, 2)), start_ns=NOW, valid_for_ns=300 * MS)
    assert intake.align(chunk, NOW + 300 * MS, running=False)
    assert refusal(intake, chunk, NOW + 301 * MS) is Rejection.STALE


def test_chunk_is_stale_when_every_point_is_past(intake: Intake, make_chunk: MakeChunk) -> None:
    chunk = make_chunk(np.zeros((2, 2)), start_ns=NOW)
    assert refusal(intake, chunk, NOW + 51 * MS) is Rejection.STALE


def test_chunk_from_an_old_observation_is_stale(intake: Intake, make_chunk: MakeChunk) -> None:
    later = 10 * NOW
    chunk = make_chunk(np.zeros((2, 2)), start_ns=later, observation_ns=later - 2001 * MS)
    assert refusal(intake, chunk, later) is Rejection.STALE


@pytest.mark.parametrize('field', ['start_ns', 'observation_ns'])
def test_chunk_from_the_future_is_refused(
        intake: Intake, make_chunk: MakeChunk, field: str) -> None:
    stamps = {'start_ns': NOW, 'observation_ns': NOW, field: NOW + 501 * MS}
    assert refusal(intake, make_chunk(np.zeros((2, 2)), **stamps)) is Rejection.FUTURE


def test_duplicate_and_older_chunks_are_refused(intake: Intake, make_chunk: MakeChunk) -> None:
    intake.take(make_chunk(np.zeros((2, 2)), chunk_id=5), NOW)
    assert refusal(intake, make_chunk(np.zeros((2, 2)), chunk_id=5)) is Rejection.DUPLICATE
    assert refusal(intake, make_chunk(np.zeros((2, 2)), chunk_id=4)) is Rejection.OUT_OF_ORDER
    older = make_chunk(np.zeros((2, 2)), chunk_id=6, observation_ns=NOW - 1)
    assert refusal(intake, older) is Rejection.OUT_OF_ORDER


def test_second_session_waits_until_the_first_falls_silent(
        intake: Intake, make_chunk: MakeChunk) -> None:
    intake.take(make_chunk(np.zeros((2, 2)), chunk_id=5), NOW)
    other = make_chunk(np.zeros((20, 2)), chunk_id=0, session_id='cd' * 16)
    assert refusal(intake, other, NOW + 499 * MS) is Rejection.FOREIGN_SESSION
    assert intake.align(other, NOW + 499 * MS, running=False)
    assert intake.align(other, NOW + 500 * MS, running=True)


def test_refused_chunk_leaves_no_trace(intake: Intake, make_chunk: MakeChunk) -> None:
    refusal(intake, make_chunk(np.full((2, 2), np.nan), chunk_id=9))
    assert intake.align(make_chunk(np.zeros((2, 2)), chunk_id=1), NOW, running=False)
