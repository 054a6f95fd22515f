"""What is read from the bytes is what rclpy would have decoded."""

import array
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.nodes.conversions import joint_sample_from_msg, stamp_to_ns
from chunked_vla_ros.nodes.joint_decoder import JointDecoder

NAMES = ('shoulder', 'elbow', 'a_wrist')


def message(names: Any = NAMES, position: Any = (0.1, 0.2, 0.3), velocity: Any = (),
            effort: Any = (), frame: str = '', sec: int = 7) -> JointState:
    msg = JointState(name=list(names), position=array.array('d', position),
                     velocity=array.array('d', velocity), effort=array.array('d', effort))
    msg.header.frame_id, msg.header.stamp.sec, msg.header.stamp.nanosec = frame, sec, 500
    return msg


def wire(msg: JointState) -> bytes:
    return bytes(serialize_message(msg))


def test_the_second_message_is_read_without_decoding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = JointDecoder(NAMES)
    decoder.sample(wire(message()))
    monkeypatch.setattr(decoder, '_decoded', None)    # would fail
    found = decoder.sample(wire(message(position=(1.0, 2.0, 3.0), sec=8)))
    assert found.position.tolist() == [1.0, 2.0, 3.0]
    assert found.velocity.tolist() == [0.0, 0.0, 0.0]
    assert found.stamp_ns == 8_000_000_500


def test_another_order_of_the_same_names_is_noticed() -> None:
    decoder = JointDecoder(NAMES)
    decoder.sample(wire(message()))
    swapped = message(names=('elbow', 'shoulder', 'a_wrist'), position=(1.0, 2.0, 3.0))
    # Both orders end in messages of one size.
    assert decoder.sample(wire(swapped)).position.tolist() == [2.0, 1.0, 3.0]
    assert decoder.sample(wire(message())).position.tolist() == [0.1, 0.2, 0.3]


def test_a_stamp_that_does_not_count_is_replaced_by_the_arrival() -> None:
    decoder = JointDecoder(NAMES)
    for _ in range(2):
        assert decoder.sample(wire(message()), 42).stamp_ns == 42


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('field', ['position', 'velocity'])
def test_values_that_are_not_finite_are_refused_at_every_message(field: str, value: float) -> None:
    decoder = JointDecoder(NAMES)
    decoder.sample(wire(message(velocity=(0.0, 0.0, 0.0))))
    bad = message(**{'velocity': (0.0, 0.0, 0.0), field: (0.0, value, 0.0)})
    for _ in range(2):
        with pytest.raises(InputRejected, match='not finite'):
            decoder.sample(wire(bad))


def test_a_joint_that_is_missing_is_named() -> None:
    decoder = JointDecoder(NAMES)
    decoder.sample(wire(message()))
    with pytest.raises(InputRejected, match='lacks a_wrist'):
        decoder.sample(wire(message(names=NAMES[:2], position=(0.0, 0.0))))


TEXT = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=9)
NUMBERS = st.floats(-10.0, 10.0)


@settings(max_examples=80)
@given(data=st.data())
def test_whatever_drivers_say_it_is_what_rclpy_decodes(data: st.DataObject) -> None:
    decoder = JointDecoder(NAMES)
    for _ in range(data.draw(st.integers(1, 5))):
        others = data.draw(st.lists(TEXT, max_size=2, unique=True).filter(
            lambda names: not set(names) & set(NAMES)))
        names = data.draw(st.permutations([*NAMES, *others]))
        rows = {field: data.draw(st.lists(NUMBERS, min_size=len(names), max_size=len(names)))
                for field in ('position', 'velocity')}
        if data.draw(st.booleans()):
            rows['velocity'] = []
        msg = message(names, **rows, effort=data.draw(st.lists(NUMBERS, max_size=3)),
                      frame=data.draw(TEXT))
        expected = joint_sample_from_msg(msg, NAMES, stamp_to_ns(msg.header.stamp))
        for _ in range(2):
            found = decoder.sample(wire(msg))
            assert found.stamp_ns == expected.stamp_ns
            assert np.array_equal(found.position, expected.position)
            assert np.array_equal(found.velocity, expected.velocity)
