"""SDSS, BOSS and eBOSS spectra: ``spec-PLATE-MJD-FIBER.fits``, one target per file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.training.spectra.hdus import SpectrumFile, numbers, read_table, require_wavelengths, whole_numbers
from galcli.training.spectra.target import Arm, Target

#: Bits of ``and_mask`` that make a pixel unusable (SPPIXMASK in sdssMaskbits.par of SDSS's idlutils).
UNUSABLE = {
    "FULLREJECT": 18, "NOSKY": 22, "BRIGHTSKY": 23, "NODATA": 24, "COMBINEREJ": 25, "BADFLUXFACTOR": 26,
    "BADSKYCHI": 27, "REDMONSTER": 28,
}  # fmt: skip

#: Errors of pixels below this are not believed [1e-17 erg/s/cm2/Angstrom] (Portillo et al. 2020); the mock survey, whose
#: spectrograph is SDSS's, keeps to it.
SIGMA_MIN = 0.25

#: A bit of ZWARNING that is passed over, MANY_OUTLIERS: more than 5 % of the pixels lie over 5 sigma from the best
#: template. Bright spectra do, whose errors are smaller than what templates tell; the redshift is seldom wrong.
_MANY_OUTLIERS = 1 << 4

#: The extension that tells of the target: SPECOBJ, SPALL in BOSS and eBOSS.
_TARGET = 2
_UNUSABLE = sum(1 << bit for bit in UNUSABLE.values())
_INT64 = np.iinfo(np.int64)


def recognises(names: list[str]) -> bool:
    """Whether a file with extensions of these names is of this kind."""
    return "COADD" in names


def read_targets(file: SpectrumFile, path: Path) -> list[Target]:
    """The file's one target.

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
        If an extension or a column is missing or of another kind.
    """
    pixels = read_table(file, "COADD", ["FLUX", "LOGLAM", "IVAR", "AND_MASK"])
    about = read_table(file, _TARGET, ["Z", "ZWARNING", "CLASS", "PLUG_RA|RA", "PLUG_DEC|DEC", "SPECOBJID?"])
    with np.errstate(over="ignore"):
        wavelength = 10 ** numbers(pixels, "LOGLAM")
    require_wavelengths(wavelength)
    bad = (whole_numbers(pixels, "AND_MASK") & _UNUSABLE) != 0
    return [
        Target(
            name=str(path),
            id=_identifier(about.get("SPECOBJID")),
            ra=float(numbers(about, "PLUG_RA")[0]),
            dec=float(numbers(about, "PLUG_DEC")[0]),
            z=float(numbers(about, "Z")[0]),
            zwarning=int(whole_numbers(about, "ZWARNING")[0]) & ~_MANY_OUTLIERS,
            kind=str(about["CLASS"][0]).strip().upper(),
            fibre=0,  # a fault of the fibre is a bit of ZWARNING
            sigma_min=SIGMA_MIN,
            arms=(Arm(wavelength, numbers(pixels, "FLUX"), numbers(pixels, "IVAR"), bad),),
        )
    ]


def _identifier(column: NDArray[Any] | None) -> int:
    """SPECOBJID, a number or its digits, if it is a positive one that int64 holds; -1 otherwise."""
    if column is None or column.dtype.kind not in "iuU":  # float64 loses its last digits
        return -1
    text = str(column[0]).strip()
    return int(text) if text.isdecimal() and 0 < int(text) <= _INT64.max else -1
