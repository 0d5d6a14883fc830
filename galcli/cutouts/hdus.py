"""HDUs of a FITS file, taken apart here: opening a file in a FITS library takes several times as long as reading it.

A file is looked at as bytes: all of them at once for a cutout, or only the headers for an image of many megabytes.
"""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.cfitsio import open_fits
from galcli.tables.checksum import WHOLE, add_sum
from galcli.tables.header import declared_sum, read_card

#: What damaged files raise while they are taken apart.
DAMAGE = (OSError, EOFError, TypeError, ValueError, KeyError, IndexError, ArithmeticError, zlib.error)

#: Largest file accepted once unpacked, bytes.
MAX_BYTES = 1 << 31

#: Not cards: where the data begin, how many bytes and of which shape they are, and the text of all cards that are not
#: private.
BEGIN, SIZE, SHAPE, COMMON = "_begin", "_size", "_shape", "_common"

_BLOCK = 2880
#: What is silenced is silenced for all threads.
_ONE_AT_A_TIME = threading.Lock()
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: Cards that differ from file to file and do not matter for the convention.
_PRIVATE = frozenset({"CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CHECKSUM", "DATASUM", "RA", "DEC", "OBJECT"})
#: IMAGETYP of the maps that go with a cutout of the Legacy Surveys.
_MAPS = ("invvar", "maskbits")

Cards = dict[str, Any]


class Bytes(Protocol):
    """A file as far as headers are concerned."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


class Scratch:
    """Memory into which one file after the other is read: fresh memory costs more than reading into it."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def of(self, size: int) -> memoryview:
        """The first bytes of it; what it held before is lost."""
        if len(self._memory) < size:
            self._memory = bytearray(size)
        return memoryview(self._memory)[:size]


class BytesOnDisk:
    """Bytes of a file that are read when they are asked for, in blocks of which the last is kept.

    Parameters
    ----------
    path : str or Path

    Attributes
    ----------
    descriptor : int
        Of the open file.
    """

    _STEP = 8 * _BLOCK

    def __init__(self, path: str | Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self.descriptor).st_size
        self._start, self._block = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        if not self._start <= start <= stop <= self._start + len(self._block):
            self._start = start
            self._block = os.pread(self.descriptor, max(self._STEP, stop - start), start)
        return self._block[start - self._start : stop - self._start]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def packing(path: str | Path) -> str:
    """``gzip`` or ``bzip2`` by the first bytes of a file, '' if it is neither."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path per file costs as much as its header
        magic = file.read(3)
    return "gzip" if magic[:2] == b"\x1f\x8b" else "bzip2" if magic == b"BZh" else ""


def read_bytes(path: str | Path, scratch: Scratch | None = None) -> bytes | memoryview:
    """Content of a FITS file, unpacked if it is gzipped or bzipped.

    Parameters
    ----------
    path : str or Path
    scratch : Scratch, optional
        Memory to use; what is returned is good until it is used again.

    Raises
    ------
    ValueError
        If it is no FITS file, or too large.
    OSError, EOFError, zlib.error
        If it cannot be read or unpacked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise ValueError("file larger than any image")
        data: bytes | memoryview = (scratch or Scratch()).of(size)
        done = 0
        while done < size:
            count = os.readv(descriptor, [data[done:]])
            if not count:
                raise ValueError("file ends too early")
            done += count
    finally:
        os.close(descriptor)
    if data[:2] == b"\x1f\x8b" or data[:3] == b"BZh":
        opener: Any = gzip.open if data[:2] == b"\x1f\x8b" else bz2.open
        with opener(io.BytesIO(data)) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("file larger than any image")
    if data[:10] != b"SIMPLE  = ":
        raise ValueError("not a FITS file" if len(data) else "empty file")
    return data


def hdus(data: Bytes) -> Iterator[tuple[Cards, int, int]]:
    """Cards of each HDU with the offsets of its header and of its end.

    Raises
    ------
    ValueError, KeyError
        If the file is damaged.
    """
    start = 0
    while start < len(data):
        cards, begin = cards_at(data, start) if start else _primary_cards(data)
        if SIZE not in cards:
            _measure(cards)
        size: int = cards[SIZE]
        end = begin + -(-size // _BLOCK) * _BLOCK
        if size < 0 or begin + size > len(data):
            raise ValueError("file is shorter than its header says")
        cards[BEGIN] = begin
        yield cards, start, end
        start = end


def _measure(cards: Cards) -> None:
    """Note the shape of an HDU's array and the bytes of its data."""
    cards[SHAPE] = shape_of(cards)
    pixels = math.prod(cards[SHAPE]) if cards["NAXIS"] else 0
    cards[SIZE] = (pixels + int(cards.get("PCOUNT", 0))) * abs(int(cards["BITPIX"])) // 8


def headers(path: str | Path) -> list[Cards]:
    """Cards of all HDUs of a file, read without its pixels unless it is packed as a whole.

    Raises
    ------
    ValueError, KeyError
        If the file is no FITS file, or damaged.
    OSError, EOFError, zlib.error
        If it cannot be read or unpacked.
    """
    if packing(path):
        return [cards for cards, _, _ in hdus(read_bytes(path))]
    with BytesOnDisk(path) as data:
        if data[:10] != b"SIMPLE  = ":
            raise ValueError("not a FITS file" if len(data) else "empty file")
        return [cards for cards, _, _ in hdus(data)]


def cards_at(data: Bytes, start: int) -> tuple[Cards, int]:
    """Cards of the header at ``start`` and where its data begin.

    Raises
    ------
    ValueError
        If the header has no end.
    """
    cards: Cards = {}
    common: list[bytes] = []
    for at in range(start, len(data), 80):
        text = bytes(data[at : at + 80])
        key, value = read_card(text)
        if key == "END":
            cards[COMMON] = b"".join(common)
            return cards, start + -(-(at + 80 - start) // _BLOCK) * _BLOCK
        if key:
            cards[key] = value
            if key not in _PRIVATE:
                common.append(text)
    raise ValueError("header without end")


@dataclass(frozen=True)
class _Header:
    """A primary header that was taken apart: its text, its cards, and where those stand that differ between files."""

    text: bytes
    cards: Cards
    private: tuple[tuple[int, str], ...]


_last: list[_Header] = []


def _primary_cards(data: Bytes) -> tuple[Cards, int]:
    """Cards of the first header; where it differs from the last one in private cards only, these alone are parsed."""
    for known in _last:
        text = bytes(data[: len(known.text)])
        cards, at = dict(known.cards), 0
        for place, key in known.private:
            found, cards[key] = read_card(text[place : place + 80])
            if found != key or text[at:place] != known.text[at:place]:
                break
            at = place + 80
        else:
            if text[at:] == known.text[at:]:
                return cards, -(-len(text) // _BLOCK) * _BLOCK
    cards, begin = cards_at(data, 0)
    _measure(cards)
    text = bytes(data[:begin])
    keys = ((at, read_card(text[at : at + 80])[0]) for at in range(0, begin, 80))
    _last[:] = [_Header(text, dict(cards), tuple((at, key) for at, key in keys if key in _PRIVATE))]
    return cards, begin


def shape_of(cards: Cards) -> tuple[int, ...]:
    """Shape of an HDU's array as numpy counts: the axis that runs fastest comes last."""
    if SHAPE in cards:
        return cards[SHAPE]  # type: ignore[no-any-return]
    return tuple(int(cards[f"NAXIS{i}"]) for i in range(int(cards["NAXIS"]), 0, -1))


def holds_pixels(cards: Cards) -> bool:
    """Whether an HDU is an image, not one of the maps that may go with it."""
    # Cameras write IMAGETYP too, and all sorts of words into it.
    if str(cards.get("IMAGETYP", "")).lower() in _MAPS or str(cards.get("IMTYPE", "image")).lower() not in (
        "image",
        "",
    ):
        return False
    if cards.get("ZIMAGE"):
        return True
    return cards.get("XTENSION", "IMAGE") == "IMAGE" and int(cards["NAXIS"]) >= 2


def verify(cards: Cards, data: bytes | memoryview, start: int, stop: int) -> bool:
    """Check DATASUM and CHECKSUM where the HDU has them; True if it has the first.

    Raises
    ------
    ValueError
        If one does not match.
    """
    declared = declared_sum(cards)
    if declared is None:
        return False
    begin = int(cards[BEGIN])
    view = memoryview(data)
    if stop > len(data):
        raise ValueError("file is shorter than its header says")
    total = add_sum(view[begin:stop])
    if total != declared:
        raise ValueError("checksum of the data does not match")
    if cards.get("CHECKSUM") and add_sum(view[start:begin], total) not in WHOLE:
        raise ValueError("checksum of the header does not match")
    return True


def plain_pixels(cards: Cards, data: bytes | memoryview) -> NDArray[Any]:
    """Pixels of an uncompressed image, scaled where the header says so; as stored, so read-only, where it does not."""
    shape = shape_of(cards)
    raw = np.frombuffer(data, _DTYPES[int(cards["BITPIX"])], math.prod(shape), int(cards[BEGIN])).reshape(shape)
    scale, zero, blank = cards.get("BSCALE", 1), cards.get("BZERO", 0), cards.get("BLANK")
    if scale == 1 and zero == 0 and (blank is None or raw.dtype.kind == "f"):
        return raw
    values = raw * np.float64(scale) + np.float64(zero)
    if blank is not None and raw.dtype.kind != "f":
        values[raw == int(blank)] = np.nan
    return values


def compressed_pixels(path: str | Path, number: int, cards: Cards) -> NDArray[Any]:
    """Pixels of a tile-compressed image; the HDU's own cards take the place of the table's."""
    if gzipped_tiles(cards):
        return gzipped_pixels(path, number, cards)
    with open_fits(path) as file:
        values: NDArray[Any] | None = file[number].read()
    if values is None:
        raise ValueError("the image is empty")
    return without_blanks(values, cards)


def gzipped_tiles(cards: Cards) -> bool:
    """Whether the tiles of a compressed image are gzipped."""
    return bool(cards.get("ZIMAGE")) and str(cards.get("ZCMPTYPE", "")).startswith("GZIP")


def gzipped_pixels(path: str | Path, number: int, cards: Cards) -> NDArray[Any]:
    """Pixels of an image whose tiles are gzipped, through astropy: on some damaged ones cfitsio never ends."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError
    from astropy.utils.exceptions import AstropyWarning

    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # of sloppy headers; damage is an exception
            return without_blanks(np.asarray(fits.getdata(path, number)), cards)
    except (VerifyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the compressed image is damaged ({error})") from error


def without_blanks(values: NDArray[Any], cards: Cards) -> NDArray[Any]:
    """Pixels as cfitsio scales them, with NaN where the header of an image of integers says that there is no value."""
    blank = cards.get("BLANK", cards.get("ZBLANK"))
    if blank is None or int(cards["ZBITPIX" if cards.get("ZIMAGE") else "BITPIX"]) < 0:
        return values
    scale, zero = float(cards.get("BSCALE", 1)), float(cards.get("BZERO", 0))
    # Other values are at least one step of the scale away.
    missing = np.abs(values - (int(blank) * scale + zero)) < abs(scale) / 2
    values = values.astype(np.float64)
    values[missing] = np.nan
    return values
