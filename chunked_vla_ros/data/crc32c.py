"""
CRC-32C (Castagnoli) of bytes, as TFRecord files carry it; the standard library knows only CRC-32.

Long inputs are cut into equal lanes that numpy works on side by side: a CRC is linear, so that the
lanes' remainders can be shifted and added afterwards. Knows no file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78
ALL_ONES = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8
# Below so many bytes the loop over single bytes is quicker than setting up lanes.
SHORT = 512
LONGEST_LANE = 512

U32 = NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of ``data``, 0 to 2^32 - 1."""
    octets = np.frombuffer(data, np.uint8)
    if octets.size < SHORT:
        return _short(octets.tobytes(), ALL_ONES) ^ ALL_ONES
    # A start value of all ones is the same as inverting the first four bytes; leading zeros then
    # change nothing, so that the lanes can be made equal.
    lanes = 1 << max((octets.size // LONGEST_LANE).bit_length(), 4)
    length = -(-octets.size // (2 * lanes)) * 2
    padded = np.zeros(lanes * length, np.uint8)
    padded[-octets.size:] = octets
    first = lanes * length - octets.size
    padded[first:first + 4] ^= 0xFF
    return _combined(padded.reshape(lanes, length)) ^ ALL_ONES


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the CRC as TFRecord stores it, so that a CRC of data with CRCs is not degenerate."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & ALL_ONES


def _table() -> U32:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table.astype(np.uint32)


TABLE = _table()
PLAIN_TABLE = TABLE.tolist()
# The same for two bytes at once: half the steps.
PAIRS = np.arange(1 << 16, dtype=np.uint32)
PAIRS = TABLE[PAIRS & 0xFF] ^ (PAIRS >> 8)
PAIRS = TABLE[PAIRS & 0xFF] ^ (PAIRS >> 8)


def _short(data: bytes, crc: int) -> int:
    for octet in data:
        crc = PLAIN_TABLE[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc


def _combined(lanes: NDArray[np.uint8]) -> int:
    """Return the remainder of all lanes, (L, bytes) with L a power of two, one after the other."""
    remainders = np.zeros(len(lanes), np.uint32)
    for pair in np.ascontiguousarray(lanes.view('<u2').T):
        remainders = PAIRS.take((remainders ^ pair) & 0xFFFF) ^ (remainders >> np.uint32(16))
    shift = _shift(lanes.shape[1])
    while len(remainders) > 1:
        remainders = _apply(shift, remainders[0::2]) ^ remainders[1::2]
        shift = _apply(shift, shift)
    return int(remainders[0])


def _shift(length: int) -> U32:
    """Return what ``length`` zero bytes make of each of the 32 single bits, shape (32,)."""
    power, bits = _zero_byte(), _single_bits()
    while length:
        if length & 1:
            bits = _apply(power, bits)
        power = _apply(power, power)
        length >>= 1
    return bits


def _zero_byte() -> U32:
    bits = _single_bits()
    moved: U32 = TABLE[bits & np.uint32(0xFF)] ^ (bits >> np.uint32(8))
    return moved


def _single_bits() -> U32:
    return np.array([1 << bit for bit in range(32)], np.uint32)


def _apply(operator: U32, values: U32) -> U32:
    """Return ``values`` after the linear ``operator``, given by its image of each single bit."""
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= np.where(values >> np.uint32(bit) & 1, operator[bit], np.uint32(0))
    return result
