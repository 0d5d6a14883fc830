"""The training galaxies nearest to each galaxy in a representation, exactly (models.md 2.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from galcli.errors import InputError

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Distances held at a time: 64 MiB.
_DISTANCES = 8_388_608


def nearest(query: NDArray[np.floating], training: NDArray[np.floating], k: int, itself: Rows | None = None) -> Rows:
    """Nearest training rows of each query row by mean squared difference, by comparison with all of them.

    Training rows with a latent that is not finite are nobody's neighbours; a query row with one has none.

    Parameters
    ----------
    query : ndarray (N, m)
        Latents s.
    training : ndarray (T, m)
    k : int
        Neighbours, at least 1.
    itself : ndarray (N,), int64, optional
        Training row that a query row is, -1 where it is none: that row is left out, and only it, however many others
        have the same latents. Without it, a training galaxy is its own neighbour, as published.

    Returns
    -------
    ndarray (N, min(k, T)), int64
        Training rows from near to far, equally far ones by row number; -1 after the last where there are fewer.

    Raises
    ------
    InputError
        If no training row is usable, or if the shapes do not fit.
    """
    if k < 1 or query.ndim != 2 or training.ndim != 2 or query.shape[1] != training.shape[1]:
        raise InputError(
            f"no {k} neighbours of latents {query.shape} among {training.shape}",
            "give at least 1 neighbour, and latents (N, m) and (T, m) of the same network",
        )
    usable = np.flatnonzero(np.isfinite(training).all(1))
    if not len(usable):
        raise InputError(
            f"none of {len(training)} training galaxies has a representation to be near to",
            "check that the training galaxies have the inputs that the network needs",
        )
    points = training[usable].astype(np.float64)
    count = min(k, len(training))
    found = np.full((len(query), count), -1, np.int64)
    own = np.full(len(query), -1) if itself is None else _places(itself, usable, len(training))
    known = np.flatnonzero(np.isfinite(query).all(1))
    step = max(1, _DISTANCES // len(points))
    for start in range(0, len(known), step):
        rows = known[start : start + step]
        distance = cdist(query[rows].astype(np.float64), points, "sqeuclidean")
        inside = own[rows] >= 0
        distance[inside, own[rows][inside]] = np.inf
        places = _smallest(distance, min(count, len(points)))
        alone = np.take_along_axis(distance, places, 1) == np.inf
        found[rows, : places.shape[1]] = np.where(alone, -1, usable[places])
    return found


def gather(values: NDArray[np.floating], rows: Rows) -> Doubles:
    """Values (N, k) at the neighbours `rows` (N, k) out of those (T,) of all training galaxies; NaN where -1."""
    found: Doubles = np.where(rows >= 0, values[rows].astype(np.float64), np.nan)
    return found


def _places(itself: Rows, usable: Rows, total: int) -> Rows:
    """Place (N,) of training rows among the usable ones, -1 for none."""
    place = np.full(total + 1, -1, np.int64)  # the last one is met by -1
    place[usable] = np.arange(len(usable))
    found: Rows = place[itself]
    return found


def _smallest(distance: Doubles, k: int) -> Rows:
    """Columns (N, k) of the k smallest of each row, in order; equal ones by column."""
    places = np.argpartition(distance, k - 1, axis=1)[:, :k]
    kept = np.take_along_axis(distance, places, 1)
    order = kept.argsort(1)
    places, kept = np.take_along_axis(places, order, 1), np.take_along_axis(kept, order, 1)
    # Fast selection and sorting leave equal distances in any order: those rows are sorted anew, as a whole.
    tied = (kept[:, 1:] == kept[:, :-1]).any(1) | ((distance <= kept[:, -1:]).sum(1) > k)
    places[tied] = distance[tied].argsort(1, kind="stable")[:, :k]
    return places
