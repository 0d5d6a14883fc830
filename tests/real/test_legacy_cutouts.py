"""Known facts about real cutouts, told by other people's files."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image as Pillow

from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.cutouts.files import FileSource
from galcli.cutouts.header import NO_OVERRIDES
from galcli.cutouts.lookup import list_folder, parse_iau
from galcli.tables.status import RowStatus

DATA = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared/data"))
LEGACY, DECALS, SDSS = (DATA / name for name in ("legacy-cutouts", "decals-png", "sdss-metallicity"))

pytestmark = pytest.mark.skipif(not LEGACY.is_dir(), reason=f"no real data in {DATA} (GALCLI_REAL_DATA)")

#: The galaxy of example_a and temp_small.
GALAXY = (146.714208787, -1.04128156958)


def request_of(names: list[str], ra: Any = None, dec: Any = None) -> CutoutRequest:
    n = len(names)
    ra, dec = (np.full(n, np.nan) if values is None else np.asarray(values) for values in (ra, dec))
    return CutoutRequest(np.array([name.encode() for name in names]), ra, dec, np.arange(n, dtype=np.int64))


def read(
    folder: Path, request: CutoutRequest, batch_size: int = 16
) -> tuple[dict[int, Any], dict[int, int], FileSource]:
    source = FileSource(list_folder(folder), request, NO_OVERRIDES)
    good: dict[int, Any] = {}
    bad: dict[int, int] = {}
    for item in source.read(request, batch_size):
        if isinstance(item, Failures):
            bad |= dict(zip(item.index.tolist(), item.status.tolist(), strict=True))
            continue
        for k, row in enumerate(item.index.tolist()):
            good[row] = (item.pixels[k].copy(), float(item.pixel_scale[k]), tuple(item.center[k].tolist()))
    return good, bad, source


def aperture(pixels: NDArray[np.float32], scale: float, center: tuple[float, float], radius: float) -> Any:
    """Flux of each band inside a circle [arcsec], edge pixels counted by the area inside."""
    y, x = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    steps = (np.arange(10) + 0.5) / 10 - 0.5
    inside = np.mean(
        [np.hypot(x + a - center[0], y + b - center[1]) * scale < radius for a in steps for b in steps], axis=0
    )
    return np.nansum(pixels * inside, axis=(1, 2))


@pytest.mark.parametrize("radius", [3, 10, 18])
def test_same_galaxy_at_two_scales_has_the_same_flux(radius: float) -> None:
    good, _, source = read(LEGACY, request_of(["example_a", "temp_small"], [GALAXY[0]] * 2, [GALAXY[1]] * 2))
    assert (source.kind, source.bands, source.survey) == ("flux", ("g", "r", "z"), "decals")
    assert [round(good[row][1], 4) for row in (0, 1)] == [0.1, 0.262]
    fine, coarse = (aperture(*good[row], radius) for row in (0, 1))
    np.testing.assert_allclose(fine, coarse, rtol=0.02)
    if radius == 18:  # r = 14.6 mag: a galaxy, not a factor of 6.9 off
        assert 22.5 - 2.5 * np.log10(coarse[1]) == pytest.approx(14.63, abs=0.05)


def test_pixels_are_those_astropy_reads() -> None:
    good, _, _ = read(LEGACY, request_of(["temp_small", "temp_extended"]))
    expected = fits.getdata(LEGACY / "temp_small.fits").astype(np.float32)
    np.testing.assert_array_equal(good[0][0], expected)
    raw = fits.getdata(LEGACY / "temp_extended.fits").astype(np.float32)
    expected = np.where(raw == 0, np.nan, raw * np.float32((1 / 0.262) ** 2))
    np.testing.assert_allclose(good[1][0], expected, rtol=1e-6)


def test_unobserved_pixels_are_nan() -> None:
    """Coverage stated by those who published the file: 75.7 % of g and 72.8 % of r are exactly zero."""
    good, _, _ = read(LEGACY, request_of(["example_bad_pix"]))
    missing = np.isnan(good[0][0]).mean(axis=(1, 2))
    assert missing == pytest.approx([0.757, 0.728, 0.0], abs=6e-4)


def test_truncated_download_costs_its_row_only() -> None:
    names = ["example_a", "example_incomplete", "temp_small", "absent"]
    good, bad, _ = read(LEGACY, request_of(names))
    assert bad == {1: int(RowStatus.CORRUPT_CUTOUT), 3: int(RowStatus.MISSING_CUTOUT)}
    alone, _, _ = read(LEGACY, request_of(["example_a", "temp_small"]))
    np.testing.assert_array_equal(good[0][0], alone[0][0])
    np.testing.assert_array_equal(good[2][0], alone[1][0])


def test_position_in_the_image_agrees_with_astropy() -> None:
    for name in ("example_a", "example_b", "temp_small", "temp_extended"):
        header = fits.getheader(LEGACY / f"{name}.fits")
        wcs = WCS(header, naxis=2)
        ra, dec = (float(value) for value in wcs.all_pix2world(60.25, 141.75, 0))
        good, _, _ = read(LEGACY, request_of([name], [ra], [dec]))
        assert good[0][2] == pytest.approx((60.25, 141.75), abs=1e-3)


def test_neighbouring_galaxy_is_not_in_the_cutout() -> None:
    _, bad, _ = read(LEGACY, request_of(["temp_small", "example_a"], [GALAXY[0] + 0.05, 10.0], [GALAXY[1], 10.0]))
    assert bad == {0: int(RowStatus.MISSING_CUTOUT), 1: int(RowStatus.MISSING_CUTOUT)}


def test_galaxy_zoo_images_are_found_by_position() -> None:
    names = sorted(path.stem for path in DECALS.glob("*.png"))
    positions = np.array([parse_iau(name) for name in names])
    request = CutoutRequest(
        np.arange(len(names)) + 1000, positions[:, 0] + 0.5 / 3600, positions[:, 1], np.arange(len(names))
    )
    good, bad, source = read(DECALS, request)
    assert not bad
    assert source.kind == "display"
    for row, name in enumerate(names):
        with Pillow.open(DECALS / f"{name}.png") as image:
            colour = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(good[row][0][2, ::-1], colour[..., 0] * np.float32(1 / 255))
        assert good[row][0].shape == (3, 424, 424)


def test_sdss_jpegs_are_found_by_objid() -> None:
    with (SDSS / "catalogs/train.csv").open() as file:
        ids = np.array([int(line["objID"]) for line in csv.DictReader(file)], np.int64)
    there = np.array([(SDSS / f"train/{one}.jpg").exists() for one in ids.tolist()])
    request = CutoutRequest(ids, np.full(len(ids), np.nan), np.full(len(ids), np.nan), np.arange(len(ids)))
    good, bad, _ = read(SDSS / "train", request, 64)
    assert sorted(good) == np.flatnonzero(there).tolist()
    assert set(bad.values()) <= {int(RowStatus.MISSING_CUTOUT)}
    assert all(
        pixels.shape == (3, 128, 128) and 0 <= pixels.min() < pixels.max() <= 1 for pixels, _, _ in good.values()
    )
