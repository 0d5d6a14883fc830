"""Writing stack files: equal input gives equal bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import fitsio
import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.checksum import CHECKSUM_COMMENT, DATASUM_COMMENT, Span, sign
from galcli.cutouts.header import blue_to_red
from galcli.cutouts.match import native
from galcli.errors import InputError

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
    compress: Literal["rice"] | None = None,
    quantize: float = 2.0,
    status: NDArray[np.int32] | None = None,
    rows: NDArray[np.int64] | None = None,
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
    compress : 'rice' or None
        Rice with one tile per plane and subtractive dithering.
    quantize : float
        Quantisation level of the compression: steps per noise sigma.
    status : ndarray (n,), int32, optional
        RowStatus bits of each object.
    rows : ndarray (n,), int64, optional
        Which cutout belongs to which object (may repeat); default 0, 1, 2 ...
    id_name : str
        Name of the identifier column.
    header : mapping, optional
        Further cards of the PIXELS HDU: value, or (value, comment).

    Raises
    ------
    InputError
        If the arrays do not fit together.
    OutputError
        If the file cannot be written.
    """
    index = _index(ids, ra, dec, pixel_scale, status, rows, id_name)
    _check(pixels, bands, index)
    order = blue_to_red(bands)
    planes = np.ascontiguousarray(pixels[:, list(order)], np.float32).reshape(-1, *pixels.shape[2:])
    names = [bands[i] for i in order]
    scales = index["PIXSCALE"][np.isfinite(index["PIXSCALE"])]
    cards: dict[str, Any] = {
        "BANDS": (
            ("" if all(len(name) == 1 for name in names) else ",").join(names),
            "bands of each cutout, blue to red",
        ),
        "PIXSCALE": (float(scales[0]) if len(scales) else None, "[arcsec] pixel scale; per object in INDEX"),
        "BUNIT": ("nanomaggy", "flux per pixel, AB zero point 22.5 mag"),
        "ROWORDER": ("SOUTH", "row 0 of each plane is south, east is left"),
        "SURVEY": (survey, "survey the pixels come from or imitate"),
        **(header or {}),
    }
    if cards["PIXSCALE"][0] is None:
        del cards["PIXSCALE"]
    _save(Path(path), _encode(planes, index, cards, compress, quantize))


def _index(
    ids: NDArray[Any],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    pixel_scale: float | NDArray[np.float64],
    status: NDArray[np.int32] | None,
    rows: NDArray[np.int64] | None,
    id_name: str,
) -> NDArray[Any]:
    """The INDEX table."""
    ids = np.asarray(ids)
    kind = native(ids[:0]).dtype if ids.dtype.kind in "iu" else np.dtype(f"S{max(1, ids.astype('S').dtype.itemsize)}")
    fields = [(id_name.upper(), kind), ("RA", "f8"), ("DEC", "f8"), ("ROW", "i8"), ("PIXSCALE", "f8"), ("STATUS", "i4")]
    table = np.zeros(len(ids), fields)
    table[id_name.upper()] = ids
    table["RA"], table["DEC"], table["PIXSCALE"] = ra, dec, pixel_scale
    table["ROW"] = np.arange(len(ids)) if rows is None else rows
    table["STATUS"] = 0 if status is None else status
    return table


def _check(pixels: NDArray[np.float32], bands: Sequence[str], index: NDArray[Any]) -> None:
    """Refuse arrays that do not fit together."""
    if pixels.ndim != 4 or pixels.shape[1] != len(bands):
        raise InputError(f"pixels of shape {pixels.shape} for {len(bands)} bands", "give pixels as (n, B, H, W)")
    if len(index) and not (index["ROW"].min() >= 0 and index["ROW"].max() < len(pixels)):
        raise InputError(f"rows outside the {len(pixels)} cutouts given", "give one cutout per object, or `rows`")


def _encode(
    planes: NDArray[np.float32], index: NDArray[Any], cards: Mapping[str, Any], compress: str | None, quantize: float
) -> bytearray:
    """The bytes of the file."""
    options: dict[str, Any] = {}
    if compress is not None:
        options = {
            "compress": "RICE", "qlevel": quantize, "qmethod": "SUBTRACTIVE_DITHER_1", "dither_seed": DITHER_SEED,
            "tile_dims": (1, *planes.shape[1:]),
        }  # fmt: skip
    with fitsio.FITS("mem://", "rw") as file:
        file.write_image(None)
        file.write_image(planes, extname="PIXELS", **options)
        for key, card in cards.items():
            value, comment = card if isinstance(card, tuple) else (card, "")
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"header card {key} is not finite", "leave it out")
            file["PIXELS"].write_key(key, value, comment)
        file.write_table(index, extname="INDEX")
        for number in range(3):
            file[number].write_key("CHECKSUM", "0" * 16, CHECKSUM_COMMENT)
            file[number].write_key("DATASUM", "0", DATASUM_COMMENT)
        raw = bytearray(file.read_raw())
        spans = [file[number].get_offsets() for number in range(3)]
    for span in spans:
        sign(raw, Span(span["header_start"], span["data_start"], span["data_end"]))
    return raw


def _save(path: Path, data: bytearray) -> None:
    try:
        from galcli.tables.fits import atomic_write
    except ImportError:
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
    else:
        atomic_write(path, data)
