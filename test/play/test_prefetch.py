"""Decoding ahead: order and bytes kept, failures raised to the reader, bounded, and it ends."""

import threading

import cv2
import numpy as np
import pytest

from chunked_vla_ros.play.prefetch import AHEAD, Prefetch


def red(count):
    """Yield frames that are pure red, one a second."""
    for at_s in range(count):
        frame = np.zeros((16, 24, 3), np.uint8)
        frame[..., 0] = 255
        yield float(at_s), frame


def test_frames_come_in_order_as_jpeg_of_the_same_colour():
    found = list(Prefetch(red(40)))
    assert [at_s for at_s, _ in found] == list(range(40))
    image = cv2.imdecode(np.frombuffer(found[0][1], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (16, 24, 3)
    assert image[8, 12] == pytest.approx([0, 0, 255], abs=4)    # OpenCV decodes to BGR


def test_what_fails_in_the_thread_is_raised_to_the_reader():
    def broken():
        yield from red(1)
        raise ValueError('frame 1 cannot be decoded')
    reader = iter(Prefetch(broken()))
    next(reader)
    with pytest.raises(ValueError, match='frame 1 cannot be decoded'):
        next(reader)


def test_it_stays_a_few_images_ahead_and_ends_in_the_middle():
    drawn, full = [], threading.Event()

    def endless():
        for at_s, frame in red(10_000):
            drawn.append(at_s)
            if len(drawn) == AHEAD + 1:
                full.set()
            yield at_s, frame
    prefetch = Prefetch(endless())
    assert full.wait(20.0)
    prefetch.close()
    assert len(drawn) == AHEAD + 1
