"""A message carries its number and its time through anything that keeps its bytes."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.numbered_cdr import NotNumberedError, NumberedCdr, read_number

# Encapsulation, stamp 3 s and 7 ns, frame_id of 12 characters with its NUL, and the rest.
HEAD = bytes.fromhex('0001000003000000070000000d000000')
BODY = b'\x00\x00\x00' + b'the rest'


def message(frame_id=b'000000000000'):
    return HEAD + frame_id + b'\x00' + BODY


def test_number_and_stamp_are_read_where_the_header_has_them():
    assert read_number(message(b'000000000042')) == (42, 3_000_000_007)


def test_only_number_and_stamp_change():
    template = NumberedCdr(message())
    sent = template.numbered(5, 3_000_000_007)
    assert sent == message(b'000000000005')
    assert len(template.numbered(999_999_999_999, 0)) == len(message())


@given(st.integers(0, 10**12 - 1), st.integers(0, 2**31 * 10**9 - 1))
def test_what_was_written_is_read(number, stamp_ns):
    assert read_number(NumberedCdr(message()).numbered(number, stamp_ns)) == (number, stamp_ns)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_by_name(data):
    accepted = len(data) >= 29 and data[12:16] == b'\x0d\0\0\0' and data[16:28].isdigit()
    if accepted and not data[28]:
        assert read_number(data)[0] == int(data[16:28])
    else:
        with pytest.raises(NotNumberedError):
            read_number(data)


def test_a_message_that_is_numbered_already_is_no_template():
    with pytest.raises(NotNumberedError, match="frame_id is not '000000000000'"):
        NumberedCdr(message(b'000000000042'))
