"""An observed spectrum brought onto the rest-frame grid by the overlap of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from galcli.training.spectra.grid import POINTS, Floats, edges

#: A grid pixel of which less is covered by good pixels of the spectrograph has no data.
MIN_OVERLAP = 0.5


class Rebinned(NamedTuple):
    """One spectrum on the grid, each ndarray (1000,), float64; 0 where there is no data (see `grid.Spectra`)."""

    flux: Floats
    ivar: Floats
    native_sigma: Floats


def good_pixels(flux: Floats, ivar: Floats, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that were measured: not flagged, finite, with a finite error."""
    return np.asarray(~bad & np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))


def rebin(wavelength: Floats, flux: Floats, ivar: Floats, bad: NDArray[np.bool_], z: float) -> Rebinned:
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
    bad : ndarray (n,), bool
        Pixels not to be used; those without finite flux and positive, finite ``ivar`` are not used either.
    z : float
        Redshift.

    Returns
    -------
    Rebinned
        F(lambda) = (1 + z) f_obs(lambda (1 + z)), and ``native_sigma``, the rms error of the pixels that contribute.
    """
    good = good_pixels(flux, ivar, bad)
    native, grid = borders(wavelength), edges() * (1 + z)
    # Between two neighbouring borders of either kind lies a piece of one native pixel and one grid pixel.
    cuts = np.sort(np.concatenate([native, grid]), kind="stable")
    middle, width = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts)
    pixel, point = np.searchsorted(native, middle) - 1, np.searchsorted(grid, middle) - 1
    used = (pixel >= 0) & (pixel < len(good)) & (point >= 0) & (point < POINTS)
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
    """Borders of pixels midway between their centres, those at the ends as far out as the next ones are in.

    Parameters
    ----------
    centres : ndarray (n,), float64
        At least two, ascending.

    Returns
    -------
    ndarray (n + 1,), float64
    """
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
