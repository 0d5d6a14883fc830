"""Tables compressed with fpack, unpacked column by column (FITS standard 4.0, section 10.3).

Neither astropy nor fitsio reads them. A packed table has one row per tile of rows and one cell per column; each cell
holds the bytes of one column of the tile, gzipped (GZIP_1), gzipped after sorting bytes by significance (GZIP_2), or
Rice-coded integers (RICE_1).
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.fields import ELEMENT_BYTES

_ANY_GZIP = 47  # zlib's window bits: 15, and "take gzip or zlib headers"
_RICE_BLOCK = 32


def unpack_table(file: IO[bytes], header: Any, start: int, where: str, write: Callable[[memoryview], int]) -> Any:
    """Write the rows of a packed table, in order, as a plain table would hold them.

    Parameters
    ----------
    file : binary file
        The packed FITS file.
    header : astropy.io.fits.Header
        Header of the packed table.
    start : int
        Where its data begin, in bytes.
    where : str
        File and HDU, for error messages.
    write : callable
        Receives the bytes of the rows.

    Returns
    -------
    astropy.io.fits.Header
        Header of the plain table.

    Raises
    ------
    InputError
        If the table is damaged or packed in another way.
    """
    try:
        columns = [_PackedColumn(header, n) for n in range(1, int(header["TFIELDS"]) + 1)]
        nrows, per_tile, width = int(header["ZNAXIS2"]), int(header["ZTILELEN"]), int(header["ZNAXIS1"])
        if width != sum(column.nbytes for column in columns):
            raise ValueError(f"ZNAXIS1 = {width}")
        heap = start + int(header.get("THEAP", int(header["NAXIS1"]) * int(header["NAXIS2"])))
        for tile in range(int(header["NAXIS2"])):
            cells = io.BytesIO(_read(file, start + tile * int(header["NAXIS1"]), int(header["NAXIS1"])))
            count = min(per_tile, nrows - tile * per_tile)
            rows = np.zeros((count, width), np.uint8)
            at = 0
            for column in columns:
                length, offset = np.frombuffer(cells.read(column.cell.itemsize * 2), column.cell)
                if column.readable:
                    raw = _read(file, heap + int(offset), int(length))
                    rows[:, at : at + column.nbytes] = column.unpack(raw, count)
                at += column.nbytes
            write(rows.data)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError(f"{where}: the packed table cannot be unpacked ({error})", "run funpack first") from error
    return _plain_header(header, len(columns))


class _PackedColumn:
    """One column of a packed table: how its cells are coded."""

    def __init__(self, header: Any, n: int) -> None:
        match = re.match(r"(\d*)([LXBIJKAEDCMPQ])", str(header[f"ZFORM{n}"]).strip())
        form = re.match(r"1?([PQ])B", str(header[f"TFORM{n}"]).strip())
        if match is None or form is None:
            raise ValueError(f"TFORM{n} = {header[f'TFORM{n}']!r}, ZFORM{n} = {header[f'ZFORM{n}']!r}")
        repeat, letter = int(match[1] or 1), match[2]
        self.cell = np.dtype(">i4" if form[1] == "P" else ">i8")
        self.method = str(header[f"ZCTYP{n}"]).strip()
        self.element = ELEMENT_BYTES[letter]
        self.nbytes = -(-repeat // 8) if letter == "X" else repeat * self.element
        #: Variable-length arrays are packed twice over; the catalogue reader refuses such columns anyway.
        self.readable = letter not in "PQ"

    def unpack(self, raw: bytes, rows: int) -> NDArray[np.uint8]:
        """Bytes of the column in each row of a tile, (rows, nbytes)."""
        size = rows * self.nbytes
        if self.method == "RICE_1":
            plain = _rice(raw, self.element, size // self.element)
        elif self.method in ("GZIP_1", "GZIP_2"):
            plain = np.frombuffer(zlib.decompress(raw, _ANY_GZIP), np.uint8)
            if self.method == "GZIP_2" and self.element in (2, 4, 8):
                plain = plain.reshape(self.element, -1).T.reshape(-1)
        elif self.method == "NOCOMPRESS":
            plain = np.frombuffer(raw, np.uint8)
        else:
            raise ValueError(f"unknown compression {self.method}")
        if plain.size != size:
            raise ValueError(f"{plain.size} bytes instead of {size}")
        return plain.reshape(rows, self.nbytes)


def _rice(raw: bytes, element: int, count: int) -> NDArray[np.uint8]:
    """Rice-coded integers as big-endian bytes.

    The bytes are given to astropy as a compressed image of one row and one tile: the same code, and a public reader.
    """
    from astropy.io import fits

    cards = {
        "ZIMAGE": True, "ZBITPIX": 8 * element, "ZNAXIS": 1, "ZNAXIS1": count, "ZTILE1": count, "ZCMPTYPE": "RICE_1",
        "ZNAME1": "BLOCKSIZE", "ZVAL1": _RICE_BLOCK, "ZNAME2": "BYTEPIX", "ZVAL2": element,
    }  # fmt: skip
    cell = np.empty(1, object)
    cell[0] = np.frombuffer(raw, np.uint8)
    table = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", f"1PB({len(raw)})", array=cell)])
    table.header.update(cards)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    file.seek(0)
    with fits.open(file) as hdus:
        image = np.ascontiguousarray(hdus[1].data, f">{'u' if element == 1 else 'i'}{element}")
    return image.view(np.uint8)


def _plain_header(header: Any, columns: int) -> Any:
    plain = header.copy()
    plain["NAXIS1"], plain["NAXIS2"] = header["ZNAXIS1"], header["ZNAXIS2"]
    plain["PCOUNT"] = header.get("ZPCOUNT", 0)
    for n in range(1, columns + 1):
        plain[f"TFORM{n}"] = header[f"ZFORM{n}"]
    plain.remove("ZTABLE")
    return plain


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    raw = file.read(size)
    if len(raw) != size:
        raise ValueError("the file ends early")
    return raw
