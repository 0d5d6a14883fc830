"""Where a position lies on the HEALPix sphere: the only module that calls healpy.

All pixel numbers are NESTED (Gorski et al. 2005, ApJ 622, 759). healpy gives a valid-looking pixel for a NaN right
ascension, so that every position is checked here before healpy sees it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galcli.errors import UsageError

#: Deepest order whose pixel numbers fit 64 bits; its pixels are 0.4 milliarcseconds wide.
ORDER_MAX = 29

#: Pixel of a position that is not on the sky.
NO_PIXEL = -1

#: Positions handed to healpy at a time: the work arrays stay in the processor's cache.
_CHUNK = 32768


def good(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    """Which positions are on the sky.

    Parameters
    ----------
    ra, dec : array_like (N,), degrees
        Right ascension from -180 to 360, declination from -90 to 90, both ends included.

    Returns
    -------
    ndarray (N,), bool
        False where a coordinate is not finite or out of range.
    """
    lon = np.asarray(ra, np.float64)
    lat = np.asarray(dec, np.float64)
    # A comparison with NaN is False, so NaN needs no test of its own.
    result: NDArray[np.bool_] = (lon >= -180.0) & (lon <= 360.0) & (lat >= -90.0) & (lat <= 90.0)
    return result


def pixel(ra: ArrayLike, dec: ArrayLike, order: int = ORDER_MAX) -> NDArray[np.int64]:
    """NESTED pixel of each position.

    Parameters
    ----------
    ra, dec : array_like (N,), degrees
        Right ascension from -180 to 360, declination from -90 to 90.
    order : int
        HEALPix order, 0 to 29.

    Returns
    -------
    ndarray (N,), int64
        Pixel number, or -1 where `good` is False.

    Raises
    ------
    UsageError
        If the order is out of range.
    """
    check_order(order)
    import healpy  # 0.5 s: only runs that need pixels pay for it

    lon = np.atleast_1d(np.asarray(ra, np.float64))
    lat = np.atleast_1d(np.asarray(dec, np.float64))
    usable = good(lon, lat)
    pix = np.empty(lon.shape, np.int64)
    for start in range(0, lon.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        keep = usable[part]
        if keep.all():
            pix[part] = healpy.ang2pix(1 << order, lon[part], lat[part], nest=True, lonlat=True)
        else:
            some = np.full(keep.shape, NO_PIXEL, np.int64)
            some[keep] = healpy.ang2pix(1 << order, lon[part][keep], lat[part][keep], nest=True, lonlat=True)
            pix[part] = some
    return pix


def center(order: int, pix: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position of the centre of NESTED pixels.

    Parameters
    ----------
    order : int
        HEALPix order, 0 to 29.
    pix : array_like (N,), int64

    Returns
    -------
    ra, dec : ndarray (N,), float64, degrees
        Right ascension from 0 to 360.

    Raises
    ------
    UsageError
        If the order or a pixel is out of range.
    """
    check_order(order)
    numbers = np.atleast_1d(np.asarray(pix, np.int64))
    npix = 12 << (2 * order)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= npix):
        raise UsageError(f"pixels of order {order} run from 0 to {npix - 1}", "check the order of the pixels")
    import healpy

    lon, lat = healpy.pix2ang(1 << order, numbers, nest=True, lonlat=True)
    return lon, lat


def overlapping(order: int, pix: int, available: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pixels, of whatever order, that share sky with one pixel.

    NESTED pixels are either disjoint, or one contains the other.

    Parameters
    ----------
    order, pix : int
        The pixel asked about.
    available : iterable of (order, pix)

    Returns
    -------
    list of (order, pix)
        Those of ``available`` that contain the pixel or lie inside it, in the order given.
    """

    def shares(other_order: int, other_pix: int) -> bool:
        step = 2 * (order - other_order)
        return pix >> step == other_pix if step >= 0 else other_pix >> -step == pix

    return [(o, p) for o, p in available if shares(o, p)]


def check_order(order: int) -> None:
    """Raise `UsageError` unless 0 <= order <= 29."""
    if not 0 <= order <= ORDER_MAX:
        raise UsageError(f"HEALPix order {order} is out of range", f"orders run from 0 to {ORDER_MAX}")
