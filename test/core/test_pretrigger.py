"""The ring keeps the newest seconds and bytes; latched facts outlive it."""

from hypothesis import given
from hypothesis import strategies as st

from chunked_vla_ros.core.pretrigger import LatchedMemory, PretriggerRing
from chunked_vla_ros.core.recording import WireMessage

S = 1_000_000_000


def message(log_ns, size=1, topic='/t', sequence=0):
    return WireMessage(topic, bytes(size), log_ns, log_ns, sequence)


def times(ring, now_ns):
    return [kept.log_ns for kept in ring.take(now_ns)]


def test_what_is_older_than_the_span_is_forgotten():
    ring = PretriggerRing(2.0, 1000)
    for second in range(6):
        ring.add(message(second * S))
    assert times(ring, 5 * S) == [3 * S, 4 * S, 5 * S]
    assert len(ring) == ring.bytes == 0


def test_a_ring_that_heard_nothing_lately_is_empty():
    ring = PretriggerRing(2.0, 1000)
    ring.add(message(S))
    assert times(ring, 10 * S) == []


def test_bytes_bound_the_ring_too():
    ring = PretriggerRing(100.0, 250)
    for second in range(5):
        ring.add(message(second * S, size=100))
    assert ring.bytes == 200
    assert times(ring, 5 * S) == [3 * S, 4 * S]


def test_a_message_larger_than_the_ring_is_not_kept():
    ring = PretriggerRing(100.0, 250)
    ring.add(message(0, size=300))
    assert (len(ring), ring.bytes) == (0, 0)


def test_without_a_span_nothing_is_kept():
    ring = PretriggerRing(0.0, 1000)
    ring.add(message(S))
    assert times(ring, S) == []


def test_a_clock_set_back_empties_the_ring():
    ring = PretriggerRing(2.0, 1000)
    ring.add(message(100 * S))
    ring.add(message(S))
    assert times(ring, S) == [S]


@given(st.lists(st.tuples(st.integers(0, 20 * S), st.integers(0, 400))), st.integers(1, 1000))
def test_the_ring_never_exceeds_its_bounds(arrivals, limit):
    ring = PretriggerRing(3.0, limit)
    for log_ns, size in sorted(arrivals):
        ring.add(message(log_ns, size))
        assert ring.bytes <= limit
    now_ns = max((log_ns for log_ns, _ in arrivals), default=0)
    sizes = ring.bytes
    kept = ring.take(now_ns)
    assert sum(len(item.data) for item in kept) == sizes
    assert all(item.log_ns >= now_ns - 3 * S for item in kept)
    # In order, and nothing left out between the oldest kept and now.
    newest = sorted(arrivals)[len(arrivals) - len(kept):]
    assert [(item.log_ns, len(item.data)) for item in kept] == newest


def test_a_latched_fact_is_true_in_every_episode_from_its_beginning():
    memory = LatchedMemory()
    memory.add(message(S, topic='/instruction'), publishers=1)
    for start_ns in (100 * S, 200 * S):
        (fact,) = memory.before([], start_ns)
        assert (fact.topic, fact.log_ns, fact.publish_ns) == ('/instruction', start_ns, S)


def test_a_latched_fact_comes_before_what_the_ring_holds():
    memory, ring = LatchedMemory(), [message(90 * S), message(95 * S)]
    memory.add(message(S, topic='/instruction'), publishers=1)
    assert [fact.log_ns for fact in memory.before(ring, 100 * S)] == [90 * S]


def test_a_latched_fact_in_the_ring_is_not_told_twice():
    memory, fact = LatchedMemory(), message(95 * S, topic='/instruction')
    memory.add(fact, publishers=1)
    assert memory.before([fact], 100 * S) == []


def test_of_each_publisher_the_last_word_is_kept():
    memory = LatchedMemory()
    for number in range(5):
        memory.add(message(number, sequence=number), publishers=2)
    assert [fact.sequence for fact in memory.before([], S)] == [3, 4]
    assert memory.newest('/t').sequence == 4
    assert memory.newest('/other') is None
