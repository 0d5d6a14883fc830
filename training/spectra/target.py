"""One observed target: from what a survey's file holds to one spectrum on the rest-frame grid, or why not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.training.spectra.grid import POINTS, Floats, Spectra
from galcli.training.spectra.rebin import Rebinned, combine, good_pixels, rebin

#: Of the grid's points, the part that must hold data.
MIN_COVERAGE = 0.6
#: Classes that are used.
EXTRAGALACTIC = ("GALAXY", "QSO")
_HINT = "leave it out"


@dataclass(frozen=True)
class Arm:
    """What one arm of a spectrograph measured; observed frame.

    Attributes
    ----------
    wavelength : ndarray (n,), float64
        Vacuum, Angstrom.
    flux, ivar : ndarray (n,), float64
        1e-17 erg/s/cm2/Angstrom, and its inverse variance.
    bad : ndarray (n,), bool
        Flagged pixels.
    """

    wavelength: Floats
    flux: Floats
    ivar: Floats
    bad: NDArray[np.bool_]


@dataclass(frozen=True)
class Target:
    """A target as its survey tells of it.

    Attributes
    ----------
    name : str
        File, and row where it holds several.
    id : int
        -1 where there is none.
    ra, dec : float
        Degrees; NaN where unknown.
    z : float
        Redshift.
    zwarning : int
        What the redshift fit warns of, as far as it matters; 0 = nothing.
    kind : str
        ``GALAXY``, ``QSO``, ``STAR`` or ``SKY``.
    fibre : int
        What is wrong with the fibre; 0 = nothing.
    sigma_min : float
        Errors of the spectrograph's pixels below this are not believed; unit of the flux.
    arms : tuple of Arm
    """

    name: str
    id: int
    ra: float
    dec: float
    z: float
    zwarning: int
    kind: str
    fibre: int
    sigma_min: float
    arms: tuple[Arm, ...]


def to_grid(target: Target) -> Spectra:
    """Bring a target's spectrum onto the grid.

    Parameters
    ----------
    target : Target

    Returns
    -------
    Spectra
        One spectrum.

    Raises
    ------
    InputError
        If its fibre was faulty, it is no galaxy or quasar, has no trustworthy redshift, covers less than
        ``MIN_COVERAGE`` of the grid, or shows no light.
    """
    if target.fibre:
        raise InputError(f"fibre was faulty: status = {target.fibre}", _HINT)
    if not (np.isfinite(target.z) and target.z >= 0):
        raise InputError(f"redshift is {target.z:.6g}", _HINT)
    if target.zwarning:
        raise InputError(f"redshift is not sure: ZWARNING = {target.zwarning}", _HINT)
    if target.kind not in EXTRAGALACTIC:
        raise InputError(f"is {target.kind or 'of no class'}, not {' or '.join(EXTRAGALACTIC)}", _HINT)
    arms = zip(target.arms, _good_pixels(target.arms), strict=True)
    on_grid = combine([rebin(arm.wavelength, arm.flux, arm.ivar, good, target.z) for arm, good in arms])
    flux, ivar, native_sigma = _single_precision(on_grid)
    require_coverage(int(np.count_nonzero(ivar)))
    if (level := float(np.median(flux[ivar > 0]))) <= 0:
        raise InputError(f"shows no light: its median flux is {level:.3g}", _HINT)
    return Spectra(
        flux=flux[None], ivar=ivar[None], believed=((ivar > 0) & (native_sigma >= target.sigma_min))[None],
        z=np.array([target.z]), ra=np.array([target.ra]), dec=np.array([target.dec]),
        id=np.array([target.id]), name=(target.name,),
    )  # fmt: skip


def require_coverage(points: int) -> None:
    """Raise `InputError` if so many points of the grid are too few to hold data."""
    if not points:
        raise InputError("no data on the grid: all pixels are masked, or lie elsewhere at this redshift", _HINT)
    if points < MIN_COVERAGE * POINTS:
        raise InputError(f"covers {points / POINTS:.0%} of the grid, {MIN_COVERAGE:.0%} are needed", _HINT)


def _good_pixels(arms: tuple[Arm, ...]) -> list[NDArray[np.bool_]]:
    """Good pixels of each arm, judged by the spectrum as a whole."""
    flux, ivar, bad = (np.concatenate([getattr(arm, key) for arm in arms]) for key in ("flux", "ivar", "bad"))
    return np.split(good_pixels(flux, ivar, bad), np.cumsum([len(arm.flux) for arm in arms])[:-1])


def _single_precision(spectrum: Rebinned) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Flux, inverse variance and native error as float32; no data where these cannot hold them."""
    with np.errstate(over="ignore"):
        flux, ivar, native_sigma = (values.astype(np.float32) for values in spectrum)
    held = (ivar > 0) & np.isfinite(flux) & np.isfinite(ivar) & np.isfinite(native_sigma)
    return np.where(held, flux, 0), np.where(held, ivar, 0), np.where(held, native_sigma, 0)
