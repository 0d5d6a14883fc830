"""Which spectrum belongs to which row of a catalogue, and which spectra are of one object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.match import ARCSEC, unit_vectors
from galcli.training.spectra.grid import Floats, Spectra

#: A spectrum farther from a row is another object's [degrees].
RADIUS = 1.0 * ARCSEC
_CHORD = 2 * np.sin(np.radians(RADIUS) / 2)

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def match_spectra(ids: NDArray[Any] | None, ra: Floats, dec: Floats, spectra: Spectra) -> NDArray[np.int64]:
    """Find the spectrum of each row.

    A spectrum belongs to the rows with its identifier; where there is none, to the nearest row within ``RADIUS``.
    Of several spectra of one row that with the highest median signal to noise per pixel is taken.

    Parameters
    ----------
    ids : ndarray (n,) or None
        The catalogue's identifiers; only whole numbers are compared.
    ra, dec : ndarray (n,), float64
        Degrees; rows whose position is not finite are found by identifier only.
    spectra : Spectra

    Returns
    -------
    ndarray (n,), int64
        Row of ``spectra``, -1 where there is none.
    """
    rows, chosen = _same_id(ids, spectra)
    alone = np.setdiff1d(np.arange(len(spectra)), chosen)
    near, nearby = _nearest(ra, dec, spectra, alone)
    rows, chosen = np.concatenate([rows, near]), np.concatenate([chosen, nearby])
    order = np.argsort(median_snr(spectra)[chosen], kind="stable")
    found = np.full(len(ra), -1, np.int64)
    found[rows[order]] = chosen[order]  # the last one, the best, stays
    return found


def same_object(spectra: Spectra) -> NDArray[np.int64]:
    """Number the objects that spectra are of.

    Spectra are of one object if they have one identifier, or lie within ``RADIUS`` of each other.

    Returns
    -------
    ndarray (N,), int64
        From 0, in the order in which objects first appear.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    order = np.argsort(spectra.id, kind="stable")
    order = order[spectra.id[order] != -1]
    twice = np.flatnonzero(np.diff(spectra.id[order]) == 0)
    placed = np.flatnonzero(np.isfinite(spectra.ra) & np.isfinite(spectra.dec))
    near = KDTree(unit_vectors(spectra.ra[placed], spectra.dec[placed])).query_pairs(_CHORD, output_type="ndarray")
    first, second = np.concatenate([np.stack([order[twice], order[twice + 1]], axis=1), placed[near]]).T
    pairs = coo_array((np.ones(len(first)), (first, second)), (len(spectra), len(spectra)))
    labels = connected_components(pairs, directed=False)[1]
    appears, number = np.unique(labels, return_index=True, return_inverse=True)[1:]
    return np.unique(appears[number], return_inverse=True)[1].astype(np.int64)


def median_snr(spectra: Spectra) -> Floats:
    """Median signal to noise per pixel with data, (N,); 0 where there is none."""
    snr = np.where(spectra.good, spectra.flux * np.sqrt(spectra.ivar), np.nan)
    snr[~spectra.good.any(axis=1)] = 0
    return np.nanmedian(snr, axis=1).astype(np.float64)


def _same_id(ids: NDArray[Any] | None, spectra: Spectra) -> Pairs:
    """Rows and spectra with one identifier."""
    if ids is None or ids.dtype.kind not in "iu":
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(spectra.id, kind="stable")
    known = spectra.id[order]
    wanted = ids.astype(np.int64)
    first, last = np.searchsorted(known, wanted), np.searchsorted(known, wanted, side="right")
    count = np.where(wanted == -1, 0, last - first)
    place = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - first, count)
    return np.repeat(np.arange(len(ids)), count), order[place]


def _nearest(ra: Floats, dec: Floats, spectra: Spectra, which: NDArray[np.int64]) -> Pairs:
    """Rows and spectra of one place: each spectrum with its nearest row, or with all of several at one distance."""
    from scipy.spatial import KDTree

    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    which = which[np.isfinite(spectra.ra[which]) & np.isfinite(spectra.dec[which])]
    catalogue = KDTree(unit_vectors(ra[rows], dec[rows]))
    observed = KDTree(unit_vectors(spectra.ra[which], spectra.dec[which]))
    pairs = catalogue.sparse_distance_matrix(observed, _CHORD, output_type="ndarray")
    least = np.full(len(which), np.inf)
    np.minimum.at(least, pairs["j"], pairs["v"])
    own = pairs[pairs["v"] == least[pairs["j"]]]
    return rows[own["i"]], which[own["j"]]
