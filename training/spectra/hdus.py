"""Tables and images of spectrum files, checked before they are believed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.resources import require_resources
from galcli.errors import InputError
from galcli.training.spectra.grid import Floats

_HINT = "download or write the file again"
#: A file holds at most so many times its size: nothing shrinks more in gzip (RFC 1951).
_MOST_PACKED = 1032
#: Wavelengths outside this range are taken for another unit [Angstrom].
_OPTICAL = (1e3, 1e5)
_STATUS = re.compile(r"^FITSIO status = \d+: ")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file; whatever its damage raises while it is read becomes an `InputError` of one line.

    Parameters
    ----------
    path : Path

    Yields
    ------
    fitsio.FITS

    Raises
    ------
    InputError
        If it is no FITS, truncated or damaged.
    OutputError
        For want of open files or memory.
    """
    try:
        with open_fits(path) as file:
            _require_sizes(file, path)
            yield file
    except DAMAGE as error:
        require_resources(path, error)
        lines = [_STATUS.sub("", line) for line in str(error).splitlines() if line.strip()]
        raise InputError(f"truncated or damaged: {lines[0] if lines else type(error).__name__}", _HINT) from error


def names(file: Any) -> list[str]:
    """Names of the extensions of an open file, in capitals."""
    return [hdu.get_extname().strip().upper() for hdu in file]


def read_table(file: Any, hdu: str | int, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of a table, in native byte order.

    Parameters
    ----------
    file : fitsio.FITS
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
        If there is no such table, a column is missing, or there are no rows.
    """
    table = _require(file, hdu)
    if table.get_exttype() == "IMAGE_HDU":
        raise InputError(f"extension {hdu} is an image, not a table", _HINT)
    if not table.get_nrows():
        raise InputError(f"extension {hdu} has no rows", _HINT)
    spelled = {name.upper(): name for name in reversed(table.get_colnames())}
    found = {}
    for wanted in columns:
        choices = wanted.rstrip("?").split("|")
        name = next((spelled[choice] for choice in choices if choice in spelled), None)
        if name is not None:
            found[choices[0]] = name
        elif not wanted.endswith("?"):
            raise InputError(f"extension {hdu} has no column {' or '.join(choices)}", _HINT)
    rows = table.read(columns=list(found.values()))
    return {key: _native(rows[name]) for key, name in found.items()}


def read_image(file: Any, hdu: str, ndim: int) -> NDArray[Any]:
    """An image, in native byte order.

    Parameters
    ----------
    file : fitsio.FITS
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
    image = _require(file, hdu)
    if image.get_exttype() != "IMAGE_HDU" or len(image.get_dims()) != ndim:
        raise InputError(f"extension {hdu} is not an image of {ndim} axes", _HINT)
    return _native(image.read())


def numbers(columns: Mapping[str, NDArray[Any]], name: str) -> Floats:
    """A column with one number per row as float64 (rows,).

    Raises
    ------
    InputError
        If it holds something else.
    """
    if columns[name].dtype.kind not in "fiu" or columns[name].ndim != 1:
        raise InputError(f"column {name} does not hold one number per row", _HINT)
    return columns[name].astype(np.float64)


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


def _require_sizes(file: Any, path: Path) -> None:
    """Raise `InputError` if an extension claims to be larger than the file can hold: nothing is allocated for it."""
    end = max(hdu.get_offsets()["data_end"] for hdu in file)
    if end > _MOST_PACKED * path.stat().st_size:
        raise InputError(f"truncated file: its header tells of {end} bytes", _HINT)


def _require(file: Any, hdu: str | int) -> Any:
    known = names(file)
    if (hdu not in known) if isinstance(hdu, str) else hdu >= len(known):
        raise InputError(f"no extension {hdu}", _HINT)
    return file[hdu]


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)
