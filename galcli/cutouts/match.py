"""Which entry of a list belongs to which row: by identifier, or by position on the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ARCSEC = 1.0 / 3600.0


def native(values: NDArray[Any]) -> NDArray[Any]:
    """The same values in native byte order; text stripped of padding, integers as int64."""
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype("S"))
    if values.dtype.kind in "iu":
        return values.astype(np.uint64 if values.dtype.newbyteorder("=") == np.uint64 else np.int64)
    return values.astype(values.dtype.newbyteorder("="))


def comparable(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Identifiers in a form that compares exactly with ``like``: numbers of another type become text."""
    values = native(values)
    # numpy compares int64 with uint64 as float64, which loses the last digits.
    return values if values.dtype.kind in ("S", native(like[:0]).dtype.kind) else values.astype("S")


class IdIndex:
    """Finds identifiers; the first of equal ones counts.

    Parameters
    ----------
    ids : ndarray (n,), integers or text

    Attributes
    ----------
    repeats : bool
        Whether an identifier is listed more than once.
    """

    def __init__(self, ids: NDArray[Any]) -> None:
        self._ids = comparable(ids, ids)
        # Most files list their objects in order: then the list itself can be searched, in half the memory.
        in_order = bool((self._ids[1:] >= self._ids[:-1]).all())
        self._order = None if in_order else np.argsort(self._ids, kind="stable")
        self._sorted = self._ids if self._order is None else self._ids[self._order]
        self.repeats = bool((self._sorted[1:] == self._sorted[:-1]).any())
        self._as_text: IdIndex | None = None

    def find(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Position of each identifier, -1 where it is not listed.

        Parameters
        ----------
        ids : ndarray (m,), integers or text
            Integers match text that spells them.

        Returns
        -------
        ndarray (m,), int64
        """
        wanted = comparable(ids, self._ids)
        if wanted.dtype.kind == "S" and self._ids.dtype.kind != "S":
            if self._as_text is None:
                self._as_text = IdIndex(self._ids.astype("S"))
            return self._as_text.find(wanted)
        if not len(self._ids):
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        entry = place if self._order is None else self._order[place]
        return np.where(self._sorted[place] == wanted, entry, -1).astype(np.int64)


class SkyIndex:
    """Finds the nearest listed position.

    Parameters
    ----------
    ra, dec : ndarray (n,), float64, degrees
        Positions that are not finite are never found.
    """

    def __init__(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> None:
        good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        self._order = good[np.argsort(dec[good], kind="stable")]
        self._dec = dec[self._order]
        self._unit = unit_vectors(ra[self._order], self._dec)

    def find(self, ra: NDArray[np.float64], dec: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
        """Position in the list of the nearest entry within ``radius``, -1 where there is none.

        Parameters
        ----------
        ra, dec : ndarray (m,), float64, degrees
        radius : float
            degrees

        Returns
        -------
        ndarray (m,), int64
        """
        found = np.full(len(ra), -1, np.int64)
        good = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        first = np.searchsorted(self._dec, dec[good] - radius)
        count = np.searchsorted(self._dec, dec[good] + radius, side="right") - first
        good, first, count = good[count > 0], first[count > 0], count[count > 0]
        if not good.size:
            return found
        # Every listed entry in the declination band of every row, row after row.
        begin = np.cumsum(count) - count
        entry = np.arange(int(count.sum())) - np.repeat(begin - first, count)
        here = unit_vectors(ra[good], dec[good])
        chord = np.linalg.norm(self._unit[entry] - np.repeat(here, count, axis=0), axis=1)
        best = np.minimum.reduceat(chord, begin)
        hits = np.flatnonzero(chord == np.repeat(best, count))
        row = np.searchsorted(begin, hits, side="right") - 1
        _, one_each = np.unique(row, return_index=True)
        near = best <= 2 * np.sin(np.radians(radius) / 2)
        found[good[near]] = self._order[entry[hits[one_each]]][near]
        return found


def unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cartesian unit vectors, shape (n, 3), of positions in degrees."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def separation(
    ra1: NDArray[np.float64], dec1: NDArray[np.float64], ra2: NDArray[np.float64], dec2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Angle between pairs of positions, degrees."""
    chord = np.linalg.norm(unit_vectors(ra1, dec1) - unit_vectors(ra2, dec2), axis=1)
    angle: NDArray[np.float64] = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1)))
    return angle
