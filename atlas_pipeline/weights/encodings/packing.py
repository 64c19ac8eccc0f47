"""Small numbers in larger ones: bit fields of 32-bit words, pairs of 4-bit codes in bytes, and 4-bit floats."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

WORD_BITS: Final = 32

E2M1: Final = np.array(
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0], dtype=np.float32
)
"""4-bit floats by code: a sign bit, two of exponent, one of mantissa (OCP Microscaling Formats 1.0, section 5.3.3)."""


def n_words(n_fields: int, *, bits: int) -> int:
    """Words that hold this many fields one after the other, without gaps."""
    return -(-n_fields * bits // WORD_BITS)


def dense_starts(fields: npt.NDArray[np.int64], *, bits: int) -> npt.NDArray[np.int64]:
    """First bit of fields that follow each other without gaps, also across words: int64 [k]."""
    return fields * bits


def padded_starts(fields: npt.NDArray[np.int64], *, bits: int) -> npt.NDArray[np.int64]:
    """First bit of fields of which each word holds as many as fit, with unused bits at its end: int64 [k]."""
    word, place = np.divmod(fields, WORD_BITS // bits)
    return np.asarray(word * WORD_BITS + place * bits, dtype=np.int64)


def bit_fields(words: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64], *, bits: int) -> npt.NDArray[np.uint8]:
    """Bit fields of words whose lowest bit comes first.

    Args:
        words: uint32 [..., n].
        starts: First bit of each field, counted from the start of the words; int64 [k].
        bits: Width of a field, 1 to 8.

    Returns:
        uint8 [..., k].
    """
    word, offset = np.divmod(starts, WORD_BITS)
    mask = (1 << bits) - 1
    low = words[..., word]
    if (offset + bits <= WORD_BITS).all():
        return np.asarray((low >> offset.astype(np.uint32)) & np.uint32(mask), dtype=np.uint8)
    high = words[..., np.minimum(word + 1, words.shape[-1] - 1)].astype(np.uint64)
    both = low | (high << np.uint64(WORD_BITS))
    return np.asarray((both >> offset.astype(np.uint64)) & np.uint64(mask), dtype=np.uint8)


def nibbles(stored: npt.NDArray[np.uint8], *, is_high_first: bool) -> npt.NDArray[np.uint8]:
    """Two 4-bit codes of every byte: uint8 [k, n] becomes uint8 [k, 2 n]."""
    codes = np.empty((*stored.shape, 2), dtype=np.uint8)
    codes[..., 0 if is_high_first else 1] = stored >> 4
    codes[..., 1 if is_high_first else 0] = stored & 15
    return codes.reshape(stored.shape[0], -1)


def powers_of_two(exponents: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """E8M0 scales that are stored as bytes: 2 to the power of (byte - 127)."""
    return np.ldexp(np.float32(1), exponents.astype(np.int32) - 127)
