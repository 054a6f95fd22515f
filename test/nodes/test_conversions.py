"""Every conversion comes back as it went, and malformed messages are refused with one line."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from chunked_vla_ros.core.rejection import ChunkRejected, InputRejected, Rejection
from chunked_vla_ros.core.types import ActionChunk, DimKind, JointSample, MotionState
from chunked_vla_ros.msg import ActionChunk as ActionChunkMsg
from chunked_vla_ros.nodes import conversions

times = st.integers(0, 2**31 * 10**9 - 1)
spans = st.integers(0, 10**12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
# A NUL ends a string on the wire, and a lone surrogate is no text.
texts = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=20)
ids = st.binary(min_size=16, max_size=16).map(bytes.hex)


@st.composite
def chunks(draw: st.DrawFn) -> ActionChunk:
    joints, horizon = draw(st.integers(1, 8)), draw(st.integers(1, 20))
    rows = [[draw(numbers) for _ in range(joints)] for _ in range(horizon)]
    return ActionChunk(
        session_id=draw(ids), chunk_id=draw(st.integers(0, 2**64 - 1)), start_ns=draw(times),
        observation_ns=draw(times), valid_for_ns=draw(spans),
        joint_names=tuple(f'joint_{i}' for i in range(joints)), positions=np.array(rows),
        offsets_ns=np.sort([draw(spans) for _ in range(horizon)]),
        dim_kinds=tuple(draw(st.sampled_from(DimKind)) for _ in range(joints)),
        policy_epoch=draw(st.integers(0, 2**32 - 1)), inference_latency_ns=draw(spans),
        frozen_prefix=draw(st.integers(0, 2**16 - 1)), task=draw(texts),
        policy_id='expert')


@given(times)
def test_stamp_survives_the_round_trip(ns: int) -> None:
    assert conversions.stamp_to_ns(conversions.ns_to_stamp(ns)) == ns
    assert conversions.duration_to_ns(conversions.ns_to_duration(ns)) == ns


@given(ids)
def test_session_id_survives_the_round_trip(text: str) -> None:
    assert conversions.uuid_to_hex(conversions.hex_to_uuid(text)) == text


@given(chunks())
def test_chunk_survives_the_wire(chunk: ActionChunk) -> None:
    wire = serialize_message(conversions.chunk_to_msg(chunk))
    found = conversions.chunk_from_msg(deserialize_message(wire, ActionChunkMsg))
    for name, value in vars(chunk).items():
        other = getattr(found, name)
        assert np.array_equal(other, value) if isinstance(value, np.ndarray) else other == value


@given(times, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
def test_joint_sample_survives_the_round_trip(stamp_ns: int, rows: list[tuple[float, float]]
                                              ) -> None:
    names = [f'joint_{i}' for i in range(len(rows))]
    sample = JointSample(stamp_ns, np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
    msg = conversions.joint_sample_to_msg(sample, names)
    stamp = conversions.stamp_to_ns(msg.header.stamp)
    found = conversions.joint_sample_from_msg(msg, names, stamp)
    assert found.stamp_ns == stamp_ns
    assert found.position.tolist() == sample.position.tolist()
    assert found.velocity.tolist() == sample.velocity.tolist()


def test_joints_are_picked_by_name_in_any_order() -> None:
    msg = JointState(name=['b', 'extra', 'a'], position=[2.0, 9.0, 1.0])
    sample = conversions.joint_sample_from_msg(msg, ['a', 'b'], 5)
    assert sample.position.tolist() == [1.0, 2.0]
    assert sample.velocity.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(('msg', 'complaint'), [
    (JointState(name=['a'], position=[1.0]), "joint_states lacks b; it has ['a']"),
    (JointState(name=['a', 'b'], position=[1.0]), '2 names but 1 positions'),
    (JointState(name=['a', 'b'], position=[1.0, 2.0], velocity=[1.0]), '2 names but 1 velocities'),
    (JointState(name=['a', 'b'], position=[1.0, float('nan')]), 'not finite'),
    (JointState(name=['a', 'b'], position=[1.0, 2.0], velocity=[1.0, float('inf')]), 'not finite'),
])
def test_unusable_joint_states_are_refused_with_one_line(msg: JointState, complaint: str) -> None:
    with pytest.raises(InputRejected) as error:
        conversions.joint_sample_from_msg(msg, ['a', 'b'], 5)
    assert complaint in str(error.value)
    assert '\n' not in str(error.value)


def message(**fields: object) -> ActionChunkMsg:
    msg = ActionChunkMsg(**fields)
    msg.joint.joint_names = ['a', 'b']
    msg.joint.points = [JointTrajectoryPoint(positions=[0.0, 0.0])]
    return msg


@pytest.mark.parametrize('fields', [
    {'space': ActionChunkMsg.SPACE_CARTESIAN},
    {'reference': ActionChunkMsg.REFERENCE_RELATIVE_TO_OBSERVATION}, {'dim_kind': [0, 7]}])
def test_what_is_not_implemented_is_refused_by_that_reason(fields: dict[str, object]) -> None:
    with pytest.raises(ChunkRejected) as error:
        conversions.chunk_from_msg(message(**fields))
    assert error.value.rejection is Rejection.UNSUPPORTED


def test_ragged_points_and_missing_kinds_are_of_the_wrong_width() -> None:
    ragged = message()
    ragged.joint.points.append(JointTrajectoryPoint(positions=[0.0]))
    for msg in (ragged, message(dim_kind=[0])):
        with pytest.raises(ChunkRejected) as error:
            conversions.chunk_from_msg(msg)
        assert error.value.rejection is Rejection.WRONG_WIDTH


def test_no_points_and_too_many_are_refused_before_arrays_are_built() -> None:
    empty, endless = message(), message()
    empty.joint.points = []
    endless.joint.points = endless.joint.points * (conversions.MAX_POINTS + 1)
    for msg, reason in ((empty, Rejection.EMPTY), (endless, Rejection.TOO_LONG)):
        with pytest.raises(ChunkRejected) as error:
            conversions.chunk_from_msg(msg)
        assert error.value.rejection is reason


def test_trajectory_with_stamp_zero_starts_now() -> None:
    msg = JointTrajectory(joint_names=['a'], points=[JointTrajectoryPoint(positions=[1.0])])
    assert conversions.chunk_from_trajectory(msg, '', 5, 77).start_ns == 77
    msg.header.stamp.sec = 3
    assert conversions.chunk_from_trajectory(msg, '', 5, 77).start_ns == 3 * 10**9


def test_motion_state_becomes_a_full_trajectory_point() -> None:
    state = MotionState(np.array([1.0]), np.array([2.0]), np.array([3.0]))
    point = conversions.point_to_msg(state, 1_500_000_000)
    assert (list(point.positions), list(point.velocities), list(point.accelerations)) == (
        [1.0], [2.0], [3.0])
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (1, 500_000_000)
