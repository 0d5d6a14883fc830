"""Pixels of spectra: which are no data, and of which the errors are believed."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest

from galcli.training.spectra.grid import SOFTENING, wavelengths, weights
from galcli.training.spectra.sdss import UNUSABLE
from tests.training.spectra.made_files import (
    LOGLAM,
    SAMPLE,
    Z,
    only,
    sdss_columns,
    write_desi,
    write_redrock,
    write_sdss,
)


def test_unusable_pixels_are_left_out(tmp_path: Path) -> None:
    clean = only(write_sdss(tmp_path / "a.fits"))
    columns = sdss_columns()
    columns["flux"][1000:1100], columns["and_mask"][1000:1100] = 1e6, 1 << 23
    columns["flux"][2000:2100] = np.nan
    columns["flux"][3000:3100], columns["ivar"][3000:3100] = -1e6, 0
    spectra = only(write_sdss(tmp_path / "b.fits", columns))
    np.testing.assert_allclose(spectra.flux[spectra.good], 10 * (1 + Z), rtol=1e-6)
    assert np.count_nonzero(clean.good) - np.count_nonzero(spectra.good) == pytest.approx(300 / 3.9, abs=4)


#: SPPIXMASK of pixels as in sdssMaskbits.par.
SPPIXMASK = {
    "NEARBADPIXEL": 16, "LOWFLAT": 17, "FULLREJECT": 18, "PARTIALREJECT": 19, "SCATTEREDLIGHT": 20, "CROSSTALK": 21,
    "NOSKY": 22, "BRIGHTSKY": 23, "NODATA": 24, "COMBINEREJ": 25, "BADFLUXFACTOR": 26, "BADSKYCHI": 27,
    "REDMONSTER": 28,
}  # fmt: skip
HARMLESS = {"NEARBADPIXEL", "LOWFLAT", "PARTIALREJECT", "SCATTEREDLIGHT", "CROSSTALK"}


def test_flags_by_the_table_of_the_survey(tmp_path: Path) -> None:
    assert {name: bit for name, bit in SPPIXMASK.items() if name not in HARMLESS} == UNUSABLE
    clean = only(write_sdss(tmp_path / "clean.fits"))
    for name, bit in SPPIXMASK.items():
        columns = sdss_columns()
        columns["and_mask"][2000:2100] = 1 << bit
        lost = np.count_nonzero(clean.good & ~only(write_sdss(tmp_path / f"{name}.fits", columns)).good)
        assert lost == 0 if name in HARMLESS else 24 <= lost <= 27  # of 100 / 3.9


def test_a_fault_that_nobody_flagged_is_no_data(tmp_path: Path) -> None:
    columns = sdss_columns()
    columns["flux"][[1000, 1001, 1002, 3000]] = 1e30, -2e4, 9e3, 9e3  # the last two are lines
    spectra = only(write_sdss(tmp_path / "a.fits", columns))
    assert 500 < spectra.flux.max() < 1e4
    assert spectra.flux.min() > 10
    coadd = write_desi(tmp_path / "coadd-a.fits", [5, 6], [0.002, 8])
    write_redrock(tmp_path / "redrock-a.fits", [5, 6], [Z, Z])
    with fitsio.FITS(str(coadd), "rw") as file:
        for arm, level in (("B", 1e-4), ("R", 1), ("Z", 1)):
            flux = file[f"{arm}_FLUX"].read() * level
            flux[:, 500] = 7
            file[f"{arm}_FLUX"].write(flux)
    faint, bright = only(coadd).flux
    assert faint.max() == pytest.approx(0.002 * (1 + Z))
    assert bright.max() == pytest.approx(8 * (1 + Z))
    assert bright[wavelengths() * (1 + Z) < 5700].max() > 1  # 9000 times its own arm, but less than the others
    table = fitsio.read(str(SAMPLE / "spectra.fits"), ext="SPECTRA")
    table["FLUX"][0, 500] = 1e30
    with fitsio.FITS(str(tmp_path / "spectra.fits"), "rw", clobber=True) as file:
        file.write(table[:2], extname="SPECTRA")
        file.write({"WAVE": wavelengths()}, extname="WAVELENGTH")
    clean, spectra = only(SAMPLE).take(np.arange(2)), only(tmp_path / "spectra.fits")
    assert np.argwhere(clean.good & ~spectra.good).tolist() == [[0, 500]]
    assert not spectra.believed[0, 500]
    assert spectra.flux[0, 500] == 0


def test_errors_are_believed_as_the_survey_says(tmp_path: Path) -> None:
    write_redrock(tmp_path / "redrock-a.fits", [5], [Z])
    small = only(write_desi(tmp_path / "coadd-a.fits", [5], [10], sigma=0.1))
    np.testing.assert_array_equal(small.believed, small.good)
    ivar = np.where(LOGLAM < 3.7, 0.24**-2, 0.26**-2).astype("f4")
    partly = only(write_sdss(tmp_path / "a.fits", sdss_columns(ivar=ivar)))
    red = wavelengths() * (1 + Z) > 10**3.7 + 5
    np.testing.assert_array_equal(partly.believed[:, red], partly.good[:, red])
    blue = wavelengths() * (1 + Z) < 10**3.7 - 5
    assert partly.good[:, blue].any()
    assert not partly.believed[:, blue].any()
    for spectra in (small, partly):
        weight = weights(spectra, np.array([300.0]))
        np.testing.assert_array_equal(weight > 0, spectra.believed)
        variance = 1 / (spectra.ivar[spectra.believed] * 300.0**2) + SOFTENING
        np.testing.assert_allclose(weight[spectra.believed], 1 / variance, rtol=1e-5)


def test_a_nan_that_signals_is_a_bad_pixel(tmp_path: Path) -> None:
    columns = sdss_columns()
    columns["flux"].view(np.uint32)[2000:2100] = 0x7F800001
    spectra = only(write_sdss(tmp_path / "a.fits", columns))
    np.testing.assert_allclose(spectra.flux[spectra.good], 10 * (1 + Z), rtol=1e-6)
