"""One cutout in one FITS file: from bytes to an image whose conventions are known.

Plain images are taken apart here, since opening a file in a FITS library takes several times as long as reading it;
tile-compressed ones go through cfitsio.
"""

from __future__ import annotations

import gzip
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.header import Convention, Overrides, cd_matrix, convention, split_bands
from galcli.tables.checksum import WHOLE, add_sum
from galcli.tables.header import declared_sum, read_card

#: What damaged files raise while they are taken apart.
DAMAGE = (OSError, EOFError, TypeError, ValueError, KeyError, IndexError, ArithmeticError, zlib.error)

#: Largest image accepted, bytes: the cutout server gives at most 3000 x 3000 pixels.
MAX_BYTES = 1 << 30

_BLOCK = 2880
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: Cards that differ from file to file and do not matter for the convention.
_PRIVATE = frozenset({"CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CHECKSUM", "DATASUM", "RA", "DEC", "OBJECT"})
#: Not cards: where the data begin, and the text of all cards that are not private.
_BEGIN, _COMMON = "_begin", "_common"


class NoOverlapError(Exception):
    """The file says, or its WCS shows, that it does not hold the object."""


@dataclass
class Image:
    """A cutout as it stands in its file, with what is needed to settle it.

    Attributes
    ----------
    raw : ndarray (B, H, W)
        Of any number type and byte order, read-only.
    rule : Convention
    center : tuple of float
        (x, y) of the object in the settled image.
    shape : tuple of int
        (B, H, W) of the settled image.
    signed : bool
        A checksum was there and right.
    """

    raw: NDArray[Any]
    rule: Convention
    center: tuple[float, float]
    shape: tuple[int, int, int]
    signed: bool


def read_image(path: str | Path, ra: float, dec: float, overrides: Overrides) -> Image:
    """Read the cutout of an object.

    Parameters
    ----------
    path : str or Path
        ``.fits``, ``.fits.gz`` or ``.fits.fz``.
    ra, dec : float, degrees
        The object; NaN: it is in the middle.
    overrides : Overrides

    Returns
    -------
    Image

    Raises
    ------
    NoOverlapError
        If the file does not hold the object.
    InputError
        If bands or units cannot be known.
    OSError, EOFError, TypeError, ValueError, KeyError, IndexError, zlib.error
        If the file is damaged.
    """
    data = _bytes(path)
    for number, (cards, start, stop) in enumerate(_hdus(data)):
        if str(cards.get("OVERLAP", "T")).upper() in ("F", "FALSE"):
            raise NoOverlapError("the survey does not cover this position (OVERLAP = F)")
        if not _holds_pixels(cards):
            continue
        signed = _verify(cards, data, start, stop)
        values = _compressed(path, number, cards) if cards.get("ZIMAGE") else _plain(cards, data, start)
        return _image(values, cards, ra, dec, overrides, signed)
    raise ValueError("no image in the file")


def has_position(path: str | Path) -> bool:
    """Whether the image in a FITS file says where on the sky it lies.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    OSError, EOFError, TypeError, ValueError, KeyError, IndexError, zlib.error
        If the file is damaged.
    """
    cards = next((cards for cards, _, _ in _hdus(_bytes(path)) if _holds_pixels(cards)), {})
    return _has_position(cards)


def _has_position(cards: dict[str, Any]) -> bool:
    return cd_matrix(cards) is not None and bool(cards.get("CTYPE1")) and "CRVAL1" in cards


def _bytes(path: str | Path) -> bytes:
    """Content of the file, unpacked if it is gzipped."""
    with open(path, "rb", buffering=0) as raw:  # noqa: PTH123 - a Path per file costs as much as its header
        if os.fstat(raw.fileno()).st_size > MAX_BYTES:
            raise ValueError("file larger than any cutout")
        data = raw.read()
    if data[:2] == b"\x1f\x8b":
        with gzip.open(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("file larger than any cutout")
    if data[:10] != b"SIMPLE  = ":
        raise ValueError("not a FITS file" if data else "empty file")
    return data


def _hdus(data: bytes) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Cards of each HDU with the offsets of its header and of its end."""
    start = 0
    while start < len(data):
        cards, begin = _cards(data, start)
        size = math.prod(int(cards[f"NAXIS{i}"]) for i in range(1, int(cards["NAXIS"]) + 1)) if cards["NAXIS"] else 0
        size = (size + int(cards.get("PCOUNT", 0))) * abs(int(cards["BITPIX"])) // 8
        end = begin + -(-size // _BLOCK) * _BLOCK
        if size < 0 or begin + size > len(data):
            raise ValueError("file is shorter than its header says")
        cards[_BEGIN] = begin
        yield cards, start, end
        start = end


def _cards(data: bytes, start: int) -> tuple[dict[str, Any], int]:
    """Cards of the header at ``start`` and where its data begin."""
    cards: dict[str, Any] = {}
    common: list[bytes] = []
    for at in range(start, len(data), 80):
        text = data[at : at + 80]
        key, value = read_card(text)
        if key == "END":
            cards[_COMMON] = b"".join(common)
            return cards, start + -(-(at + 80 - start) // _BLOCK) * _BLOCK
        if key:
            cards[key] = value
            if key not in _PRIVATE:
                common.append(text)
    raise ValueError("header without end")


def _holds_pixels(cards: dict[str, Any]) -> bool:
    """Whether an HDU is the image wanted, not one of the maps that may go with it."""
    if str(cards.get("IMAGETYP", "image")).lower() not in ("image", ""):
        return False
    if cards.get("ZIMAGE"):
        return True
    return cards.get("XTENSION", "IMAGE") == "IMAGE" and int(cards["NAXIS"]) >= 2


def _verify(cards: dict[str, Any], data: bytes, start: int, stop: int) -> bool:
    """Check DATASUM and CHECKSUM where the HDU has them; True if it has the first."""
    declared = declared_sum(cards)
    if declared is None:
        return False
    begin = int(cards[_BEGIN])
    view = memoryview(data)
    if stop > len(data):
        raise ValueError("file is shorter than its header says")
    total = add_sum(view[begin:stop])
    if total != declared:
        raise ValueError("checksum of the data does not match")
    if cards.get("CHECKSUM") and add_sum(view[start:begin], total) not in WHOLE:
        raise ValueError("checksum of the header does not match")
    return True


def _plain(cards: dict[str, Any], data: bytes, start: int) -> NDArray[Any]:
    """Pixels of an uncompressed image, scaled where the header says so."""
    shape = tuple(int(cards[f"NAXIS{i}"]) for i in range(int(cards["NAXIS"]), 0, -1))
    raw = np.frombuffer(data, _DTYPES[int(cards["BITPIX"])], math.prod(shape), int(cards[_BEGIN])).reshape(shape)
    scale, zero, blank = cards.get("BSCALE", 1), cards.get("BZERO", 0), cards.get("BLANK")
    if scale == 1 and zero == 0 and (blank is None or raw.dtype.kind == "f"):
        return raw
    values = raw * np.float64(scale) + np.float64(zero)
    if blank is not None and raw.dtype.kind != "f":
        values[raw == int(blank)] = np.nan
    return values


def _compressed(path: str | Path, number: int, cards: dict[str, Any]) -> NDArray[Any]:
    """Pixels of a tile-compressed image; the HDU's own cards take the place of the table's."""
    if str(cards.get("ZCMPTYPE", "")).startswith("GZIP"):
        return _gzip_compressed(path, number)
    with open_fits(path) as file:
        values: NDArray[Any] | None = file[number].read()
    if values is None:
        raise ValueError("the image is empty")
    blank = cards.get("BLANK", cards.get("ZBLANK"))
    if values.dtype.kind != "f" and blank is not None:
        missing = values == int(blank)
        values = values.astype(np.float64)
        values[missing] = np.nan
    return values


def _gzip_compressed(path: str | Path, number: int) -> NDArray[Any]:
    """Pixels of an image whose tiles are gzipped, through astropy: on some damaged ones cfitsio never ends."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # of sloppy headers; damage is an exception
            return np.asarray(fits.getdata(path, number))
    except (VerifyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the compressed image is damaged ({error})") from error


@lru_cache(maxsize=256)
def _settled(common: bytes, planes: int, overrides: Overrides) -> Convention:
    """The convention of headers that differ only in their position, worked out once."""
    return convention(_cards(common + b"END     ".ljust(80), 0)[0], planes, overrides)


def _image(
    values: NDArray[Any], cards: dict[str, Any], ra: float, dec: float, overrides: Overrides, signed: bool
) -> Image:
    """Bring the axes in order and settle the conventions."""
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"image of shape {values.shape}")
    planes = _planes(values.shape, cards, overrides)
    if planes != values.shape[0]:
        values = np.moveaxis(values, 2, 0)
    rule = _settled(cards[_COMMON], planes, overrides)
    height, width = values.shape[1:]
    center = find_center(cards, ra, dec, (height, width))
    if rule.transpose:
        height, width, center = width, height, (center[1], center[0])
    x = width - 1 - center[0] if rule.flip_columns else center[0]
    y = height - 1 - center[1] if rule.flip_rows else center[1]
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise NoOverlapError("the position lies outside the image")
    # Rounded, so that noise in the last digit cannot decide between two pixels.
    return Image(values, rule, (round(x, 4), round(y, 4)), (planes, height, width), signed)


def _planes(shape: tuple[int, ...], cards: dict[str, Any], overrides: Overrides) -> int:
    """Number of bands: the first axis, or the last one of a cube (H, W, B)."""
    named = len(overrides.bands or split_bands(str(cards.get("BANDS") or "")))
    if shape[0] != named and shape[2] == named:
        return shape[2]
    return shape[2] if not named and shape[2] <= 4 < shape[0] else shape[0]


def find_center(cards: dict[str, Any], ra: float, dec: float, shape: tuple[int, int]) -> tuple[float, float]:
    """Where a position lies in an image, from its WCS; the middle where image or object have no position.

    Parameters
    ----------
    cards : dict
    ra, dec : float, degrees
    shape : tuple of int
        (H, W) as in the file.

    Returns
    -------
    tuple of float
        (x, y) in pixels from 0.

    Raises
    ------
    NoOverlapError
        If the position is on the other side of the sky.
    """
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    matrix = cd_matrix(cards)
    kinds = (str(cards.get("CTYPE1", "")), str(cards.get("CTYPE2", "")))
    if not (math.isfinite(ra) and math.isfinite(dec)) or matrix is None or not _has_position(cards):
        return middle
    if kinds != ("RA---TAN", "DEC--TAN"):
        return _general_center(cards, ra, dec)
    lon, lat = math.radians(ra - float(cards["CRVAL1"])), math.radians(dec)
    lat0 = math.radians(float(cards["CRVAL2"]))
    # Gnomonic projection: Calabretta & Greisen 2002 (A&A 395, 1077), eqs. 12-13 and 54.
    depth = math.sin(lat) * math.sin(lat0) + math.cos(lat) * math.cos(lat0) * math.cos(lon)
    if depth <= 0:
        raise NoOverlapError("the position lies outside the image")
    east = math.degrees(math.cos(lat) * math.sin(lon) / depth)
    north = math.degrees((math.sin(lat) * math.cos(lat0) - math.cos(lat) * math.sin(lat0) * math.cos(lon)) / depth)
    (a, b), (c, d) = matrix.tolist()
    area = a * d - b * c
    return (
        float(cards["CRPIX1"]) - 1 + (d * east - b * north) / area,
        float(cards["CRPIX2"]) - 1 + (a * north - c * east) / area,
    )


def _general_center(cards: dict[str, Any], ra: float, dec: float) -> tuple[float, float]:
    """Position through astropy, for projections and axes (such as Galactic ones) that are rare among cutouts."""
    from astropy.coordinates import SkyCoord
    from astropy.io.fits import Header
    from astropy.wcs import WCS
    from astropy.wcs.utils import skycoord_to_pixel

    wcs = WCS(Header({key: value for key, value in cards.items() if key[0] != "_"}), naxis=2)
    x, y = skycoord_to_pixel(SkyCoord(ra, dec, unit="deg"), wcs)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise NoOverlapError("the position lies outside the image")
    return float(x), float(y)
