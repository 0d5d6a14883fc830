"""FITS checksums (FITS standard 4.0, appendix J) at the speed of memory.

Every cutout is summed before it is used, so this must not be slower than reading it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Eight-byte words per step: they stay in the processor's cache.
STEP = 1 << 16
#: What the sum of a sound HDU, header and data together, is: minus zero; plus zero where there are zeros only.
WHOLE = (0xFFFFFFFF, 0)
CHECKSUM_COMMENT = "checksum of this HDU"
DATASUM_COMMENT = "checksum of the data unit"
_ONES = 0xFFFFFFFF


def fold(total: int) -> int:
    """Ones-complement form of a plain sum of 32-bit words."""
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


def add_words(words: NDArray[Any]) -> int:
    """Plain sum of big-endian 32-bit words, given two at a time as at most ``STEP`` of dtype ``>u8``.

    The words are overwritten.
    """
    native = words.view(np.uint64)
    np.copyto(native, words)
    whole = int(native.sum())
    native >>= np.uint64(32)
    high = int(native.sum())
    # The sum of whole words wraps at 2^64; without the upper halves it cannot, so the difference is exact.
    return high + (whole - (high << 32)) % (1 << 64)


def add_sum(raw: bytes | bytearray | memoryview, total: int = 0) -> int:
    """Ones-complement sum of big-endian 32-bit words.

    Parameters
    ----------
    raw : bytes-like
        Length a multiple of 4 (FITS blocks are).
    total : int
        Sum so far.

    Returns
    -------
    int
        Below 2^32.

    Raises
    ------
    ValueError
        If the length is no multiple of 4.
    """
    buffer = memoryview(raw)
    if len(buffer) % 4:
        raise ValueError(f"{len(buffer)} bytes are no whole number of 32-bit words")
    even = len(buffer) // 8 * 8
    words = np.frombuffer(buffer[:even], ">u8")
    total += sum(add_words(words[start : start + STEP].copy()) for start in range(0, len(words), STEP))
    return fold(total + int.from_bytes(buffer[even:], "big"))


def encode_sum(value: int) -> str:
    """32 bits as 16 letters and digits that add up to it (FITS standard 4.0, appendix J.2)."""
    letters = [0] * 16
    for i, byte in enumerate(value.to_bytes(4, "big")):
        four = [byte // 4 + ord("0")] * 4
        four[0] += byte % 4
        while any(not chr(letter).isalnum() for letter in four):
            for j in (0, 2):  # moving one letter up and its twin down keeps the sum
                if not (chr(four[j]).isalnum() and chr(four[j + 1]).isalnum()):
                    four[j] += 1
                    four[j + 1] -= 1
        letters[i::4] = four
    text = "".join(map(chr, letters))
    return text[-1] + text[:-1]  # the value starts at an odd byte of its card
