"""An episode's rows and images in one order: that of their times; and what an episode must be."""

from dataclasses import replace

import numpy as np
import pytest

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.timeline import timeline

EPISODE = Episode(
    0, 'lift', np.array([0.0, 0.1, 0.3]), np.zeros((3, 1)), np.ones((3, 1)), ('a',), ('a',),
    ('front',), 'set episode 0')


def test_rows_and_images_come_in_the_order_of_their_times():
    items = timeline(EPISODE, ('joint_states',), {'front': [(0.05, b'x'), (0.2, b'y')]})
    assert [(item.due_ns, item.stream, item.row, item.image) for item in items] == [
        (0, 'joint_states', 0, b''), (50_000_000, 'front', 0, b'x'),
        (100_000_000, 'joint_states', 1, b''), (200_000_000, 'front', 1, b'y'),
        (300_000_000, 'joint_states', 2, b'')]


def test_commands_are_played_only_if_asked_for_and_recorded():
    assert len(list(timeline(EPISODE, ('trajectory',), {}))) == 3
    without = replace(EPISODE, action=None, action_names=())
    assert not list(timeline(without, ('trajectory',), {}))


def test_images_are_drawn_as_they_are_due_and_not_before():
    drawn = []

    def frames():
        for at_s in (0.0, 0.1, 0.2):
            drawn.append(at_s)
            yield at_s, b'x'
    items = timeline(EPISODE, (), {'front': frames()})
    next(items)
    assert drawn == [0.0]


@pytest.mark.parametrize(('changes', 'message'), [
    ({'times_s': np.array([0.0, 0.1, 0.1])}, 'time does not increase from row 1 to row 2'),
    ({'times_s': np.array([0.1, 0.2, 0.3])}, r'times start at 0\.1 s'),
    ({'state': np.array([[0.0], [np.nan], [0.0]])}, 'state in row 1 is not finite'),
    ({'state': np.zeros((3, 2))}, 'state'),
    ({'times_s': np.zeros(0)}, 'has no rows'),
])
def test_an_episode_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(EPISODE, **changes)
