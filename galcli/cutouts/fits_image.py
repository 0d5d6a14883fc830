"""One cutout in one FITS file: from bytes to an image whose conventions are known.

Plain images are taken apart by `galcli.cutouts.hdus`; tile-compressed ones go through cfitsio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.axes import cd_matrix, is_plain_tan
from galcli.cutouts.hdus import (
    COMMON,
    Cards,
    Scratch,
    cards_at,
    compressed_pixels,
    hdus,
    headers,
    holds_pixels,
    plain_pixels,
    read_bytes,
    shape_of,
    verify,
)
from galcli.cutouts.header import Convention, Overrides, convention, split_bands
from galcli.cutouts.skymap import Projection

_END = b"END".ljust(80)


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


def read_image(path: str | Path, ra: float, dec: float, overrides: Overrides, scratch: Scratch | None = None) -> Image:
    """Read the cutout of an object.

    Parameters
    ----------
    path : str or Path
        ``.fits``, ``.fits.gz`` or ``.fits.fz``.
    ra, dec : float, degrees
        The object; NaN: it is in the middle.
    overrides : Overrides
    scratch : Scratch, optional
        Memory to use; the image's ``raw`` is good until it is used again.

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
    data = read_bytes(path, scratch)
    for number, (cards, start, stop) in enumerate(hdus(data)):
        _require_overlap(cards)
        if not holds_pixels(cards):
            continue
        signed = verify(cards, data, start, stop)
        values = compressed_pixels(path, number, cards) if cards.get("ZIMAGE") else plain_pixels(cards, data)
        return _image(values, cards, ra, dec, overrides, signed)
    raise ValueError("no image in the file")


def parse_image(data: bytes, ra: float, dec: float, overrides: Overrides) -> tuple[Image, Cards]:
    """The cutout of an object from a file in memory, plain and with its image in the primary HDU.

    Parameters
    ----------
    data : bytes
    ra, dec : float, degrees
    overrides : Overrides

    Returns
    -------
    Image
    dict
        Cards of its header.

    Raises
    ------
    NoOverlapError, InputError, OSError, EOFError, TypeError, ValueError, KeyError, IndexError, zlib.error
        As `read_image`.
    """
    cards, start, stop = list(hdus(data))[0]  # noqa: RUF015 - the sizes of all are checked
    _require_overlap(cards)
    if not holds_pixels(cards):
        raise ValueError("no image in the primary HDU")
    signed = verify(cards, data, start, stop)
    return _image(plain_pixels(cards, data), cards, ra, dec, overrides, signed), cards


def glance(path: str | Path, ra: float, dec: float, overrides: Overrides) -> Image:
    """What `parse_image` says of a file, from its headers and length alone: the pixels are NaN.

    Parameters
    ----------
    path : str or Path
    ra, dec : float, degrees
    overrides : Overrides

    Returns
    -------
    Image

    Raises
    ------
    NoOverlapError, InputError, OSError, EOFError, TypeError, ValueError, KeyError, IndexError, zlib.error
        As `read_image`.
    """
    cards = headers(path)[0]
    pixels = np.broadcast_to(np.float32(np.nan), shape_of(cards))
    return _image(pixels, cards, ra, dec, overrides, signed=False)


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
    cards = next((cards for cards in headers(path) if holds_pixels(cards)), {})
    return _has_position(cards)


def _require_overlap(cards: Cards) -> None:
    if str(cards.get("OVERLAP", "T")).upper() in ("F", "FALSE"):
        raise NoOverlapError("the survey does not cover this position (OVERLAP = F)")


def _has_position(cards: Cards) -> bool:
    return cd_matrix(cards) is not None and bool(cards.get("CTYPE1")) and "CRVAL1" in cards


@lru_cache(maxsize=256)
def _settled(common: bytes, planes: int, overrides: Overrides) -> Convention:
    """The convention of headers that differ only in their position, worked out once."""
    return convention(cards_at(common + _END, 0)[0], planes, overrides)


def _image(values: NDArray[Any], cards: Cards, ra: float, dec: float, overrides: Overrides, signed: bool) -> Image:
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
    rule = _settled(cards[COMMON], planes, overrides)
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


def _planes(shape: tuple[int, ...], cards: Cards, overrides: Overrides) -> int:
    """Number of bands: the first axis, or the last one of a cube (H, W, B)."""
    named = len(overrides.bands or split_bands(str(cards.get("BANDS") or "")))
    if shape[0] != named and shape[2] == named:
        return shape[2]
    return shape[2] if not named and shape[2] <= 4 < shape[0] else shape[0]


def find_center(cards: Cards, ra: float, dec: float, shape: tuple[int, int]) -> tuple[float, float]:
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
    frame = _frame(cards)
    if not (math.isfinite(ra) and math.isfinite(dec)) or frame.matrix is None or "CRVAL1" not in cards:
        return middle
    if not frame.plain_tan:
        return _general_center(cards, ra, dec)
    lon, lat = math.radians(ra - float(cards["CRVAL1"])), math.radians(dec)
    lat0 = math.radians(float(cards["CRVAL2"]))
    # Gnomonic projection: Calabretta & Greisen 2002 (A&A 395, 1077), eqs. 12-13 and 54.
    depth = math.sin(lat) * math.sin(lat0) + math.cos(lat) * math.cos(lat0) * math.cos(lon)
    if depth <= 0:
        raise NoOverlapError("the position lies outside the image")
    east = math.degrees(math.cos(lat) * math.sin(lon) / depth)
    north = math.degrees((math.sin(lat) * math.cos(lat0) - math.cos(lat) * math.sin(lat0) * math.cos(lon)) / depth)
    a, b, c, d = frame.matrix
    area = a * d - b * c
    return (
        float(cards["CRPIX1"]) - 1 + (d * east - b * north) / area,
        float(cards["CRPIX2"]) - 1 + (a * north - c * east) / area,
    )


@dataclass(frozen=True)
class _Frame:
    """What a header says of an image's axes, but not where they lie: CD matrix in degrees (None: no position)."""

    matrix: tuple[float, float, float, float] | None
    plain_tan: bool


def _frame(cards: Cards) -> _Frame:
    """The frame of a header; those of one survey share theirs, which is worked out once."""
    if COMMON not in cards:
        return _work_out_frame(cards)
    return _known_frame(cards[COMMON], at_pole=float(cards.get("CRVAL2", 0)) >= 90)


@lru_cache(maxsize=256)
def _known_frame(common: bytes, at_pole: bool) -> _Frame:
    cards = cards_at(common + _END, 0)[0]
    return _work_out_frame(cards | {"CRVAL2": 90.0 if at_pole else 0.0})


def _work_out_frame(cards: Cards) -> _Frame:
    matrix = cd_matrix(cards) if cards.get("CTYPE1") else None
    if matrix is None:
        return _Frame(None, is_plain_tan(cards))
    (a, b), (c, d) = matrix.tolist()
    return _Frame((a, b, c, d), is_plain_tan(cards))


def _general_center(cards: Cards, ra: float, dec: float) -> tuple[float, float]:
    """Position through astropy, for projections and axes (such as Galactic ones) that are rare among cutouts."""
    x, y = Projection(cards).to_pixel(np.array([ra]), np.array([dec]))
    if not (np.isfinite(x) & np.isfinite(y)).all():
        raise NoOverlapError("the position lies outside the image")
    return float(x[0]), float(y[0])
