"""
Turn an instruction into the fixed number of tokens that a model sees.

The file is in the format of Hugging Face ``tokenizers``; its own settings for truncation and
padding are replaced by the manifest's, since the model's input has one size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from chunked_vla_ros.core.bundle_manifest import BundleError, TokenizerSpec
from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.policies.execution_provider import one_line

# Tokens have so many characters at most, on average: what lies behind cannot be seen. Tokenizers
# read all of a text before they cut it off, which takes seconds for one of a megabyte.
CHARACTERS_PER_TOKEN = 64


def beginning(instruction: str, max_length: int) -> str:
    """Return as much of ``instruction`` as ``max_length`` tokens can show."""
    return instruction.lstrip()[:CHARACTERS_PER_TOKEN * max_length]


class InstructionTokens:
    """
    The tokens of the newest instruction.

    :ivar tokens: Shape (1, L) int64, filled up with the padding token.
    :ivar mask: Shape (1, L) int64, 1 where a token stands for a word, 0 where it is padding.
    """

    def __init__(self, spec: TokenizerSpec, data: bytes) -> None:
        """
        Take the tokenizer in ``data``.

        :raises BundleError: if it is none.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:
            raise BundleError(
                f'{spec.file} is no tokenizer ({one_line(error)}); export the bundle again'
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(spec.max_length)
        self._pad_id = spec.pad_id
        self._written: str | None = None
        self.tokens: NDArray[np.int64] = np.full((1, spec.max_length), spec.pad_id, np.int64)
        self.mask: NDArray[np.int64] = np.zeros((1, spec.max_length), np.int64)

    def write(self, instruction: str) -> None:
        """
        Make `tokens` and `mask` those of ``instruction``, if they are not already.

        :raises PolicyError: if it cannot be tokenized.
        """
        if instruction == self._written:
            return
        try:
            ids = self._tokenizer.encode(
                beginning(instruction, self.tokens.shape[1])).ids
        except Exception as error:
            raise PolicyError(
                f'instruction {instruction[:60]!r} cannot be tokenized: {one_line(error)}'
            ) from error
        self._written = None
        self.tokens.fill(self._pad_id)
        self.tokens[0, :len(ids)] = ids
        self.mask.fill(0)
        self.mask[0, :len(ids)] = 1
        self._written = instruction
