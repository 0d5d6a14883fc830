"""Writing stack files: equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import fitsio
import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.checksum import Span, sign
from galcli.cutouts.header import blue_to_red
from galcli.cutouts.match import native
from galcli.cutouts.stack_file import PLAIN_COLUMNS
from galcli.errors import InputError
from galcli.tables.checksum import add_sum
from galcli.tables.columns import Column, dictionary, id_column, renamed
from galcli.tables.fits import Card, TableHDU, atomic_write, table_bytes
from galcli.tables.header import BLOCK, sealed_header

#: Rice loses some of the noise's digits, gzip (of bytes sorted by significance) nothing.
Compression = Literal["rice", "lossless"]

#: Any fixed seed will do; with it the dither, and so the file, is the same on every run.
DITHER_SEED = 1


def write_stack(
    path: str | Path,
    ids: NDArray[Any],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    pixels: NDArray[np.float32],
    bands: Sequence[str],
    pixel_scale: float | NDArray[np.float64],
    survey: str = "",
    *,
    compress: Compression | None = None,
    quantize: float = 2.0,
    status: NDArray[np.int32] | None = None,
    rows: NDArray[np.int64] | None = None,
    center: NDArray[np.float64] | None = None,
    id_name: str = "TARGETID",
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write one stack file, whole or not at all.

    Parameters
    ----------
    path : str or Path
    ids : ndarray (n,), integers or text
    ra, dec : ndarray (n,), float64, degrees
    pixels : ndarray (m, B, H, W), float32
        Nanomaggies per pixel, NaN = no data, row 0 = south; m = n unless ``rows`` is given.
    bands : sequence of str
        Names of the B bands; stored blue to red whatever their order here.
    pixel_scale : float or ndarray (n,)
        arcsec per pixel.
    survey : str
    compress : 'rice', 'lossless' or None
        Rice with one tile per plane and subtractive dithering, or gzip of every bit.
    quantize : float
        Quantisation level of the compression: steps per noise sigma.
    status : ndarray (n,), int32, optional
        RowStatus bits of each object.
    rows : ndarray (n,), int64, optional
        Which cutout belongs to which object (may repeat), -1 where ``status`` says why there is none; default
        0, 1, 2 ...
    center : ndarray (n, 2), float64, optional
        (x, y) of each object in its cutout, in pixels from 0; by default the middle.
    id_name : str
        Name of the identifier column; with IN_ before it where the table has a column of that name.
    header : mapping, optional
        Further cards of the PIXELS HDU: value, or (value, comment).

    Raises
    ------
    InputError
        If the arrays do not fit together.
    OutputError
        If the file cannot be written.
    """
    index, columns = _index(ids, ra, dec, pixel_scale, status, rows, center, id_name)
    _check(pixels, bands, index)
    order = blue_to_red(bands)
    planes = np.ascontiguousarray(pixels[:, list(order)], ">f4").reshape(-1, *pixels.shape[2:])
    cards = _cards([bands[i] for i in order], index["PIXSCALE"], survey, header or {})
    tables = table_bytes([TableHDU("INDEX", columns, index)])
    # The table writer puts an empty primary HDU of one block first.
    parts: list[Any] = [
        tables[:BLOCK],
        *(_plain(planes, cards) if compress is None else _compressed(planes, cards, compress, quantize)),
    ]
    atomic_write(Path(path), [*parts, tables[BLOCK:]], size=sum(map(len, parts)) + len(tables) - BLOCK)


def _index(
    ids: NDArray[Any],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    pixel_scale: float | NDArray[np.float64],
    status: NDArray[np.int32] | None,
    rows: NDArray[np.int64] | None,
    center: NDArray[np.float64] | None,
    id_name: str,
) -> tuple[NDArray[Any], list[Column]]:
    """The INDEX table."""
    ids = native(np.asarray(ids))
    known = dictionary()
    identifier = id_column(id_name, ids.dtype)
    if identifier.name in PLAIN_COLUMNS:
        identifier = renamed(identifier, f"IN_{identifier.name}")
    columns = [
        identifier, known["RA"], known["DEC"],
        Column("ROW", "i8", ucd="meta.record", description="cutout in PIXELS, counted from 0; may repeat", null=-1),
        Column("PIXSCALE", "f8", unit="arcsec", ucd="instr.pixel", description="pixel scale; NaN where unknown"),
        known["STATUS"],
    ]  # fmt: skip
    for axis in "XY" if center is not None else "":
        columns.append(
            Column(
                axis, "f8", ucd=f"pos.cartesian.{axis.lower()}", description="the object's pixel in the cutout, from 0"
            )
        )
    table = np.zeros(len(ids), [(column.name, column.numpy) for column in columns])
    table[identifier.name] = ids
    table["RA"], table["DEC"], table["PIXSCALE"] = ra, dec, pixel_scale
    table["ROW"] = np.arange(len(ids)) if rows is None else rows
    table["STATUS"] = 0 if status is None else status
    if center is not None:
        table["X"], table["Y"] = center[:, 0], center[:, 1]
    return table, columns


def _check(pixels: NDArray[np.float32], bands: Sequence[str], index: NDArray[Any]) -> None:
    """Refuse arrays that do not fit together."""
    if pixels.ndim != 4 or pixels.shape[1] != len(bands):
        raise InputError(f"pixels of shape {pixels.shape} for {len(bands)} bands", "give pixels as (n, B, H, W)")
    pointing = index["ROW"][(index["ROW"] != -1) | (index["STATUS"] == 0)]
    if len(pointing) and (pointing.min() < 0 or pointing.max() >= len(pixels)):
        raise InputError(f"rows outside the {len(pixels)} cutouts given", "give one cutout per object, or `rows`")


def _cards(bands: Sequence[str], scales: NDArray[np.float64], survey: str, extra: Mapping[str, Any]) -> list[Card]:
    """Header cards of PIXELS beyond those of every image."""
    separator = "" if all(len(name) == 1 for name in bands) else ","
    cards: list[Card] = [
        ("BANDS", separator.join(bands), "bands of each cutout, blue to red"),
        ("BUNIT", "nanomaggy", "flux per pixel, AB zero point 22.5 mag"),
        ("ROWORDER", "SOUTH", "row 0 south, east left, to within 45 degrees"),
        ("SURVEY", survey, "survey the pixels come from or imitate"),
    ]
    known = scales[np.isfinite(scales)]
    if len(known):
        cards.insert(1, ("PIXSCALE", float(known[0]), "[arcsec] pixel scale; per object in INDEX"))
    return cards + [(key, *(card if isinstance(card, tuple) else (card, ""))) for key, card in extra.items()]


def _plain(planes: NDArray[np.float32], cards: list[Card]) -> list[bytes | memoryview]:
    """The PIXELS HDU, uncompressed."""
    data = planes.reshape(-1).view(np.uint8).data
    filling = bytes(-len(data) % BLOCK)
    total = add_sum(filling, add_sum(data))
    image: list[Card] = [("XTENSION", "IMAGE", "image"), ("BITPIX", -32, ""), ("NAXIS", 3, "")]
    image += [(f"NAXIS{i}", size, "") for i, size in enumerate(reversed(planes.shape), start=1)]
    image += [("PCOUNT", 0, ""), ("GCOUNT", 1, ""), ("EXTNAME", "PIXELS", "")]
    return [sealed_header([*image, *cards], total), data, filling]


def _compressed(
    planes: NDArray[np.float32], cards: list[Card], compress: Compression, quantize: float
) -> list[bytes | memoryview]:
    """The PIXELS HDU, tile-compressed by cfitsio."""
    how: dict[str, Any] = {"compress": "GZIP_2", "qlevel": 0}
    if compress == "rice":
        how = {"compress": "RICE", "qlevel": quantize, "qmethod": "SUBTRACTIVE_DITHER_1", "dither_seed": DITHER_SEED}
    with fitsio.FITS("mem://", "rw") as file:
        file.write_image(None)
        file.write_image(planes.astype(np.float32), extname="PIXELS", tile_dims=(1, *planes.shape[1:]), **how)
        for key, value, comment in [*cards, ("CHECKSUM", "0" * 16, ""), ("DATASUM", "0", "")]:
            file["PIXELS"].write_key(key, value, comment)
        raw = bytearray(file.read_raw())
        place = file["PIXELS"].get_offsets()
    span = Span(place["header_start"], place["data_start"], place["data_end"])
    sign(raw, span)
    return [memoryview(raw)[span.header : span.end]]
