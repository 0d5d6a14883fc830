"""Checksums of large HDUs: summed in their file by all cores, and filled into headers that are there already."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from galcli.cutouts.parallel import in_parts
from galcli.errors import OutputError
from galcli.tables.checksum import CHECKSUM_COMMENT, DATASUM_COMMENT, STEP, add_sum, add_words, encode_sum, fold


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
        total, words = 0, np.empty(STEP, ">u8")
        for at in range(first, last, STEP):
            part = words[: min(STEP, last - at)]
            if os.preadv(descriptor, [part.view(np.uint8).data], start + 8 * at) != part.nbytes:
                raise ValueError("file ends too early")
            total += add_words(part)
        return total

    return fold(sum(in_parts(add_part, (stop - start) // 8, smallest=16 * STEP)))


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
    total = add_sum(memoryview(raw)[span.data : span.end])
    _put(raw, span, "DATASUM", f"'{total}'", DATASUM_COMMENT)
    _put(raw, span, "CHECKSUM", f"'{'0' * 16}'", CHECKSUM_COMMENT)
    header = add_sum(memoryview(raw)[span.header : span.data])
    _put(raw, span, "CHECKSUM", f"'{encode_sum(~fold(header + total) & 0xFFFFFFFF)}'", CHECKSUM_COMMENT)


def _put(raw: bytearray, span: Span, key: str, value: str, comment: str) -> None:
    for start in range(span.header, span.data, 80):
        if raw[start : start + 8] == key.ljust(8).encode():
            raw[start : start + 80] = f"{key:8s}= {value:20s} / {comment}".ljust(80).encode("ascii")
            return
    raise OutputError(f"FITS header without the card {key}", "this is a bug in galcli: please report it")
