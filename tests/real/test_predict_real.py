"""Real cutouts, from the files that surveys gave out to a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galcli.cutouts.lookup import parse_iau
from galcli.tables.status import ModelStatus, RowStatus
from tests.average import write_average
from tests.survey import raw_rows, read_predictions, write_catalog

DATA = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared/data"))
LEGACY, DECALS, SDSS = (DATA / name for name in ("legacy-cutouts", "decals-png", "sdss-metallicity"))

pytestmark = pytest.mark.skipif(not LEGACY.is_dir(), reason=f"no real data in {DATA} (GALCLI_REAL_DATA)")

Run = Callable[..., Any]

NAMES = ["example_a", "temp_small", "example_b", "example_bad_pix", "example_incomplete", "temp_extended", "not_there"]
NO = int(RowStatus.NO_PREDICTION)


def position(name: str) -> tuple[float, float]:
    """Where the cutout points; anywhere for those that cannot be read."""
    if name in ("example_incomplete", "not_there"):
        return 10.0, 10.0
    header = fits.getheader(LEGACY / f"{name}.fits")
    return float(header["CRVAL1"]), float(header["CRVAL2"])


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> tuple[Path, Any]:
    """The Legacy Survey's own files, averaged over 144 px of 0.262 arcsec."""
    root = tmp_path_factory.mktemp("legacy")
    ra, dec = np.array([position(name) for name in NAMES]).T
    write_catalog(root / "galaxies.fits", NAME=np.array(NAMES, "S"), RA=ra, DEC=dec)
    write_average(root / "average.onnx")
    words = [
        "predict",
        root / "galaxies.fits",
        "--cutouts",
        LEGACY,
        "--model",
        root / "average.onnx",
        "-o",
        root / "p.fits",
    ]
    galcli(*words, "--threads", 1, "--max-fail", 100)
    return root, read_predictions(root / "p.fits")


def test_every_row_is_there_with_the_right_status(legacy: tuple[Path, Any], galcli: Run) -> None:
    root, rows = legacy
    assert rows["NAME"].tolist() == NAMES
    status = dict(zip(NAMES, rows["STATUS"].tolist(), strict=True))
    assert status["example_a"] == status["temp_small"] == status["example_b"] == 0
    assert status["example_incomplete"] == int(RowStatus.CORRUPT_CUTOUT) | NO
    assert status["not_there"] == int(RowStatus.MISSING_CUTOUT) | NO
    model = dict(zip(NAMES, rows["AVG_STATUS"].tolist(), strict=True))
    assert model["example_bad_pix"] == int(ModelStatus.MASKED)  # three quarters of g and r are unobserved
    assert model["temp_extended"] in (0, int(ModelStatus.EDGE))
    galcli("validate", root / "p.fits")


def test_same_galaxy_at_two_pixel_scales_has_the_same_flux(legacy: tuple[Path, Any]) -> None:
    _, rows = legacy
    fine, native = rows["AVG_FLUX"][NAMES.index("example_a")], rows["AVG_FLUX"][NAMES.index("temp_small")]
    assert (native > 0).all()
    # One field is 43 arcsec wide, the model's 38: the same sky, resampled by 2.6 and not at all.
    np.testing.assert_allclose(fine, native, rtol=0.02)


def test_flux_is_that_of_the_file(legacy: tuple[Path, Any]) -> None:
    """The file at the model's own scale is cropped, not resampled."""
    _, rows = legacy
    image = fits.getdata(LEGACY / "temp_small.fits").astype(np.float64)
    corner = (image.shape[1] - 144) // 2
    means = image[:, corner : corner + 144, corner : corner + 144].mean(axis=(1, 2))
    np.testing.assert_allclose(rows["AVG_FLUX"][NAMES.index("temp_small")], means, rtol=2e-3)


def test_broken_file_left_the_others_as_they_are(legacy: tuple[Path, Any], galcli: Run, tmp_path: Path) -> None:
    root, _ = legacy
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for name in NAMES[:4]:
        (folder / f"{name}.fits").symlink_to(LEGACY / f"{name}.fits")
    words = ["predict", root / "galaxies.fits", "--cutouts", folder, "--model", root / "average.onnx", "--threads", 1]
    galcli(*words, "-o", tmp_path / "p.fits", "--max-fail", 100, "--batch-size", 1)
    np.testing.assert_array_equal(raw_rows(tmp_path / "p.fits")[:4], raw_rows(root / "p.fits")[:4])


@pytest.mark.skipif(not DECALS.is_dir(), reason=f"no PNG images in {DATA}")
def test_pictures_named_by_position(galcli: Run, tmp_path: Path) -> None:
    with (DECALS / "example_ring_catalog_basic.csv").open() as file:
        ra, dec = np.array([parse_iau(row["id_str"]) for row in csv.DictReader(file)], np.float64).T
    write_catalog(tmp_path / "rings.fits", RA=ra + 0.5 / 3600, DEC=dec)
    model = write_average(tmp_path / "average.onnx")
    words = ["predict", tmp_path / "rings.fits", "--cutouts", DECALS, "--model", model, "-o", tmp_path / "p.fits"]
    result = galcli(*words, "--threads", 1, "--max-fail", 100)
    rows = read_predictions(tmp_path / "p.fits")
    good = rows["STATUS"] == 0
    assert good.sum() == len(list(DECALS.glob("*.png")))
    assert "pixels as display" in result.err
    assert ((rows["AVG_FLUX"][good] > 0) & (rows["AVG_FLUX"][good] < 1)).all()
    galcli("validate", tmp_path / "p.fits")


@pytest.mark.skipif(not SDSS.is_dir(), reason=f"no SDSS images in {DATA}")
def test_pictures_named_by_identifier(galcli: Run, tmp_path: Path) -> None:
    pictures = sorted((SDSS / "train").glob("*.jpg"))[:40]
    ids = np.array([int(path.stem) for path in pictures])
    write_catalog(tmp_path / "c.fits", OBJID=ids, RA=np.linspace(0, 300, len(ids)), DEC=np.zeros(len(ids)))
    model = write_average(tmp_path / "average.onnx")
    words = ["predict", tmp_path / "c.fits", "--cutouts", SDSS / "train", "--model", model, "-o", tmp_path / "p.fits"]
    galcli(*words, "--threads", 1)
    rows = read_predictions(tmp_path / "p.fits")
    np.testing.assert_array_equal(rows["OBJID"], ids)
    assert not rows["STATUS"].any()


def test_morphology_of_real_galaxies(tmp_path: Path, galcli: Run) -> None:
    """Ten featured, face-on galaxies of Galaxy Zoo DECaLS: none is edge-on or a cigar, and the pair is a merger."""
    names = sorted(path.stem for path in DECALS.glob("*.png"))
    ra, dec = np.array([parse_iau(name)[:2] for name in names]).T
    write_catalog(tmp_path / "galaxies.fits", NAME=np.array(names, "S"), RA=ra, DEC=dec)
    words = ("predict", tmp_path / "galaxies.fits", "--cutouts", DECALS, "--model", "dmagnet", "--threads", 1)
    galcli(*words, "-o", tmp_path / "p.fits")
    table = read_predictions(tmp_path / "p.fits")
    labels = dict(zip(names, table["MORPH_LABEL"].tolist(), strict=True))
    assert not {label for label in labels.values() if label.startswith(("Edge-on", "Cigar"))}
    assert labels["J004400.70+032145.3"] == "Merging"
    assert (table["MORPH_STATUS"] == 0).all()
    assert np.isnan(table["MORPH_ATT_DX"]).all()  # their scale is not told
