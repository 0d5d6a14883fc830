"""The same galaxy stored in every way a survey may store it gives the same prediction, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.survey import (
    SCALE,
    SIDE,
    Survey,
    make_survey,
    noise,
    read_predictions,
    write_catalog,
    write_stacks,
    write_stamp,
)
from tests.tiny_models import write_corners

Run = Callable[..., Any]

STEP = SCALE / 3600
#: (axes swapped, row 0 is north, column 0 is west)
ORIENTATIONS = list(itertools.product([False, True], repeat=3))


def turned(pixels: NDArray[Any], swapped: bool, north_first: bool, west_first: bool) -> tuple[NDArray[Any], Any]:
    """Pixels (B, H, W) as stored in another orientation, and the CD matrix that says so."""
    stored = pixels[:, :: -1 if north_first else 1, :: -1 if west_first else 1]
    north, east = (-STEP if north_first else STEP), (STEP if west_first else -STEP)
    if swapped:  # FITS axis 1 runs along the declination
        return np.ascontiguousarray(stored.swapaxes(1, 2)), [[0, east], [north, 0]]
    return np.ascontiguousarray(stored), [[east, 0], [0, north]]


def corners(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """What the corner model should say about (B, H, W) with row 0 south and column 0 east."""
    return pixels[:, [[0, 0], [-1, -1]], [[0, -1], [0, -1]]].astype(np.float32)


def test_orientation_band_order_and_number_type(tmp_path: Path, galcli: Run) -> None:
    """8 orientations x 6 orders of the bands x 6 number types, each a row of one catalogue."""
    root = tmp_path / "s"
    folder = root / "cutouts"
    folder.mkdir(parents=True)
    galaxy = np.rint(noise(1, seed=3)[0] * 50).astype(np.float32)
    kinds: dict[str, dict[str, Any]] = {
        "f4": {}, "f8": {}, "i4": {}, "i2": {}, "i2 scaled": {"BSCALE": 0.5, "BZERO": -20.0}, "i2 unsigned": {"BZERO": 32768},
    }  # fmt: skip
    names, index = [], {band: number for number, band in enumerate("grz")}
    for case in itertools.product(ORIENTATIONS, itertools.permutations("grz"), kinds):
        orientation, order, kind = case
        stored, cd = turned(galaxy[[index[band] for band in order]], *orientation)
        cards = kinds[kind]
        values = (stored - cards.get("BZERO", 0)) / cards.get("BSCALE", 1)
        names.append(f"g{len(names):03d}")
        path = folder / f"{names[-1]}.fits"
        write_stamp(path, values.astype(kind.split()[0]), 150.0, 2.0, "".join(order), cd)
        for key, value in cards.items():  # afterwards: fitsio would scale the values
            with fitsio.FITS(str(path), "rw") as file:
                file[0].write_key(key, value)
    n = len(names)
    write_catalog(root / "catalog.fits", NAME=np.array(names, "S"), RA=np.full(n, 150.0), DEC=np.full(n, 2.0))
    model = write_corners(root / "corners.onnx")
    galcli("predict", root / "catalog.fits", "--model", model, "-o", root / "p.fits", "--threads", 1)
    rows = read_predictions(root / "p.fits")
    assert not rows["STATUS"].any()
    expected = corners(galaxy)
    wrong = [names[i] for i in range(n) if not np.array_equal(rows["CRN_FLUX"][i], expected)]
    assert not wrong


def test_the_matrix_can_fail(tmp_path: Path) -> None:
    """No two orientations store the same pixels under the same matrix: none is skipped by a symmetry."""
    galaxy = noise(1, seed=3)[0]
    seen = {(turned(galaxy, *o)[0].tobytes(), str(turned(galaxy, *o)[1])) for o in ORIENTATIONS}
    assert len(seen) == 8
    assert len({pixels for pixels, _ in seen}) == 8


def test_stacks_written_in_any_band_order(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 6)
    model = write_corners(survey.root / "corners.onnx")
    tables = []
    for number, order in enumerate(itertools.permutations(range(3))):
        write_stacks(
            survey.cutouts, survey.ids, survey.ra, survey.dec, survey.pixels[:, order], bands=["grz"[i] for i in order]
        )
        out = survey.root / f"{number}.fits"
        galcli(*survey.predict("--model", model, out=out))
        tables.append(out.read_bytes())
    assert len(set(tables)) == 1


def test_bands_option_names_the_planes_in_file_order(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 6, loose=True)
    for number in range(6):
        name = survey.cutouts / f"{survey.ids[number]}.fits"
        write_stamp(name, survey.pixels[number, ::-1], survey.ra[number], survey.dec[number], bands="")
    galcli(*survey.predict(), code=4)
    galcli(*survey.predict("--bands", "zrg", "--zeropoint", 22.5))
    np.testing.assert_allclose(read_predictions(survey.out)["AVG_FLUX"], survey.means, rtol=1e-6)


@pytest.mark.parametrize("missing", ["z", "g"])
def test_model_whose_bands_are_not_there_is_refused(survey: Survey, galcli: Run, missing: str) -> None:
    bands = {"z": ["g", "r", "i"], "g": ["u", "r", "z"]}[missing]
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, survey.pixels, bands=bands)
    result = galcli(*survey.predict(), code=4)
    assert "flux:grz" in result.error
    assert f"{', '.join(bands)}; flux:grz lacks {missing}" in result.error


def test_default_models_say_what_is_missing(tmp_path: Path, galcli: Run) -> None:
    """A hint to name the bands is for files that do not name them."""
    survey = make_survey(tmp_path / "s", 2, loose=True)
    for named in (True, False):
        for number in range(2):
            name = survey.cutouts / f"{survey.ids[number]}.fits"
            pixels = survey.pixels[number, :2]
            write_stamp(name, pixels, survey.ra[number], survey.dec[number], bands="gz" if named else "")
        given = [] if named else ["--bands", "gz", "--zeropoint", 22.5]
        result = galcli("predict", survey.catalog, "-o", survey.out, *given, code=4)
        assert "flux in g, z; flux:grz lacks r" in result.error
        assert ("--bands" in result.err) != named


def test_further_bands_do_no_harm(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 6)
    galcli(*survey.predict())
    before = read_predictions(survey.out)
    pixels = np.concatenate(
        [noise(6, seed=9, bands=1), survey.pixels[:, :2], noise(6, seed=8, bands=1), survey.pixels[:, 2:]], 1
    )
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels, bands="ugriz")
    galcli(*survey.predict("--overwrite"))
    np.testing.assert_array_equal(read_predictions(survey.out), before)


def test_zero_point_scales_the_flux(survey: Survey, galcli: Run) -> None:
    said = galcli(*survey.predict("--zeropoint", 25.0)).err
    assert "--zeropoint 25 holds for all cutouts, whatever their headers say" in said
    expected = survey.means * 10 ** (0.4 * (22.5 - 25.0))
    np.testing.assert_allclose(read_predictions(survey.out)["AVG_FLUX"], expected, rtol=1e-5)


def test_pixel_scale_is_believed_over_the_header(survey: Survey, galcli: Run) -> None:
    """Twice as large pixels: the model's field is the inner quarter."""
    galcli(*survey.predict("--pixel-scale", 2 * SCALE))
    rows = read_predictions(survey.out)
    inner = slice(SIDE // 4, -SIDE // 4)
    expected = survey.pixels[:, :, inner, inner].mean(axis=(2, 3), dtype=np.float64) / 4
    np.testing.assert_allclose(rows["AVG_FLUX"], expected, rtol=1e-5)
    galcli(*survey.predict("--pixel-scale", 100 * SCALE, "--overwrite"), code=3)
    assert (read_predictions(survey.out)["AVG_STATUS"] == 4).all()


def test_what_large_images_hold_back_is_said(tmp_path: Path, galcli: Run) -> None:
    """Zeros that no weight map explains, and a file that is none."""
    survey = make_survey(tmp_path / "s", 2)
    pixels = noise(1, side=200)[0]
    pixels[:, :, :97] = 0
    folder = survey.root / "field"
    folder.mkdir()
    cards = {"BUNIT": "nanomaggy", "SURVEY": "other"}
    write_stamp(folder / "a.fits", pixels, survey.ra[0], survey.dec[0], **cards)
    (folder / "b.fits").write_bytes(b"no FITS file")
    result = galcli(*survey.predict("--cutouts", folder, "--max-fail", 100))
    assert "1 files of images could not be used" in result.err
    assert "1 stamps are exactly zero in more than a tenth of their pixels, and no weight map says why" in result.err
