"""Rules of the table that batches of chunks come from."""

import re

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, Trajectories
from chunked_vla_ros.training.chunk_batch import ChunkBatch, StateTable

# Three steps to a success, then two steps that were cut off at row 5.
DATA = Trajectories(
    rewards=np.array([0, 0, 1, -1, -1, 0], np.float32),
    terminated=np.array([False, False, True, False, False, False]),
    starts=np.array([0, 3]), lengths=np.array([3, 3]))
OBSERVATIONS = np.arange(6.0)[:, None]
ACTIONS = np.arange(12.0).reshape(6, 2)


def table(horizon=2, **changes):
    transitions = ChunkTransitions(DATA, horizon, 0.5)
    return StateTable(**{'observations': OBSERVATIONS, 'actions': ACTIONS,
                         'transitions': transitions, **changes})


def test_a_batch_holds_what_the_rows_of_its_chunks_hold() -> None:
    batch = table().batch(torch.tensor([1, 2, 4]))
    assert batch.observation.tolist() == [[1], [2], [4]]
    assert batch.actions.tolist() == [[[2, 3], [4, 5]], [[4, 5], [4, 5]], [[8, 9], [8, 9]]]
    assert batch.valid.tolist() == [[True, True], [True, False], [True, False]]
    assert batch.returns.tolist() == [[0, 0.5], [1, 1], [-1, -1]]
    assert batch.bootstrap.tolist() == [[0.5, 0], [0, 0], [0.5, 0.5]]
    assert batch.counted.all()
    assert batch.next_observation.tolist() == [[2], [2], [5]]
    assert batch.return_to_go.tolist() == [0.5, 1, -1]


def test_observations_after_each_prefix_are_there_for_the_asking() -> None:
    which = torch.tensor([0, 4])
    assert table().batch(which).next_observations is None
    assert table().batch(which, prefixes=True).next_observations.tolist() == [
        [[1], [2]], [[5], [5]]]


def test_the_table_is_in_single_precision_whatever_it_is_made_of() -> None:
    batch = table(observations=OBSERVATIONS.astype(np.float64)).batch(torch.tensor([0]))
    assert batch.observation.dtype == batch.actions.dtype == batch.returns.dtype == torch.float32


def test_the_table_keeps_its_own_copy() -> None:
    observations = OBSERVATIONS.astype(np.float32)
    made = table(observations=observations)
    observations[:] = -1.0
    assert made.batch(torch.tensor([3])).observation.item() == 3.0


def test_a_sample_names_chunks_that_are_there() -> None:
    made = table()
    drawn = made.sample(torch.Generator().manual_seed(0), 200)
    assert set(drawn.tolist()) == set(range(len(made))) == set(range(5))


def test_half_and_half_batches_are_one_after_the_other() -> None:
    one, other = table().batch(torch.tensor([0])), table().batch(torch.tensor([3, 4]))
    both = ChunkBatch.joined(one, other)
    assert both.observation.flatten().tolist() == [0, 3, 4]
    assert both.returns.shape == (3, 2)
    assert both.next_observations is None


@pytest.mark.parametrize(('changes', 'message'), [
    ({'observations': OBSERVATIONS[:5]}, 'observations have shape (5, 1), expected (6, features)'),
    ({'actions': ACTIONS.ravel()}, 'actions have shape (12,), expected (6, features)')])
def test_arrays_of_other_rows_are_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        table(**changes)
