"""Stamps from real images of four cameras, against astropy."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.resolve import find_source
from galcli.sky.catalog import open_catalog
from galcli.tables.status import RowStatus

DATA = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared/data"))
DR6 = DATA / "legacy-dr6-brick/py/desitarget/test/dr6"
BRICK = DR6 / "coadd/095/0959p805"
CCDS = DATA / "ccd-cuts/py/test"
FRAME = DATA / "sdss-frame/test/data-sdss/frame-r-001000-1-0100.fits.bz2"

pytestmark = pytest.mark.skipif(not BRICK.is_dir(), reason=f"no real data in {DATA} (GALCLI_REAL_DATA)")


def read_header(path: Path, hdu: int) -> tuple[fits.Header, WCS]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        header = fits.getheader(path, hdu)
        return header, WCS(header)


def cut(tmp_path: Path, cutouts: object, ra: Any, dec: Any, size: int, **how: Any) -> Any:
    """Stamps by row, statuses by row, and the source."""
    rows = np.rec.fromarrays([np.arange(len(ra)), ra, dec], names="TARGETID,RA,DEC")
    fitsio.write(str(tmp_path / "cat.fits"), rows, clobber=True)
    with open_catalog(tmp_path / "cat.fits") as catalog:
        source = find_source(catalog, str(cutouts), size=size, **how)
        assert isinstance(source, CoaddSource)
        request = CutoutRequest(np.arange(len(ra)), np.asarray(ra), np.asarray(dec), np.arange(len(ra), dtype=np.int64))
        stamps: dict[int, tuple[NDArray[np.float32], Any, float]] = {}
        status: dict[int, int] = {}
        for item in source.read(request, 16):
            if isinstance(item, Failures):
                status |= dict(zip(item.index.tolist(), item.status.tolist(), strict=True))
                continue
            for k, row in enumerate(item.index.tolist()):
                stamps[row] = (item.pixels[k], item.center[k], float(item.pixel_scale[k]))
    return stamps, status, source


@pytest.mark.parametrize("cutouts", [DR6, BRICK, DR6 / "coadd/**/*-image-*.fits.fz", BRICK / "*.fits.fz"])
def test_brick(tmp_path: Path, cutouts: Path) -> None:
    path = BRICK / "legacysurvey-0959p805-image-g.fits.fz"
    pixels, weight = (fits.getdata(str(path).replace("image", kind), 1) for kind in ("image", "invvar"))
    expected = np.where(weight > 0, pixels, np.nan)
    _, wcs = read_header(path, 1)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-40, 900, 150), rng.uniform(-40, 1900, 150)
    stamps, status, source = cut(tmp_path, cutouts, *wcs.all_pix2world(x, y, 0), size=64)
    assert source.bands == ("g", "z")
    assert not source.files()["unreadable"]
    outside = (x < -0.5) | (y < -0.5)
    assert outside.any()
    assert {row for row, bits in status.items() if bits == RowStatus.MISSING_CUTOUT} == set(np.flatnonzero(outside))
    assert len(stamps) > 100
    for row, (stamp, center, scale) in stamps.items():
        there = Cutout2D(expected, (x[row], y[row]), 64, mode="partial", fill_value=np.nan)
        np.testing.assert_allclose(stamp[0], there.data, rtol=1e-6)
        np.testing.assert_allclose(center, there.input_position_cutout, atol=1e-3)
        assert scale == pytest.approx(0.262, rel=1e-5)
    for row, bits in status.items():
        if bits == RowStatus.CONSTANT:
            there = Cutout2D(expected, (x[row], y[row]), 64, mode="partial", fill_value=np.nan)
            assert np.isnan(there.data).all()


def test_sdss_frame(tmp_path: Path) -> None:
    pixels = fits.getdata(FRAME)
    _, wcs = read_header(FRAME, 0)
    x, y = np.array([30.3, 50.2, 70.7, 95.0]), np.array([40.2, 50.4, 60.1, 50.0])
    stamps, _, source = cut(tmp_path, FRAME, *wcs.all_pix2world(x, y, 0), size=21)
    assert source.bands == ("r",)
    for row, (stamp, _, scale) in stamps.items():
        there = Cutout2D(pixels, (x[row], y[row]), 21, mode="partial", fill_value=np.nan)
        np.testing.assert_allclose(stamp[0], there.data, rtol=1e-6)
        assert scale == pytest.approx(0.396, rel=1e-3)


CCD = {
    "decam": ("testcase4/images/decam/CP/V4.8.2/CP20170315/c4d_170316_062107_ooi_z_ls9.N2.fits", "z", 0.263),
    "90prime": ("mzlsbass2/images/90prime/CP/V2.3/CP20170429/ksb_170430_055945_ooi_r_ls9.CCD4.fits", "r", 0.454),
    "mosaic": ("mzlsbass2/images/mosaic/CP/V4.3/CP20160318/k4m_160319_075112_ooi_zd_ls9.CCD3.fits", "z", 0.257),
}


@pytest.mark.parametrize("camera", CCD)
def test_single_exposures(tmp_path: Path, camera: str) -> None:
    """Distorted projections, turned by right angles, weights in a file beside."""
    name, band, scale = CCD[camera]
    path = CCDS / name
    weight = fits.getdata(str(path).replace("_ooi_", "_oow_"), 1)
    pixels = np.where(weight > 0, fits.getdata(path, 1).astype(np.float64), np.nan)
    header, wcs = read_header(path, 1)
    zeropoint = fits.getheader(path, 0).get("MAGZERO", 25.0)
    x, y = np.array([50.3, 60.6, 70.2]), np.array([50.4, 40.1, 65.7])
    stamps, status, source = cut(tmp_path, path, *wcs.all_pix2world(x, y, 0), size=31, zeropoint=zeropoint)
    assert source.bands == (band,)
    assert not status
    factor = 10 ** (0.4 * (22.5 - zeropoint))
    matrix = np.array([[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    for row, (stamp, _, found) in stamps.items():
        there = Cutout2D(pixels, (x[row], y[row]), 31, mode="partial", fill_value=np.nan).data * factor
        turned, cards = (there.T, matrix[:, ::-1]) if abs(matrix[0, 1]) > abs(matrix[0, 0]) else (there, matrix)
        upright = turned[:: 1 if cards[1, 1] > 0 else -1, :: 1 if cards[0, 0] < 0 else -1]
        np.testing.assert_allclose(stamp[0], upright, rtol=1e-6)
        assert found == pytest.approx(scale, rel=0.01)


def test_same_sky_by_two_cameras_is_one_stamp(tmp_path: Path) -> None:
    """90prime g and r at 0.454 arcsec and MOSAIC z at 0.257, brought to the finer grid: fluxes stay."""
    path = CCDS / CCD["mosaic"][0]
    _, wcs = read_header(path, 1)
    ra, dec = wcs.all_pix2world([104.0], [102.0], 0)
    stamps, _, source = cut(tmp_path, CCDS / "mzlsbass2/images/**/*.fits", ra, dec, size=100)
    assert source.bands == ("g", "r", "z")
    stamp, _, scale = stamps[0]
    assert not np.isnan(stamp).any()
    coarse, _, coarse_scale = cut(tmp_path, CCDS / CCD["90prime"][0], ra, dec, size=57)[0][0]
    per_area = np.median(stamp[1]) / scale**2, np.median(coarse[0]) / coarse_scale**2
    assert per_area[0] == pytest.approx(per_area[1], rel=0.01)


def test_reprojected_as_by_others(tmp_path: Path) -> None:
    """Interpolation between grids, against reproject's."""
    reproject = pytest.importorskip("reproject")
    mosaic, bok = CCDS / CCD["mosaic"][0], CCDS / CCD["90prime"][0]
    _, wcs = read_header(mosaic, 1)
    ra, dec = wcs.all_pix2world([104.0], [102.0], 0)
    stamps, _, _ = cut(tmp_path, CCDS / "mzlsbass2/images/**/*.fits", ra, dec, size=61)
    stamp = stamps[0][0]
    header, bok_wcs = read_header(bok, 1)
    there, _ = reproject.reproject_interp((fits.getdata(bok, 1), bok_wcs), wcs, (208, 204), order="bicubic")
    matrix = np.array([[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    assert abs(matrix[0, 1]) > abs(matrix[0, 0])  # so this really is a turned image
    corners = [there[72:133, 74:135], there[72:133, 73:134]]
    sides = [
        np.corrcoef(image[::up, ::across].ravel(), stamp[1].ravel())[0, 1]
        for part in corners for image in (part, part.T) for up in (1, -1) for across in (1, -1)
    ]  # fmt: skip
    assert max(sides) > 0.999


def test_chart_of_one_arcsec_holds_surface_brightness() -> None:
    """What a cutout server gives at 1.0 arcsec per pixel, told by its noise and its stars: means, not sums.

    At the survey's depth, noise per native pixel is some 0.004 nanomaggies in g. Sums of 14.6 native pixels would have
    noise of 0.014 or more; the file has 0.0015, that of a mean.
    """
    from galcli.cutouts.fits_image import read_image
    from galcli.cutouts.header import NO_OVERRIDES

    noise = {}
    for name in ("temp_small", "temp_extended"):
        image = read_image(DATA / f"legacy-cutouts/{name}.fits", np.nan, np.nan, NO_OVERRIDES)
        g = image.raw[0].astype(np.float64)
        steps = (g[:, 4:] - g[:, :-4])[(g[:, 4:] != 0) & (g[:, :-4] != 0)] / np.sqrt(2)
        noise[name] = 1.4826 * np.median(np.abs(steps)) * image.rule.factor / image.rule.pixel_scale
    # Nanomaggies per arcsec: noise of an area grows with its side, so this is the same at any scale, but for
    # correlations between pixels. Without the factor the ratio would be 14.6 times smaller.
    assert 0.5 < noise["temp_extended"] / noise["temp_small"] < 3
