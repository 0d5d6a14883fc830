"""FITS tables written byte for byte the same on every run, and whole or not at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from galcli.errors import OutputError
from galcli.tables.atomic import AtomicFile, atomic_write
from galcli.tables.checksum import add_sum
from galcli.tables.columns import SHIFTED, Column
from galcli.tables.header import BLOCK, Card, pad, sealed_header

__all__ = [
    "Card",
    "ImageHDU",
    "StreamingTable",
    "TableHDU",
    "atomic_write",
    "encode_rows",
    "table_bytes",
    "write_table",
]

#: FITS tables have no more columns than this (TFIELDS).
MAX_COLUMNS = 999

Data = NDArray[Any] | Mapping[str, NDArray[Any]]

_FORMS = {"b1": "L", "1": "B", "2": "I", "4": "J", "8": "K", "f4": "E", "f8": "D"}  # by type, or by size of an integer
_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
_WINDOW = 1 << 22  # bytes encoded at a time


@dataclass
class TableHDU:
    """A binary table.

    Attributes
    ----------
    name : str
        EXTNAME.
    columns : list of Column
    data : structured ndarray (n,) or dict of str to ndarray (n, ...)
        Values by column name, native or not.
    header : list of (key, value, comment)
        Further cards.
    """

    name: str
    columns: list[Column]
    data: Data
    header: list[Card] = field(default_factory=list)


@dataclass
class ImageHDU:
    """An image extension.

    Attributes
    ----------
    name : str
        EXTNAME.
    data : ndarray
        u1, i2, i4, i8, f4 or f8, any byte order; the last axis is FITS axis 1.
    header : list of (key, value, comment)
        Further cards.
    """

    name: str
    data: NDArray[Any]
    header: list[Card] = field(default_factory=list)


def write_table(path: str | Path, hdus: Sequence[TableHDU | ImageHDU], primary_header: Iterable[Card] = ()) -> None:
    """Write a FITS file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    hdus : sequence of TableHDU or ImageHDU
    primary_header : iterable of (key, value, comment)
        Cards of the empty primary HDU.

    Raises
    ------
    OutputError
        If the table has too many columns, a value does not fit its column, or the disk refuses.
    """
    atomic_write(path, table_bytes(hdus, primary_header))


def table_bytes(hdus: Sequence[TableHDU | ImageHDU], primary_header: Iterable[Card] = ()) -> bytes:
    """The bytes that `write_table` writes."""
    parts = [_primary(primary_header)]
    for hdu in hdus:
        parts += _image_parts(hdu) if isinstance(hdu, ImageHDU) else _table_parts(hdu)
    return b"".join(parts)


class StreamingTable:
    """A table written in windows of rows, for tables larger than memory; the bytes equal `write_table`'s.

    Parameters
    ----------
    path : str or Path
    hdu : TableHDU
        The first table; its ``data`` is not used.
    nrows : int
        Rows that will be appended.
    primary_header : iterable of (key, value, comment)

    Raises
    ------
    OutputError
        If the file cannot be written. Leaving the ``with`` block without `finish` leaves no file.
    """

    def __init__(self, path: str | Path, hdu: TableHDU, nrows: int, primary_header: Iterable[Card] = ()) -> None:
        self._columns = hdu.columns
        self._cards = table_cards(hdu.name, hdu.columns, nrows, hdu.header)
        self._missing = nrows
        self._sum = 0
        self._rest = b""  # bytes that do not fill a 32-bit word yet
        first = _primary(primary_header)
        header = sealed_header(self._cards, 0)
        self._header_at = len(first)
        self._data_bytes = nrows * row_dtype(hdu.columns).itemsize
        self._file = AtomicFile(path, len(first) + len(header) + -(-self._data_bytes // BLOCK) * BLOCK)
        self._file.write(first)
        self._file.write(header)

    def append(self, data: Data) -> None:
        """Write the next rows.

        Parameters
        ----------
        data : structured ndarray (m,) or dict of str to ndarray (m, ...)
        """
        for rows in _windows(self._columns, data):
            self._missing -= len(rows)
            if self._missing < 0:
                raise ValueError(f"{self._file.path}: more rows than announced")
            self._write(rows.tobytes())

    def finish(self, more: Sequence[TableHDU | ImageHDU] = ()) -> None:
        """Close the table, add further HDUs, and give the file its name."""
        if self._missing:
            raise ValueError(f"{self._file.path}: {self._missing} rows are missing")
        self._write(b"\0" * (-self._data_bytes % BLOCK))
        self._file.overwrite(self._header_at, sealed_header(self._cards, self._sum))
        for hdu in more:
            for part in _image_parts(hdu) if isinstance(hdu, ImageHDU) else _table_parts(hdu):
                self._file.write(part)
        self._file.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.discard()

    def _write(self, raw: bytes) -> None:
        self._file.write(raw)
        words = self._rest + raw
        whole = len(words) - len(words) % 4
        self._sum = add_sum(memoryview(words)[:whole], self._sum)
        self._rest = words[whole:]


def row_dtype(columns: Sequence[Column]) -> np.dtype[Any]:
    """Type of a row as stored: packed, big-endian, in file order."""
    return np.dtype([(f"f{i}", _stored(column), column.shape) for i, column in enumerate(columns)])


def encode_rows(columns: Sequence[Column], data: Data, part: slice = slice(None)) -> NDArray[Any]:
    """Rows as stored on disk.

    Parameters
    ----------
    columns : sequence of Column
    data : structured ndarray (n,) or dict of str to ndarray (n, ...)
    part : slice
        Rows wanted.

    Returns
    -------
    structured ndarray, big-endian

    Raises
    ------
    OutputError
        If text is too long for its column or not ASCII.
    """
    values = {column.name: np.asarray(data[column.name])[part] for column in columns}
    lengths = {len(value) for value in values.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns differ in length: { {name: len(value) for name, value in values.items()} }")
    rows = np.empty(lengths.pop() if lengths else 0, row_dtype(columns))
    for i, column in enumerate(columns):
        rows[f"f{i}"] = _encode(column, values[column.name])
    return rows


def table_cards(name: str, columns: Sequence[Column], nrows: int, header: Iterable[Card]) -> list[Card]:
    """Header of a binary table without checksums.

    Raises
    ------
    OutputError
        If there are more than 999 columns, or two of one name, or two that want different values in one card.
    """
    if len(columns) > MAX_COLUMNS:
        raise OutputError(
            f"table {name} would have {len(columns)} columns; FITS allows {MAX_COLUMNS}",
            "ask for fewer columns or fewer models",
        )
    twice = [column for column, count in Counter(column.name.upper() for column in columns).items() if count > 1]
    if twice:
        raise OutputError(f"table {name} would have the column {twice[0]} twice", "leave one of them out")
    cards: list[Card] = [
        ("XTENSION", "BINTABLE", "binary table"),
        ("BITPIX", 8, ""),
        ("NAXIS", 2, ""),
        ("NAXIS1", row_dtype(columns).itemsize, "bytes per row"),
        ("NAXIS2", nrows, "rows"),
        ("PCOUNT", 0, ""),
        ("GCOUNT", 1, ""),
        ("TFIELDS", len(columns), "columns"),
    ]
    for n, column in enumerate(columns, start=1):
        cards += _column_cards(n, column)
    return [*cards, ("EXTNAME", name, ""), *header, *_brought_cards(name, columns)]


def _brought_cards(name: str, columns: Sequence[Column]) -> list[Card]:
    """The cards that come with columns, each once."""
    said: dict[str, tuple[Card, str]] = {}
    for n, column in enumerate(columns, start=1):
        for card in column.numbered_header(n):
            before, other = said.setdefault(card[0], (card, column.name))
            if before[1] != card[1]:
                raise OutputError(
                    f"table {name} would have two values of {card[0]}: {before[1]} for column {other}, "
                    f"{card[1]} for {column.name}",
                    "predict them into two tables",
                )
    return [card for card, _ in said.values()]


def _column_cards(n: int, column: Column) -> Iterator[Card]:
    zero = SHIFTED.get(column.dtype, 0)
    size = math.prod(column.shape)
    width = int(column.dtype[1:]) if column.dtype[0] == "A" else 0
    letter = "A" if width else _FORMS.get(column.dtype) or _FORMS[column.dtype[1:]]
    repeat = size * (width or 1)
    yield f"TTYPE{n}", column.name.upper(), ""
    yield f"TFORM{n}", letter if repeat == 1 else f"{repeat}{letter}", ""
    if column.fits_unit:
        yield f"TUNIT{n}", column.fits_unit, ""
    if zero:
        yield f"TSCAL{n}", 1, ""
        yield f"TZERO{n}", zero, ""
    if column.null is not None and not zero:  # astropy.table fails on TNULL of a shifted column: see Column.comment
        yield f"TNULL{n}", column.null, ""
    if len(column.shape) > 1 or (width and column.shape):
        axes = [*([width] if width else []), *reversed(column.shape)]
        yield f"TDIM{n}", f"({','.join(map(str, axes))})", ""
    if column.ucd:
        yield f"TUCD{n}", column.ucd, ""
    yield f"TCOMM{n}", column.comment, ""


def _stored(column: Column) -> np.dtype[Any]:
    if column.dtype == "b1" or column.dtype == "i1":
        return np.dtype("u1")
    if column.dtype in SHIFTED:
        return np.dtype(f">i{column.numpy.itemsize}")
    return column.numpy.newbyteorder(">")


def _encode(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    if column.dtype == "b1":
        return np.where(values.astype(bool), np.uint8(ord("T")), np.uint8(ord("F")))
    if column.dtype in SHIFTED:
        native = values.astype(column.numpy, casting="same_kind")
        unsigned = native.view(f"u{native.dtype.itemsize}")
        shifted: NDArray[Any] = unsigned ^ unsigned.dtype.type(1 << (8 * native.dtype.itemsize - 1))
        return shifted if column.dtype == "i1" else shifted.view(f"i{native.dtype.itemsize}")
    if column.dtype[0] == "A":
        return _encode_text(column, values)
    if not np.can_cast(values.dtype, column.numpy, casting="same_kind"):
        raise OutputError(f"column {column.name}: {values.dtype} does not fit {column.dtype}", "report this as a bug")
    return values


def _encode_text(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    try:
        text = values.astype(np.bytes_)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"column {column.name}: {error.object!r} is not ASCII",
            "FITS tables hold ASCII text only: leave the column out",
        ) from error
    if text.dtype.itemsize > column.numpy.itemsize and text.size:
        longest = int(np.strings.str_len(text).max())
        if longest > column.numpy.itemsize:
            raise OutputError(
                f"column {column.name}: text of {longest} characters does not fit {column.dtype}",
                "report this as a bug",
            )
    return np.asarray(text)


def _windows(columns: Sequence[Column], data: Data) -> Iterator[NDArray[Any]]:
    n = len(data) if isinstance(data, np.ndarray) else len(next(iter(data.values()), ()))
    step = max(1, _WINDOW // max(1, row_dtype(columns).itemsize))
    for start in range(0, n, step):
        yield encode_rows(columns, data, slice(start, start + step))


def _table_parts(hdu: TableHDU) -> list[bytes]:
    rows = [window.tobytes() for window in _windows(hdu.columns, hdu.data)]
    raw = b"".join([*rows, b"\0" * (-sum(map(len, rows)) % BLOCK)])  # no copy more than needed: tiles may be wide
    nrows = len(hdu.data) if isinstance(hdu.data, np.ndarray) else len(next(iter(hdu.data.values()), ()))
    cards = table_cards(hdu.name, hdu.columns, nrows, hdu.header)
    return [sealed_header(cards, add_sum(raw)), raw]


def _image_parts(hdu: ImageHDU) -> list[bytes]:
    code = hdu.data.dtype.str[1:]
    if code not in _BITPIX:
        raise ValueError(f"image {hdu.name}: {hdu.data.dtype} is no type of a FITS image")
    raw = pad(hdu.data.astype(hdu.data.dtype.newbyteorder(">"), copy=False).tobytes())
    cards: list[Card] = [("XTENSION", "IMAGE", "image"), ("BITPIX", _BITPIX[code], ""), ("NAXIS", hdu.data.ndim, "")]
    cards += [(f"NAXIS{i}", size, "") for i, size in enumerate(reversed(hdu.data.shape), start=1)]
    cards += [("PCOUNT", 0, ""), ("GCOUNT", 1, ""), ("EXTNAME", hdu.name, ""), *hdu.header]
    return [sealed_header(cards, add_sum(raw)), raw]


def _primary(header: Iterable[Card]) -> bytes:
    cards: list[Card] = [("SIMPLE", True, "FITS standard"), ("BITPIX", 8, ""), ("NAXIS", 0, ""), ("EXTEND", True, "")]
    return sealed_header([*cards, *header], 0)
