"""Spectra that lie on the rest-frame grid already: ``spectra.fits`` of `galcli mock`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galcli.errors import InputError
from galcli.training.spectra.grid import LOGLAM0, POINTS, Spectra, wavelengths
from galcli.training.spectra.hdus import SpectrumFile, numbers, read_table, whole_numbers
from galcli.training.spectra.rebin import good_pixels
from galcli.training.spectra.sdss import SIGMA_MIN

_HINT = "write it again with galcli mock"


def recognises(names: list[str]) -> bool:
    """Whether a file with extensions of these names is of this kind."""
    return {"SPECTRA", "WAVELENGTH"} <= set(names)


def read(file: SpectrumFile, path: Path) -> Spectra:
    """All spectra of a file; neither redshift nor position is known.

    Parameters
    ----------
    file : SpectrumFile
    path : Path

    Returns
    -------
    Spectra
        Their pixels are the grid's, so that it is the errors on the grid that are believed or not.

    Raises
    ------
    InputError
        If the file's wavelengths are not the grid's, or a column is missing or of another shape.
    """
    wave = numbers(read_table(file, "WAVELENGTH", ["WAVE"]), "WAVE")
    if wave.shape != (POINTS,) or not np.allclose(wave, wavelengths(), rtol=1e-6, atol=0):
        raise InputError(f"its wavelengths are not the grid's {POINTS} from 10^{LOGLAM0} Angstrom", _HINT)
    table = read_table(file, "SPECTRA", ["TARGETID", "FLUX", "IVAR"])
    ids = whole_numbers(table, "TARGETID")
    with np.errstate(over="ignore", invalid="ignore"):
        flux, ivar = table["FLUX"].astype(np.float32), table["IVAR"].astype(np.float32)
    if not flux.shape == ivar.shape == (len(ids), POINTS):
        raise InputError(f"columns FLUX and IVAR do not hold {POINTS} numbers per row", _HINT)
    good = good_pixels(flux, ivar, np.zeros(flux.shape, np.bool_))
    sigma = (good / np.sqrt(np.where(good, ivar, 1))).astype(np.float32)
    unknown = np.full(len(ids), np.nan)
    return Spectra(
        flux=np.where(good, flux, 0), ivar=np.where(good, ivar, 0),
        believed=good & (sigma >= SIGMA_MIN),
        z=unknown, ra=unknown, dec=unknown, id=ids, name=tuple(f"{path} row {row}" for row in range(len(ids))),
    )  # fmt: skip
