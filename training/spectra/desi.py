"""DESI spectra: ``coadd-*.fits``, many targets per file, with their redshifts in ``redrock-*.fits`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.match import IdIndex
from galcli.errors import InputError
from galcli.training.spectra.hdus import (
    SpectrumFile,
    double,
    numbers,
    opened,
    read_image,
    read_table,
    require_wavelengths,
    whole_numbers,
)
from galcli.training.spectra.target import Arm, Target

_ARMS = ("B", "R", "Z", "BRZ")
#: Where redshifts are: first word of the file's name, and the extension; the second is of releases before 2022.
_REDSHIFTS = (("redrock", "REDSHIFTS"), ("zbest", "ZBEST"))
#: What is wrong with the fibre, in all exposures of the target.
_FIBRE = "COADD_FIBERSTATUS"
#: All its errors are believed: most are below what is believed of SDSS's.
_SIGMA_MIN = 0.0
_HINT = "download it again, with its redrock file"


def recognises(names: list[str]) -> bool:
    """Whether a file with extensions of these names is of this kind."""
    return any(f"{arm}_WAVELENGTH" in names for arm in _ARMS)


def read_targets(file: SpectrumFile, path: Path) -> list[Target]:
    """All targets of a file; those without redshift have NaN there.

    Parameters
    ----------
    file : SpectrumFile
    path : Path

    Returns
    -------
    list of Target

    Raises
    ------
    InputError
        If there are no redshifts beside it, an extension or a column is missing, or their numbers of rows differ.
    """
    fibres = read_table(file, "FIBERMAP", ["TARGETID", "TARGET_RA", "TARGET_DEC", "OBJTYPE?", f"{_FIBRE}|FIBERSTATUS?"])
    ids = whole_numbers(fibres, "TARGETID")
    z, zwarning, kind = _redshifts(path, ids)
    if "OBJTYPE" in fibres:  # blank sky gets a redshift, too
        kind = np.where(np.char.strip(fibres["OBJTYPE"]) == "SKY", "SKY", kind)
    ra, dec = numbers(fibres, "TARGET_RA"), numbers(fibres, "TARGET_DEC")
    fibre = whole_numbers(fibres, _FIBRE) if _FIBRE in fibres else np.zeros_like(ids)
    arms = [_read_arm(file, arm, len(ids)) for arm in _ARMS if f"{arm}_WAVELENGTH" in file.names]
    return [
        Target(
            f"{path} row {row}", int(ids[row]), float(ra[row]), float(dec[row]),
            float(z[row]), int(zwarning[row]), str(kind[row]).strip().upper(), int(fibre[row]), _SIGMA_MIN,
            tuple(Arm(wave, flux[row], ivar[row], bad[row]) for wave, flux, ivar, bad in arms),
        )
        for row in range(len(ids))
    ]  # fmt: skip


def _read_arm(file: SpectrumFile, arm: str, rows: int) -> tuple[NDArray[Any], ...]:
    """Wavelengths (n,), flux, inverse variance and bad pixels (rows, n) of an arm."""
    wavelength = double(read_image(file, f"{arm}_WAVELENGTH", 1))
    require_wavelengths(wavelength)
    flux, ivar = read_image(file, f"{arm}_FLUX", 2), read_image(file, f"{arm}_IVAR", 2)
    mask = read_image(file, f"{arm}_MASK", 2) if f"{arm}_MASK" in file.names else np.zeros(flux.shape, np.int32)
    if not flux.shape == ivar.shape == mask.shape == (rows, len(wavelength)):
        raise InputError(f"extensions {arm}_FLUX, {arm}_IVAR, {arm}_MASK and FIBERMAP differ in shape", _HINT)
    return wavelength, double(flux), double(ivar), mask != 0


def _redshifts(path: Path, ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Redshift, warnings and spectral type of targets, matched by identifier; NaN where there is none."""
    beside, extension = _find_redshifts(path)
    try:
        with opened(beside) as file:
            table = read_table(file, extension, ["TARGETID", "Z", "ZWARN", "SPECTYPE"])
        place = IdIndex(whole_numbers(table, "TARGETID")).find(ids)
        z = np.where(place >= 0, numbers(table, "Z")[place], np.nan)
        return z, whole_numbers(table, "ZWARN")[place], table["SPECTYPE"][place]
    except InputError as error:
        raise InputError(f"{beside.name}: {error.message}", error.hint) from error


def _find_redshifts(path: Path) -> tuple[Path, str]:
    """The file with redshifts beside one with spectra, packed or not, and its extension."""
    stem = path.name.partition("-")[2].partition(".fits")[0]
    for word, extension in _REDSHIFTS:
        for suffix in (".fits", ".fits.gz", ".fits.fz"):
            beside = path.with_name(f"{word}-{stem}{suffix}")
            if beside.is_file():
                return beside, extension
    raise InputError(f"no redshifts beside it (redrock-{stem}.fits)", _HINT)
