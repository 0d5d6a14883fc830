"""An observed spectrum brought onto the rest-frame grid by the overlap of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from galcli.training.spectra.grid import POINTS, Floats, edges

#: A grid pixel of which less is covered by good pixels of the spectrograph has no data.
MIN_OVERLAP = 0.5
#: Pixels that are farther apart than so many times the neighbouring ones have a hole between them.
_HOLE = 1.5
#: More than so many times the median of its spectrum is a fault that the survey overlooked, not a line: one with an
#: equivalent width of 2000 Angstrom, which few galaxies exceed, is 900 times as high as the continuum at DESI's
#: resolution, and less at SDSS's.
_FAULT = 1000


class Rebinned(NamedTuple):
    """One spectrum on the grid, each ndarray (1000,), float64; 0 where there is no data (see `grid.Spectra`)."""

    flux: Floats
    ivar: Floats
    native_sigma: Floats


def good_pixels(flux: NDArray[Any], ivar: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that were measured: not flagged, finite, with a finite error, and no higher than any line can be.

    Parameters
    ----------
    flux, ivar : ndarray (..., n), float
        Whole spectra, since what a line can be goes by the spectrum's median.
    bad : ndarray (..., n), bool
        Flagged pixels.

    Returns
    -------
    ndarray (..., n), bool
    """
    good = ~bad & np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    size = np.abs(np.where(good, flux, np.inf))
    middle = (np.count_nonzero(good, axis=-1, keepdims=True) - 1) // 2
    median = np.take_along_axis(np.sort(size, axis=-1), middle, axis=-1)
    return np.asarray(good & (size / _FAULT <= median))


def rebin(wavelength: Floats, flux: Floats, ivar: Floats, good: NDArray[np.bool_], z: float) -> Rebinned:
    """Average a spectrum over the pixels of the rest-frame grid.

    Flux density is averaged over the part of each grid pixel that good pixels cover, so that the integral of a line
    is kept. Errors of the spectrograph's pixels are taken as independent. Neighbouring grid pixels share the pixel at
    their border, so that their errors are correlated (by 4 % for SDSS), which ``ivar`` does not tell.

    Parameters
    ----------
    wavelength : ndarray (n,), float64
        Centres of the pixels [Angstrom], vacuum, observed frame, ascending.
    flux : ndarray (n,), float64
        Flux density per observed Angstrom.
    ivar : ndarray (n,), float64
        Its inverse variance.
    good : ndarray (n,), bool
        Pixels to be used, see `good_pixels`.
    z : float
        Redshift.

    Returns
    -------
    Rebinned
        F(lambda) = (1 + z) f_obs(lambda (1 + z)), and ``native_sigma``, the rms error of the pixels that contribute.
    """
    native, grid = borders(wavelength).ravel(), edges() * (1 + z)
    # Between two neighbouring borders of either kind lies a piece of one grid pixel, and of one native pixel or a hole.
    cuts = np.sort(np.concatenate([native, grid]), kind="stable")
    middle, width = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    (pixel, hole), point = np.divmod(np.searchsorted(native, middle) - 1, 2), np.searchsorted(grid, middle) - 1
    used = (hole == 0) & (point >= 0) & (point < POINTS)
    used[used] = good[pixel[used]]
    pixel, point, width = pixel[used], point[used], width[used]
    variance = 1 / ivar[pixel]

    def total(pieces: Floats) -> Floats:
        return np.bincount(point, pieces, POINTS).astype(np.float64)

    covered = total(width)
    has_data = (covered > 0) & (covered >= MIN_OVERLAP * np.diff(grid))
    norm = np.where(has_data, covered, np.inf)
    mean, mean_variance = total(width * flux[pixel]) / norm, total(width**2 * variance) / norm**2
    return Rebinned(
        flux=(1 + z) * mean,
        ivar=has_data / (np.where(has_data, mean_variance, 1) * (1 + z) ** 2),
        native_sigma=np.sqrt(total(width * variance) / norm),
    )


def combine(arms: Sequence[Rebinned]) -> Rebinned:
    """Average the arms of a spectrograph by inverse variance where they overlap.

    Parameters
    ----------
    arms : sequence of Rebinned

    Returns
    -------
    Rebinned
        ``native_sigma`` is that of the arms' pixels averaged in the same way.
    """
    ivar = np.sum([arm.ivar for arm in arms], axis=0)
    flux = np.sum([arm.ivar * arm.flux for arm in arms], axis=0) / np.where(ivar > 0, ivar, 1)
    native = np.sum([(arm.ivar > 0) / np.where(arm.ivar > 0, arm.native_sigma, 1) ** 2 for arm in arms], axis=0)
    return Rebinned(flux, ivar, (ivar > 0) / np.sqrt(np.where(ivar > 0, native, 1)))


def borders(centres: Floats) -> Floats:
    """Where pixels begin and end: midway between their centres; at an end of the spectrum, as far out as in.

    Parameters
    ----------
    centres : ndarray (n,), float64
        At least two, ascending.

    Returns
    -------
    ndarray (n, 2), float64
        Between pixels that are farther apart than others near them there is a hole: there they are as wide as those.
    """
    apart = np.diff(centres)
    near = np.minimum(np.minimum(np.r_[apart[0], apart[:-1]], apart), np.r_[apart[1:], apart[-1]])
    hole, middle = apart > _HOLE * near, (centres[1:] + centres[:-1]) / 2
    ends = np.where(hole, centres[:-1] + near / 2, middle)
    begins = np.where(hole, centres[1:] - near / 2, middle)
    first, last = 2 * centres[0] - ends[0], 2 * centres[-1] - begins[-1]
    return np.stack([np.r_[first, begins], np.r_[ends, last]], axis=1)
