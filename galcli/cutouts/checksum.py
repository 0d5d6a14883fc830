"""FITS checksums: the ones-complement sum of an HDU, fast, and its ASCII form (FITS standard 4.0, appendix J).

Both cards carry fixed comments. cfitsio and astropy write the time of day there, and then two identical runs give
different files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import OutputError

CHECKSUM_COMMENT = "HDU checksum"
DATASUM_COMMENT = "data unit checksum"

#: Eight-byte words per step: a step and its scratch stay in the processor's cache.
_STEP = 1 << 15
_ONES = 0xFFFFFFFF
_PUNCTUATION = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def fold(total: int) -> int:
    """Ones-complement form of a plain sum of 32-bit words."""
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


class _Adder:
    """Adds big-endian 32-bit words, two at a time."""

    def __init__(self) -> None:
        self.total = 0
        self._native = np.empty(_STEP, np.uint64)
        self._upper = np.empty(_STEP, np.uint64)

    def add(self, words: NDArray[Any]) -> None:
        """Add words of dtype ``>u8``, at most ``_STEP``."""
        native, upper = self._native[: len(words)], self._upper[: len(words)]
        np.copyto(native, words)
        np.right_shift(native, np.uint64(32), out=upper)
        high = int(upper.sum())
        # The sum of whole words wraps at 2^64; without the upper halves it cannot, so the difference is exact.
        low = (int(native.sum()) - (high << 32)) % (1 << 64)
        self.total += high + low


def datasum(data: bytes | bytearray | memoryview) -> int:
    """Ones-complement sum of bytes, a multiple of four long (FITS blocks are)."""
    buffer = memoryview(data)
    even = len(buffer) // 8 * 8
    words = np.frombuffer(buffer[:even], ">u8")
    adder = _Adder()
    for start in range(0, len(words), _STEP):
        adder.add(words[start : start + _STEP])
    return fold(adder.total + int.from_bytes(buffer[even:], "big"))


def datasum_of_file(descriptor: int, start: int, stop: int) -> int:
    """Ones-complement sum of a part of an open file.

    Parameters
    ----------
    descriptor : int
    start, stop : int
        Byte offsets; their difference is a multiple of 8 (FITS blocks are).

    Raises
    ------
    ValueError
        If the file ends before ``stop``.
    """
    adder, words = _Adder(), np.empty(_STEP, ">u8")
    while start < stop:
        part = words[: min(_STEP, (stop - start) // 8)]
        if os.preadv(descriptor, [memoryview(part.view(np.uint8))], start) != part.nbytes:
            raise ValueError("file ends too early")
        adder.add(part)
        start += part.nbytes
    return fold(adder.total)


def encode(total: int) -> str:
    """Sixteen characters that bring the sum of an HDU with this ``total`` to all ones."""
    value = ~total & _ONES
    text = bytearray(16)
    for position in range(4):
        byte = value >> (24 - 8 * position) & 0xFF
        quotient, remainder = divmod(byte, 4)
        group = [quotient + 0x30 + remainder, *[quotient + 0x30] * 3]
        while any(letter in _PUNCTUATION for letter in group):
            for pair in (0, 2):  # keep the sum of each pair while both leave the punctuation marks
                if group[pair] in _PUNCTUATION or group[pair + 1] in _PUNCTUATION:
                    group[pair] += 1
                    group[pair + 1] -= 1
        for column, letter in enumerate(group):
            text[4 * column + position] = letter
    return (text[-1:] + text[:-1]).decode("ascii")


@dataclass(frozen=True)
class Span:
    """Where an HDU lies in its file, in bytes."""

    header: int
    data: int
    end: int


def sign(raw: bytearray, span: Span) -> None:
    """Fill in DATASUM and CHECKSUM of one HDU, in place.

    The header must hold both cards already (any value), so that nothing moves.

    Raises
    ------
    OutputError
        If a card is missing.
    """
    total = datasum(memoryview(raw)[span.data : span.end])
    _put(raw, span, "DATASUM", f"'{total}'", DATASUM_COMMENT)
    _put(raw, span, "CHECKSUM", f"'{'0' * 16}'", CHECKSUM_COMMENT)
    header = datasum(memoryview(raw)[span.header : span.data])
    _put(raw, span, "CHECKSUM", f"'{encode(fold(header + total))}'", CHECKSUM_COMMENT)


def _put(raw: bytearray, span: Span, key: str, value: str, comment: str) -> None:
    for start in range(span.header, span.data, 80):
        if raw[start : start + 8] == key.ljust(8).encode():
            raw[start : start + 80] = f"{key:8s}= {value:20s} / {comment}".ljust(80).encode("ascii")
            return
    raise OutputError(f"FITS header without the card {key}", "this is a bug in galcli: please report it")
