"""Spectra of SDSS and DESI: what their own tables say, found again on the grid."""

from __future__ import annotations

import os
from pathlib import Path

import fitsio
import numpy as np
import pytest

from galcli.errors import InputError
from galcli.training.spectra.files import read_spectra
from galcli.training.spectra.grid import Spectra, edges, wavelengths
from galcli.training.spectra.match import match_spectra, median_snr
from galcli.training.spectra.sdss import UNUSABLE

DATA = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[4] / "shared/data"))
SDSS, DESI = DATA / "sdss-spectra", DATA / "desi-spectra"

pytestmark = pytest.mark.skipif(
    not (SDSS.is_dir() and DESI.is_dir()), reason=f"no real data in {DATA} (GALCLI_REAL_DATA)"
)

#: Redshifts and coverages of the files by name.
GALAXIES = {
    "0266-51602-0001": (0.021275, 0.893), "0266-51602-0162": (0.063316, 0.939), "0266-51602-0166": (0.021585, 0.899),
    "0266-51602-0526": (0.026760, 0.883), "0266-51602-0614": (0.062018, 0.929), "0266-51630-0174": (0.021608, 0.747),
    "0266-51630-0461": (0.036177, 0.911), "0266-51630-0525": (0.026808, 0.900),
}  # fmt: skip
REPEATED = [(2, 5), (3, 7)]


@pytest.fixture(scope="module")
def sdss() -> Spectra:
    spectra, problems = read_spectra([SDSS])
    assert problems == []
    return spectra


@pytest.fixture(scope="module")
def desi() -> Spectra:
    spectra, problems = read_spectra([DESI])
    assert problems == []
    return spectra


def test_sdss_tables(sdss: Spectra) -> None:
    assert [Path(name).stem for name in sdss.name] == [f"spec-{name}" for name in GALAXIES]
    np.testing.assert_allclose(sdss.z, [z for z, _ in GALAXIES.values()], atol=1e-6)
    np.testing.assert_allclose(sdss.good.mean(axis=1), [part for _, part in GALAXIES.values()], atol=0.002)
    for row, name in enumerate(sdss.name):
        target = fitsio.read(name, ext=2)[0]
        assert sdss.id[row] == int(target["SPECOBJID"])
        assert (sdss.ra[row], sdss.dec[row]) == (target["PLUG_RA"], target["PLUG_DEC"])
        # 3.9 pixels per point double the signal to noise, and the grid leaves out the far red.
        assert 1.8 < median_snr(sdss)[row] / target["SN_MEDIAN_ALL"] < 2.25


def test_flags_cost_few_pixels(sdss: Spectra) -> None:
    for name in sdss.name:
        pixels = fitsio.read(name, ext="COADD")
        mask = sum(1 << bit for bit in UNUSABLE.values())
        flagged = np.count_nonzero((pixels["ivar"] > 0) & (pixels["and_mask"].astype(np.int64) & mask != 0))
        assert 3 <= flagged <= 19  # of 3800


def test_flux_is_that_of_the_pixels(sdss: Spectra) -> None:
    for row, name in enumerate(sdss.name):
        pixels = fitsio.read(name, ext="COADD", columns=["flux", "loglam"])
        wave, width = wavelengths() * (1 + sdss.z[row]), np.diff(edges())
        band = sdss.good[row] & (wave > 4000) & (wave < 6000)
        rest = (sdss.flux[row] * width)[band].sum() / width[band].sum()
        inside = np.isin(np.rint(np.log10(10 ** pixels["loglam"] / (1 + sdss.z[row])) / 0.00039 - 3.53 / 0.00039),
                         np.flatnonzero(band))  # fmt: skip
        observed = np.average(pixels["flux"][inside], weights=10 ** pixels["loglam"][inside])
        assert rest == pytest.approx(observed * (1 + sdss.z[row]), rel=2e-3)


@pytest.mark.parametrize("row", [0, 2])
def test_halpha_is_what_sdss_measured(sdss: Spectra, row: int) -> None:
    lines = fitsio.read(sdss.name[row], ext="SPZLINE")
    lines = lines[np.isin(np.char.strip(lines["LINENAME"].astype(str)), ["[N_II] 6548", "H_alpha", "[N_II] 6583"])]
    assert len(lines) == 3
    wave, flux = wavelengths(), sdss.flux[row].astype(np.float64)
    sides = [np.median(flux[(wave > low) & (wave < low + 25)]) for low in (6510, 6600)]
    levels = np.r_[sides[0], lines["LINECONTLEVEL"] * (1 + sdss.z[row]), sides[1]]
    continuum = np.interp(wave, np.r_[6535, lines["LINEWAVE"], 6600], levels)
    inside = (wave > 6535) & (wave < 6600)
    area = ((flux - continuum) * np.diff(edges()))[inside].sum()
    assert area == pytest.approx(lines["LINEAREA"].sum(), rel=0.1)
    if row == 0:  # stronger than [N II]
        assert wave[inside][(flux - continuum)[inside].argmax()] == pytest.approx(6564.61, abs=3)


@pytest.mark.parametrize("pair", REPEATED)
def test_repeated_galaxies_agree_within_noise(sdss: Spectra, pair: tuple[int, int]) -> None:
    one, other = (sdss.take(np.array([row])) for row in pair)
    both = (one.good & other.good)[0]
    ratio = (one.flux / np.where(both, other.flux, 1))[0, both]
    sigma = ratio * np.hypot(*(1 / (s.flux * np.sqrt(np.where(both, s.ivar, 1)))[0, both] for s in (one, other)))
    scale = np.average(ratio, weights=sigma**-2)
    assert abs(scale - 1) < 0.08  # two plates' calibration
    pull = (ratio - scale) / sigma
    assert 0.85 < pull.std() < 1.2
    assert np.abs(pull).max() < 5
    assert one.ra[0] == other.ra[0]


def test_repeats_belong_to_one_row(sdss: Spectra) -> None:
    found = match_spectra(None, sdss.ra, sdss.dec, sdss)
    best = [max(pair, key=lambda row: median_snr(sdss)[row]) for pair in REPEATED]
    assert found.tolist() == [0, 1, best[0], best[1], 4, best[0], 6, best[1]]
    assert match_spectra(sdss.id, sdss.ra, sdss.dec, sdss).tolist() == list(range(8))


def test_one_wrong_bit_is_found(tmp_path: Path) -> None:
    [coadd] = DESI.rglob("coadd-4-*.fits")
    beside = coadd.with_name(coadd.name.replace("coadd", "redrock"))
    (tmp_path / beside.name).write_bytes(beside.read_bytes())
    with fitsio.FITS(str(coadd)) as file:
        offsets = {hdu.get_extname(): hdu.get_offsets() for hdu in file}
    for extension in ("FIBERMAP", "B_WAVELENGTH", "R_FLUX", "Z_IVAR", "B_MASK", "R_RESOLUTION"):
        data, at = bytearray(coadd.read_bytes()), offsets[extension]
        data[(at["data_start"] + at["data_end"]) // 2] ^= 1
        (tmp_path / coadd.name).write_bytes(data)
        if extension == "R_RESOLUTION":  # is not read
            assert len(read_spectra([tmp_path])[0]) == 1
        else:
            with pytest.raises(InputError, match="checksum of the data does not match"):
                read_spectra([tmp_path])


def test_desi_tables(desi: Spectra) -> None:
    assert desi.id.tolist() == [39633345008634465, 39089837499744649]
    np.testing.assert_allclose(desi.z, [0.36874355, 0.00726967], atol=1e-8)
    np.testing.assert_allclose(desi.ra, [105.48977452, 149.46540425], atol=1e-7)
    np.testing.assert_allclose(desi.dec, [56.66930006, 1.79364675], atol=1e-7)
    np.testing.assert_allclose(desi.good.mean(axis=1), [0.836, 0.940], atol=0.002)


@pytest.mark.parametrize(
    ("row", "line", "least"),
    [(0, 3728.5, 50), (0, 4862.69, 50), (0, 4960.30, 50), (0, 5008.24, 100), (0, 6564.61, 100), (1, 5008.24, 20)],
)
def test_desi_lines(desi: Spectra, row: int, line: float, least: float) -> None:
    wave = wavelengths()
    near = np.abs(wave - line) < 15
    snr = (desi.flux[row] * np.sqrt(desi.ivar[row]))[near]
    assert snr.max() > least
    peak = near & (np.abs(wave - wave[near][desi.flux[row, near].argmax()]) < 8)
    middle = np.average(wave[peak], weights=desi.flux[row, peak] - np.median(desi.flux[row, near]))
    assert middle == pytest.approx(line, abs=1.0)  # a pixel is 3.4 to 5.9


def test_desi_oxygen_doublet_is_one_to_three(desi: Spectra) -> None:
    wave, width = wavelengths(), np.diff(edges())

    def area(line: float) -> float:
        far = np.abs(wave - line)
        continuum = np.median(desi.flux[0, (far > 15) & (far < 35)])
        return float(((desi.flux[0] - continuum) * width)[far < 15].sum())

    assert area(5008.24) / area(4960.30) == pytest.approx(2.98, rel=0.05)
