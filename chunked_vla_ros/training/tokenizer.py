"""
A tokenizer for the instructions of a dataset, and instructions as the numbers that a model sees.

Words are those of the demonstrations: a policy from scratch learns no others. Whatever the file,
encoding is that of the running policy (`policies.instruction_tokens`), so both see the same
numbers. Knows nothing about models, files or torch.
"""

from __future__ import annotations

from collections.abc import Sequence
import json

import numpy as np
from numpy.typing import NDArray
from tokenizers import normalizers, pre_tokenizers, Tokenizer

from chunked_vla_ros.core.bundle_manifest import BundleError, TokenizerSpec
from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.policies.execution_provider import one_line
from chunked_vla_ros.policies.instruction_tokens import beginning, InstructionTokens

TOKENIZER_FILE = 'tokenizer.json'
PAD, UNKNOWN = '[PAD]', '[UNK]'
# Under which name the models of the hub keep what fills up short texts.
PADS = (PAD, '<pad>', '<|pad|>', '<|endoftext|>', '</s>')
# As in the manifest of a bundle.
MOST_TOKENS = 4096


def word_tokenizer(instructions: Sequence[str], max_length: int = MOST_TOKENS) -> bytes:
    """
    Return a tokenizer whose tokens are the words and signs of ``instructions``, in lower case.

    The same words make the same bytes, in whatever order they come. What a policy that sees
    ``max_length`` tokens would never see is no part of it.

    :return: In the format of Hugging Face ``tokenizers``: ``[PAD]`` is 0, ``[UNK]`` is 1.
    :raises PolicyError: if an instruction is no text that can be encoded.
    """
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    split = pre_tokenizers.Whitespace()
    found: set[str] = set()
    for instruction in instructions:
        try:
            pieces = split.pre_tokenize_str(
                normalizer.normalize_str(beginning(instruction, max_length)))
        except Exception as error:
            raise PolicyError(
                f'instruction {instruction[:60]!r} cannot be tokenized: {one_line(error)}'
            ) from error
        found.update(word for word, _ in pieces[:max_length])
    vocabulary = {word: index for index, word in enumerate((PAD, UNKNOWN, *sorted(found)))}
    return json.dumps({
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [],
        'normalizer': {'type': 'Sequence', 'normalizers': [
            {'type': 'NFKC'}, {'type': 'Lowercase'}]},
        'pre_tokenizer': {'type': 'Whitespace'}, 'post_processor': None, 'decoder': None,
        'model': {'type': 'WordLevel', 'vocab': vocabulary, 'unk_token': UNKNOWN}}).encode()


def tokenizer_spec(data: bytes, max_length: int) -> TokenizerSpec:
    """
    Return how the tokenizer in ``data`` is used by a model that sees ``max_length`` tokens.

    :raises BundleError: if it is none.
    """
    tokenizer = _parse(data)
    pads = [tokenizer.token_to_id(name) for name in PADS]
    # One that has none fills up with its first token: the mask keeps it from being read.
    return TokenizerSpec(
        TOKENIZER_FILE, max_length, next((pad for pad in pads if pad is not None), 0))


def vocabulary_size(data: bytes) -> int:
    """
    Return how many rows a table needs that has one for each token of the tokenizer in ``data``.

    :raises BundleError: if it is none.
    """
    ids = _parse(data).get_vocab(with_added_tokens=True).values()
    return max(ids, default=0) + 1


def encode_instructions(
        data: bytes, spec: TokenizerSpec, instructions: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Return tokens and mask of I ``instructions``, as the running policy would make them.

    :return: Shape (I, L) int64 each; the mask is 1 where a token stands for a word.
    :raises BundleError: if ``data`` is no tokenizer.
    :raises PolicyError: if an instruction cannot be tokenized.
    """
    one = InstructionTokens(spec, data)
    tokens = np.empty((len(instructions), spec.max_length), np.int64)
    mask = np.empty_like(tokens)
    for index, instruction in enumerate(instructions):
        one.write(instruction)
        tokens[index], mask[index] = one.tokens[0], one.mask[0]
    return tokens, mask


def _parse(data: bytes) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:
        raise BundleError(
            f'{TOKENIZER_FILE} is no tokenizer ({one_line(error)}); expected the format of '
            'Hugging Face tokenizers') from error
