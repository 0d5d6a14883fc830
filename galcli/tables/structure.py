"""Whether a FITS file is whole and unaltered: its structure and its checksums, without a look at what it says."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from galcli.tables.checksum import WHOLE, add_sum
from galcli.tables.header import BLOCK, Value, read_cards

_BYTES = 1 << 22  # bytes summed at a time


def is_whole(path: str | Path) -> bool:
    """Whether a FITS file is complete and its checksums hold; False also where there is no such file."""
    return not check_file(path)


def check_file(path: str | Path, *, summed: bool = True) -> list[str]:
    """Structure and checksums of a FITS file; reads it once.

    Parameters
    ----------
    path : str or Path
    summed : bool
        An HDU without checksums is a problem, as in every file of galcli's.

    Returns
    -------
    list of str
        Problems, one line each; empty if there is none.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return list(_structure(file, size, summed)) if size else ["the file is empty"]
    except OSError as error:
        return [error.strerror or str(error)]


def headers_of(path: str | Path) -> list[dict[str, Value | None]]:
    """Cards of the HDUs of a FITS file, as far as it can be read; none where it is no such file."""
    headers: list[dict[str, Value | None]] = []
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = 0
            while start < size and (cards := _header_at(file, start)) is not None:
                problem, data_size = _layout(cards, first=start == 0)
                if problem:
                    break
                headers.append(cards)
                start += int(str(cards["END"])) + -(-data_size // BLOCK) * BLOCK
    except OSError:  # whoever checks the file says so
        return []
    return headers


def _structure(file: BinaryIO, size: int, summed: bool) -> Iterator[str]:
    start = index = 0
    while start < size:
        cards = _header_at(file, start)
        if cards is None:
            yield f"HDU {index}: the header has no end"
            return
        problem, data_size = _layout(cards, first=index == 0)
        if problem:
            yield f"HDU {index}: {problem}"
            return
        data = start + int(str(cards["END"]))
        end = data + -(-data_size // BLOCK) * BLOCK
        if end > size:
            yield f"HDU {index}: truncated, {end - size} bytes are missing"
            return
        if summed or "DATASUM" in cards:
            yield from (f"HDU {index}: {text}" for text in _checksums(file, cards, start, data, end))
        start, index = end, index + 1
    if index == 1:
        yield "there is nothing after the primary HDU"


def _header_at(file: BinaryIO, start: int) -> dict[str, Value | None] | None:
    length = 8 * BLOCK
    while True:
        file.seek(start)
        raw = file.read(length)
        cards = read_cards(raw)
        if cards is not None or len(raw) < length:
            return cards
        length *= 4


def _layout(cards: dict[str, Value | None], first: bool) -> tuple[str, int]:
    """What is wrong with the mandatory cards, and the size of the data unit in bytes."""
    if next(iter(cards)) != ("SIMPLE" if first else "XTENSION"):
        return "not a FITS header", 0

    def number(key: str) -> int:
        return int(str(cards[key]))

    try:
        axes = [number(f"NAXIS{i}") for i in range(1, number("NAXIS") + 1)]
        elements = math.prod(axes) if axes else 0
        size = abs(number("BITPIX")) // 8 * (elements + (number("PCOUNT") if "PCOUNT" in cards else 0))
    except (KeyError, ValueError) as error:
        return f"mandatory card missing or damaged ({error})", 0
    return ("", size) if size >= 0 else ("negative size", 0)


def _checksums(file: BinaryIO, cards: dict[str, Value | None], start: int, data: int, end: int) -> Iterator[str]:
    if "CHECKSUM" not in cards or "DATASUM" not in cards:
        yield "no checksum"
        return
    data_sum = _sum_of(file, data, end)
    if str(data_sum) != str(cards["DATASUM"]):
        yield "the data do not match DATASUM"
    if _sum_of(file, start, data, data_sum) not in WHOLE:
        yield "the HDU does not match CHECKSUM"


def _sum_of(file: BinaryIO, start: int, stop: int, total: int = 0) -> int:
    file.seek(start)
    for at in range(start, stop, _BYTES):
        total = add_sum(file.read(min(_BYTES, stop - at)), total)
    return total
