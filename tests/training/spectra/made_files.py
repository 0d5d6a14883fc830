"""Small spectrum files as SDSS and DESI lay them out, with values that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.grid import Spectra

SAMPLE = Path(__file__).parents[3] / "galcli/sample"
Z = 0.1
LOGLAM = 3.55 + 1e-4 * np.arange(4300)
ARMS = {"B": (3600, 5800), "R": (5760, 7620), "Z": (7520, 9824)}


def only(*paths: Path) -> Spectra:
    """Spectra of files that are read without a problem."""
    spectra, problems = read_spectra(paths)
    assert problems == []
    return spectra


def sdss_columns(**changed: Any) -> dict[str, Any]:
    """Columns of COADD: flux 10, error 0.5."""
    plain: dict[str, Any] = {
        "flux": np.full(4300, 10, "f4"), "loglam": LOGLAM.astype("f4"), "ivar": np.full(4300, 4, "f4"),
        "and_mask": np.zeros(4300, "i4"), "model": np.zeros(4300, "f4"),
    }  # fmt: skip
    return plain | changed


def about(**changed: Any) -> dict[str, Any]:
    """Columns of SPECOBJ."""
    plain: dict[str, Any] = {
        "SPECOBJID": "    299489676975171584", "PLUG_RA": 150.0, "PLUG_DEC": 2.0, "Z": np.float32(Z), "ZWARNING": 0,
        "CLASS": "GALAXY",
    }  # fmt: skip
    return {key: np.array([value]) for key, value in (plain | changed).items()}


def write_sdss(
    path: Path, coadd: dict[str, Any] | None = None, target: dict[str, Any] | None = None,
    names: tuple[str, str] = ("COADD", "SPECOBJ"),
) -> Path:  # fmt: skip
    """Write one spectrum; columns that are None are left out."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None)
        for name, columns in zip(names, (coadd or sdss_columns(), target or about()), strict=True):
            file.write({key: values for key, values in columns.items() if values is not None}, extname=name)
    return path


def write_desi(
    path: Path, ids: list[int], flux: list[float], arms: dict[str, tuple[float, float]] = ARMS, order: str = "=",
    sigma: float = 0.5,
) -> Path:  # fmt: skip
    """Write spectra of constant flux and error."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(None)
        where = np.linspace(10, 20, len(ids))
        file.write({"TARGETID": np.array(ids), "TARGET_RA": where, "TARGET_DEC": -where}, extname="FIBERMAP")
        for arm, (first, last) in arms.items():
            wave = np.arange(first, last + 0.1, 0.8)
            shape = (len(ids), len(wave))
            file.write(wave.astype(f"{order}f8"), extname=f"{arm}_WAVELENGTH")
            file.write(np.broadcast_to(np.array(flux, f"{order}f4")[:, None], shape).copy(), extname=f"{arm}_FLUX")
            file.write(np.full(shape, sigma**-2, f"{order}f4"), extname=f"{arm}_IVAR")
            file.write(np.zeros(shape, "i4"), extname=f"{arm}_MASK")
    return path


def write_redrock(path: Path, ids: list[int], z: list[float], extension: str = "REDSHIFTS", **changed: Any) -> Path:
    """Write redshifts."""
    rows = len(ids)
    plain = {"ZWARN": np.zeros(rows, "i8"), "SPECTYPE": np.array(["GALAXY"] * rows)} | changed
    fitsio.write(str(path), {"TARGETID": np.array(ids), "Z": np.array(z), **plain}, extname=extension, clobber=True)
    return path
