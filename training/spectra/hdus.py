"""Tables and images of spectrum files, checked before they are believed.

Bytes are taken apart here, in Python: cfitsio, reading thousands of files with damaged headers, spoils the memory of
the process, which then dies wherever it next frees some.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.hdus import (
    BEGIN,
    DAMAGE,
    SIZE,
    Bytes,
    BytesOnDisk,
    Cards,
    compressed_pixels,
    hdus,
    packing,
    plain_pixels,
    read_bytes,
    verify,
)
from galcli.cutouts.resources import require_resources
from galcli.errors import InputError
from galcli.sky.fields import fields_of
from galcli.training.spectra.grid import Floats

_HINT = "download or write the file again"
#: A compressed image takes at least one part in so many of its pixels' bytes: nothing shrinks more (RFC 1951).
_MOST_PACKED = 1032
#: Wavelengths outside this range are taken for another unit [Angstrom].
_OPTICAL = (1e3, 1e5)


@dataclass(frozen=True)
class SpectrumFile:
    """An open file of spectra; made by `opened`.

    Attributes
    ----------
    path : Path
    data : Bytes
        All of it, unpacked.
    hdus : list of (Cards, int, int)
        What each header says, where it begins and where its data end, see `galcli.cutouts.hdus.hdus`.
    """

    path: Path
    data: Bytes
    hdus: list[tuple[Cards, int, int]]

    @property
    def names(self) -> list[str]:
        """Names of the extensions, in capitals."""
        return [str(cards.get("EXTNAME", "")).strip().upper() for cards, _, _ in self.hdus]

    def index(self, hdu: str | int) -> int:
        """Number of an extension; raises `InputError` if there is no such."""
        known = self.names
        if (hdu not in known) if isinstance(hdu, str) else hdu >= len(known):
            raise InputError(f"no extension {hdu}", _HINT)
        return known.index(hdu) if isinstance(hdu, str) else hdu

    def bytes_of(self, number: int) -> memoryview:
        """The data of an extension; raises `ValueError` if it has sums and they are others."""
        cards, start, end = self.hdus[number]
        whole, begin = memoryview(self.data[start:end]), cards[BEGIN] - start
        verify(cards | {BEGIN: begin}, whole, 0, end - start)
        return whole[begin : begin + cards[SIZE]]


class _TableCards(dict[str, Any]):
    """Cards of a table as `fields_of` asks for them; what comments say is not looked at."""

    @property
    def comments(self) -> defaultdict[str, str]:
        return defaultdict(str)


@contextmanager
def opened(path: Path) -> Iterator[SpectrumFile]:
    """Open a file; whatever its damage raises while it is read becomes an `InputError` of one line.

    Parameters
    ----------
    path : Path

    Yields
    ------
    SpectrumFile

    Raises
    ------
    InputError
        If it is no FITS, truncated or damaged.
    OutputError
        For want of open files or memory.
    """
    try:
        with contextlib.ExitStack() as stack:
            data: Bytes = read_bytes(path) if packing(path) else stack.enter_context(BytesOnDisk(path))
            if data[:10] != b"SIMPLE  = ":
                raise ValueError("not a FITS file" if len(data) else "empty file")
            yield SpectrumFile(path, data, list(hdus(data)))
    except DAMAGE as error:
        require_resources(path, error)
        raise InputError(f"truncated or damaged: {_one_line(error)}", _HINT) from error


def read_table(file: SpectrumFile, hdu: str | int, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of a table, in native byte order.

    Parameters
    ----------
    file : SpectrumFile
    hdu : str or int
    columns : sequence of str
        Names in any case; ``A|B`` is the first of the two that there is, ``A?`` is left out where there is none.

    Returns
    -------
    dict
        By the names asked for (``A`` of ``A|B`` and ``A?``), each (rows, ...).

    Raises
    ------
    InputError
        If there is no such table, a column is missing, there are no rows, or it is packed.
    """
    number = file.index(hdu)
    cards = file.hdus[number][0]
    if cards.get("XTENSION") not in ("BINTABLE", "TABLE") or cards.get("ZIMAGE"):
        raise InputError(f"extension {hdu} is an image, not a table", _HINT)
    if cards.get("ZTABLE"):
        raise InputError(f"extension {hdu} is a table packed with fpack", "unpack it with funpack")
    rows, width = int(cards["NAXIS2"]), int(cards["NAXIS1"])
    if not rows:
        raise InputError(f"extension {hdu} has no rows", _HINT)
    fields = fields_of(_TableCards(cards), f"extension {hdu}")
    spelled = {name.upper(): field for name, field in reversed(fields.items())}
    raw = np.frombuffer(file.bytes_of(number), np.uint8, rows * width).reshape(rows, width)
    found = {}
    for wanted in columns:
        choices = wanted.rstrip("?").split("|")
        field = next((spelled[choice] for choice in choices if choice in spelled), None)
        if field is not None:
            field.require_readable(f"extension {hdu}")
            stored = np.ascontiguousarray(raw[:, field.offset : field.offset + field.nbytes])
            values = np.empty((rows, *field.shape), field.dtype)
            field.decode(stored.view(field.raw).reshape(rows, *field.raw_shape), values)
            found[choices[0]] = values.astype(np.str_) if values.dtype.kind == "S" else values
        elif not wanted.endswith("?"):
            raise InputError(f"extension {hdu} has no column {' or '.join(choices)}", _HINT)
    return found


def read_image(file: SpectrumFile, hdu: str, ndim: int) -> NDArray[Any]:
    """An image, in native byte order.

    Parameters
    ----------
    file : SpectrumFile
    hdu : str
    ndim : int
        Number of its axes.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        If there is no such image, or its axes are others.
    """
    number = file.index(hdu)
    cards = file.hdus[number][0]
    packed = "Z" if cards.get("ZIMAGE") else ""
    if not (packed or cards.get("XTENSION") == "IMAGE") or int(cards[f"{packed}NAXIS"]) != ndim:
        raise InputError(f"extension {hdu} is not an image of {ndim} axes", _HINT)
    pixels = math.prod(int(cards[f"{packed}NAXIS{axis}"]) for axis in range(1, ndim + 1))
    if pixels > _MOST_PACKED * len(file.data):
        raise InputError(f"truncated file: its header tells of {pixels} pixels", _HINT)
    data = file.bytes_of(number)
    values = compressed_pixels(file.path, number, cards) if packed else plain_pixels(cards | {BEGIN: 0}, data)
    return values.astype(values.dtype.newbyteorder("="))


def numbers(columns: Mapping[str, NDArray[Any]], name: str) -> Floats:
    """A column with one number per row as float64 (rows,).

    Raises
    ------
    InputError
        If it holds something else.
    """
    if columns[name].dtype.kind not in "fiu" or columns[name].ndim != 1:
        raise InputError(f"column {name} does not hold one number per row", _HINT)
    return double(columns[name])


def double(values: NDArray[Any]) -> Floats:
    """Numbers as float64; a damaged one may be a NaN of the kind that signals."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def whole_numbers(columns: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.int64]:
    """A column with one whole number per row as int64 (rows,).

    Raises
    ------
    InputError
        If it holds something else.
    """
    if columns[name].dtype.kind not in "iu" or columns[name].ndim != 1:
        raise InputError(f"column {name} does not hold one whole number per row", _HINT)
    return columns[name].astype(np.int64)


def require_wavelengths(wavelength: Floats) -> None:
    """Raise `InputError` unless these are ascending wavelengths in Angstrom."""
    if len(wavelength) < 2 or not (np.isfinite(wavelength).all() and (np.diff(wavelength) > 0).all()):
        raise InputError("wavelengths do not ascend", _HINT)
    if wavelength[0] < _OPTICAL[0] or wavelength[-1] > _OPTICAL[1]:
        raise InputError(f"wavelengths of {wavelength[0]:.4g} to {wavelength[-1]:.4g} are not in Angstrom", _HINT)


def _one_line(error: Exception) -> str:
    """What an exception says; a `KeyError` says no more than the key."""
    if isinstance(error, KeyError):
        return f"the header has no valid {error.args[0]}"
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
