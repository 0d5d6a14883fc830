"""Rice-compressed stacks, decoded by several threads at once.

fitsio holds Python's interpreter lock while it decodes, so that only one core ever works. The C code of cfitsio that
astropy brings along lets go of it, gives the same values bit for bit, and skips what a whole plane does not need.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.mapped import table_rows

#: Where versions of astropy keep the decoder, the latest first.
_HOMES = ("astropy.io.fits.hdu.compressed._compression", "astropy.io.fits._tiled_compression._compression")
#: Bytes of the column types that such a table has.
_FORMS = {"P": ">i4", "Q": ">i8", "D": ">f8", "E": ">f4", "J": ">i4"}
#: Dithering methods of ``ZQUANTIZ`` and their numbers in cfitsio.
_DITHERS = {"SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}


class RicePlanes:
    """Planes of one compressed image, each a tile of its own.

    Parameters
    ----------
    path : Path
    cards : mapping
        Header of the compressed HDU as it stands in the file.
    start : int
        Byte at which its data begin.

    Raises
    ------
    ValueError, KeyError
        If the image is compressed in another way, or cannot be decoded here.
    """

    def __init__(self, path: Path, cards: Mapping[str, Any], start: int) -> None:
        width, height = int(cards["ZNAXIS1"]), int(cards["ZNAXIS2"])
        given = {cards[f"ZNAME{number}"]: cards[f"ZVAL{number}"] for number in (1, 2)}
        tile = tuple(cards.get(f"ZTILE{axis}") for axis in (1, 2, 3))
        if cards["ZCMPTYPE"] != "RICE_1" or cards["ZBITPIX"] != -32 or given.get("BYTEPIX") != 4:
            raise ValueError("not float32 in Rice's code")
        if tile != (width, height, 1) or cards["NAXIS2"] != cards["ZNAXIS3"]:
            raise ValueError("planes are not compressed one by one")
        self._decoder = _decoder()
        self._pixels = width * height
        self._block = int(given["BLOCKSIZE"])
        self._dither = _DITHERS[cards["ZQUANTIZ"]]
        self._seed = int(cards["ZDITHER0"])
        self._blank = cards.get("ZBLANK")
        self._heap = start + int(cards.get("THEAP", cards["NAXIS1"] * cards["NAXIS2"]))
        dtype, rows = _row_dtype(cards), int(cards["NAXIS2"])
        names = set(dtype.names or ())
        if "ZBLANK" in names or not {"COMPRESSED_DATA", "ZSCALE", "ZZERO"} <= names:
            raise ValueError("scales are not given plane by plane, or blank values are")
        self._table = table_rows(path, dtype, rows, start)

    def hold(self, first: int, stop: int) -> bool:
        """Whether all of these planes are in Rice's code (those that cannot be quantised are stored otherwise)."""
        return bool((self._table["COMPRESSED_DATA"][first:stop, 0] > 0).all())

    def read(self, descriptor: int, first: int, stop: int) -> NDArray[np.float32]:
        """Decode planes.

        Parameters
        ----------
        descriptor : int
            The open file.
        first, stop : int
            Planes, from 0.

        Returns
        -------
        ndarray (stop - first, H * W), float32

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        planes = np.empty((stop - first, self._pixels), np.float32)
        size = os.fstat(descriptor).st_size
        for out, plane, row in zip(planes, range(first, stop), self._table[first:stop], strict=True):
            length, offset = (int(number) for number in row["COMPRESSED_DATA"])
            # A damaged length may be beyond all memory: it is not asked for.
            whole = offset >= 0 and self._heap + offset + length <= size
            code = os.pread(descriptor, length, self._heap + offset) if whole else b""
            if len(code) != length:
                raise ValueError("file is shorter than its header says")
            try:
                integers = self._decoder.decompress_rice_1_c(code, self._block, 4, self._pixels)
            except self._decoder.CfitsioException as error:
                raise ValueError(f"plane {plane} is damaged: {error}") from error
            values = self._decoder.unquantize_float_c(
                integers, plane + self._seed, self._pixels, float(row["ZSCALE"]), float(row["ZZERO"]), self._dither,
                self._blank is not None, self._blank or 0, float("nan"), 4,
            )  # fmt: skip
            out[:] = np.frombuffer(values, np.float32)
        return planes


@functools.cache
def _decoder() -> Any:
    for home in _HOMES:
        try:
            decoder = importlib.import_module(home)
        except ImportError:
            continue
        # The first call makes cfitsio's table of random numbers, without a lock: here, before there are threads.
        decoder.unquantize_float_c(bytes(4), 1, 1, 1.0, 0.0, 1, False, 0, 0.0, 4)
        return decoder
    raise ValueError("this astropy has no decoder that can be called")


def _row_dtype(cards: Mapping[str, Any]) -> np.dtype[Any]:
    """Rows of the compressed table; a variable-length column is its (length, offset)."""
    fields: list[tuple[Any, ...]] = []
    for number in range(1, int(cards["TFIELDS"]) + 1):
        form = re.match(r"1?([PQDEJ])", str(cards[f"TFORM{number}"]))
        if form is None:
            raise ValueError(f"a column of the form {cards[f'TFORM{number}']}")
        fields.append((cards[f"TTYPE{number}"], _FORMS[form[1]], (2,) if form[1] in "PQ" else ()))
    dtype = np.dtype(fields)
    if dtype.itemsize != cards["NAXIS1"]:
        raise ValueError("a table of another width")
    return dtype
