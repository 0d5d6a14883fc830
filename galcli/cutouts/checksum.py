"""FITS checksums of large HDUs: the ones-complement sum (FITS standard 4.0, appendix J) at the speed of memory.

Every cutout is summed before it is used, so this must not be slower than reading it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.parallel import in_parts
from galcli.errors import OutputError
from galcli.tables.header import encode_sum

CHECKSUM_COMMENT = "checksum of this HDU"
DATASUM_COMMENT = "checksum of the data unit"

#: Eight-byte words per step: they stay in the processor's cache.
_STEP = 1 << 16
_ONES = 0xFFFFFFFF


def fold(total: int) -> int:
    """Ones-complement form of a plain sum of 32-bit words."""
    while total > _ONES:
        total = (total & _ONES) + (total >> 32)
    return total


def _add(words: NDArray[Any]) -> int:
    """Plain sum of big-endian 32-bit words, given two at a time as at most ``_STEP`` of dtype ``>u8``.

    The words are overwritten.
    """
    native = words.view(np.uint64)
    np.copyto(native, words)
    whole = int(native.sum())
    native >>= np.uint64(32)
    high = int(native.sum())
    # The sum of whole words wraps at 2^64; without the upper halves it cannot, so the difference is exact.
    return high + (whole - (high << 32)) % (1 << 64)


def datasum(data: bytes | bytearray | memoryview) -> int:
    """Ones-complement sum of bytes, a multiple of four long (FITS blocks are)."""
    buffer = memoryview(data)
    even = len(buffer) // 8 * 8
    words = np.frombuffer(buffer[:even], ">u8")
    total = sum(_add(words[start : start + _STEP].copy()) for start in range(0, len(words), _STEP))
    return fold(total + int.from_bytes(buffer[even:], "big"))


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

    def add_part(first: int, last: int) -> int:
        total, words = 0, np.empty(_STEP, ">u8")
        for at in range(first, last, _STEP):
            part = words[: min(_STEP, last - at)]
            if os.preadv(descriptor, [part.view(np.uint8).data], start + 8 * at) != part.nbytes:
                raise ValueError("file ends too early")
            total += _add(part)
        return total

    return fold(sum(in_parts(add_part, (stop - start) // 8, smallest=16 * _STEP)))


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
    _put(raw, span, "CHECKSUM", f"'{encode_sum(~fold(header + total) & _ONES)}'", CHECKSUM_COMMENT)


def _put(raw: bytearray, span: Span, key: str, value: str, comment: str) -> None:
    for start in range(span.header, span.data, 80):
        if raw[start : start + 8] == key.ljust(8).encode():
            raw[start : start + 80] = f"{key:8s}= {value:20s} / {comment}".ljust(80).encode("ascii")
            return
    raise OutputError(f"FITS header without the card {key}", "this is a bug in galcli: please report it")
