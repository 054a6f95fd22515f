"""The words of the demonstrations become numbers, the same ones in training and on the robot."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleError, TokenizerSpec
from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.policies.instruction_tokens import InstructionTokens
from chunked_vla_ros.training.tokenizer import (
    encode_instructions,
    tokenizer_spec,
    vocabulary_size,
    word_tokenizer,
)

SAID = ('Pick the red cube.', 'pick the blue cube')
# In alphabetical order behind [PAD] 0 and [UNK] 1: . blue cube pick red the
STOP, BLUE, CUBE, PICK, RED, THE = range(2, 8)


@pytest.fixture(scope='module')
def data():
    return word_tokenizer(SAID)


def encode(data, *instructions, length=6):
    return encode_instructions(data, tokenizer_spec(data, length), instructions)


def test_words_and_signs_have_numbers_in_their_order(data):
    tokens, mask = encode(data, *SAID)
    assert tokens.tolist() == [[PICK, THE, RED, CUBE, STOP, 0], [PICK, THE, BLUE, CUBE, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]
    assert vocabulary_size(data) == 8


def test_the_file_depends_on_the_words_alone(data):
    assert word_tokenizer(['cube the pick', 'BLUE red . .']) == data


def test_a_word_that_no_demonstration_has_is_the_unknown_one(data):
    assert encode(data, 'pick the [PAD] cube')[0].tolist() == [[PICK, THE, 1, 1, 1, CUBE]]


def test_what_is_longer_is_cut_off(data):
    assert encode(data, SAID[0], length=3)[0].tolist() == [[PICK, THE, RED]]


def test_an_empty_instruction_is_all_padding(data):
    tokens, mask = encode(data, ' \n', '')
    assert not tokens.any()
    assert not mask.any()


def test_the_running_policy_sees_the_same_numbers(data):
    spec = tokenizer_spec(data, 6)
    assert spec == TokenizerSpec('tokenizer.json', 6, 0)
    live = InstructionTokens(spec, data)
    live.write(SAID[1])
    assert live.tokens.tolist() == encode(data, SAID[1])[0].tolist()


@pytest.mark.parametrize('text', ['red ' * 250_000, 'r' * 1_000_000, ' ' * 1_000_000])
def test_a_megabyte_is_cut_before_the_tokenizer_reads_it(data, text, monkeypatch):
    read = []

    class Spy:
        """Count what reaches the tokenizer."""

        def __init__(self, real):
            self._real = real

        def encode(self, given):
            read.append(len(given))
            return self._real.encode(given)

    live = InstructionTokens(tokenizer_spec(data, 6), data)
    live._tokenizer = Spy(live._tokenizer)
    live.write(text)
    assert max(read) <= 6 * 64
    assert live.tokens.tolist() == encode(data, text[:100])[0].tolist()


def test_words_behind_the_last_that_a_policy_sees_are_no_part_of_the_file():
    words = ' '.join(f'w{index}' for index in range(200_000))
    assert vocabulary_size(word_tokenizer([words], max_length=16)) == 18


def test_what_cannot_be_tokenized_is_one_line(data):
    with pytest.raises(PolicyError, match='cannot be tokenized'):
        encode(data, '\ud800')
    with pytest.raises(PolicyError, match='cannot be tokenized'):
        word_tokenizer(['\ud800'])
    with pytest.raises(BundleError, match='is no tokenizer'):
        tokenizer_spec(b'{}', 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=['Cs']), max_size=30), max_size=4))
def test_every_word_that_was_there_is_known_and_every_row_is_whole(instructions):
    data = word_tokenizer(instructions)
    tokens, mask = encode(data, *instructions, length=8)
    assert tokens.shape == mask.shape == (len(instructions), 8)
    assert not (tokens[mask == 1] <= 1).any()
    assert not tokens[mask == 0].any()
    assert np.array_equal(np.sort(mask, axis=1)[:, ::-1], mask)
    assert tokens.size == 0 or tokens.max() < vocabulary_size(data)
