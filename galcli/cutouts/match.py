"""Which entry of a list belongs to which row: by identifier, or by position on the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ARCSEC = 1.0 / 3600.0

#: Of a list that is searched where it lies, one identifier of so many is held in memory; a power of two.
_SAMPLED = 64
_CHUNK = 1 << 16  # identifiers looked at a time


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

    A list in order, as most files are, is searched where it lies: one that is mapped from a file stays on disk but for
    every ``_SAMPLED``-th identifier. Of other lists a sorted copy is held.

    Parameters
    ----------
    ids : ndarray or memmap (n,), integers or text

    Attributes
    ----------
    repeats : bool
        Whether an identifier is listed more than once.
    """

    def __init__(self, ids: NDArray[Any]) -> None:
        self._order: NDArray[np.int64] | None = None
        self._sorted = ids
        in_order, self.repeats = _order_of(ids)
        if not in_order:
            text_or_numbers = comparable(ids, ids)
            self._order = np.argsort(text_or_numbers, kind="stable")
            self._sorted = text_or_numbers[self._order]
            _, self.repeats = _order_of(self._sorted)
        self._sample = self._listed(slice(None, None, _SAMPLED))
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
        wanted = comparable(ids, self._sample)
        if wanted.dtype.kind == "S" and self._sample.dtype.kind != "S":
            if self._as_text is None:
                everything = np.arange(len(self._sorted)) if self._order is None else np.argsort(self._order)
                self._as_text = IdIndex(self._listed(everything).astype("S"))
            return self._as_text.find(wanted)
        if not len(self._sorted):
            return np.full(len(wanted), -1, np.int64)
        place = np.minimum(self._place(wanted), len(self._sorted) - 1)
        entry = place if self._order is None else self._order[place]
        return np.where(self._listed(place) == wanted, entry, -1).astype(np.int64)

    def _place(self, wanted: NDArray[Any]) -> NDArray[np.int64]:
        """How many of the list are smaller, (m,): as `np.searchsorted`, which would load the whole list."""
        place = np.maximum(np.searchsorted(self._sample, wanted) - 1, 0) * _SAMPLED
        step = _SAMPLED // 2
        while step:
            further = np.minimum(place + step, len(self._sorted) - 1)
            place = np.where(self._listed(further) < wanted, further, place)
            step //= 2
        return place + (self._listed(place) < wanted)

    def _listed(self, entry: NDArray[np.int64] | slice) -> NDArray[Any]:
        part = self._sorted[entry]
        return comparable(part, part)


def _order_of(ids: NDArray[Any]) -> tuple[bool, bool]:
    """Whether a list ascends, and whether neighbours in it are equal; holds a part of it at a time."""
    ascends, repeats = True, False
    for start in range(0, len(ids) - 1, _CHUNK):
        part = ids[start : start + _CHUNK + 1]
        part = comparable(part, part)
        ascends &= bool((part[1:] >= part[:-1]).all())
        repeats |= bool((part[1:] == part[:-1]).any())
    return ascends, repeats


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
