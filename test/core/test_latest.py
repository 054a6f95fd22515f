"""The slot between two threads: newest wins, taken once, closing wakes the reader."""

import threading

from chunked_vla_ros.core.latest import LatestSlot

LIMIT_S = 10.0


def test_reader_gets_the_newest_item_once():
    slot = LatestSlot()
    slot.put('old')
    slot.put('new')
    assert slot.take(LIMIT_S) == 'new'
    assert slot.take(0.0) is None


def test_reader_that_waits_is_woken_by_a_writer():
    slot, taken = LatestSlot(), []
    reader = threading.Thread(target=lambda: taken.append(slot.take(LIMIT_S)))
    reader.start()
    slot.put(7)
    reader.join(LIMIT_S)
    assert taken == [7]


def test_closing_wakes_a_reader_that_would_wait_for_ever():
    slot, taken = LatestSlot(), []
    reader = threading.Thread(target=lambda: taken.append(slot.take()))
    reader.start()
    slot.close()
    reader.join(LIMIT_S)
    assert taken == [None]


def test_closed_slot_hands_out_nothing_even_if_it_holds_something():
    slot = LatestSlot()
    slot.put('unwanted')
    slot.close()
    assert slot.take(LIMIT_S) is None
