"""A bad cutout costs its own row: all others come out bit for bit as if it had been good."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from galcli.tables.status import ModelStatus, RowStatus
from tests.survey import SCALE, SIDE, Survey, make_survey, noise, raw_rows, read_predictions, write_catalog, write_stamp
from tests.tiny_models import write_network

Run = Callable[..., Any]

N = 24
MISSING = int(RowStatus.MISSING_CUTOUT | RowStatus.NO_PREDICTION)
CORRUPT = int(RowStatus.CORRUPT_CUTOUT | RowStatus.NO_PREDICTION)
CONSTANT = int(RowStatus.CONSTANT | RowStatus.NO_PREDICTION)
UNPREDICTED = int(RowStatus.NO_PREDICTION)


def changed(**cards: Any) -> Callable[[Path, Any], None]:
    return lambda path, pixels: write_stamp(path, pixels, **cards) and None


def pixels_with(change: Callable[[Any], Any]) -> Callable[[Path, Any], None]:
    def damage(path: Path, pixels: Any) -> None:
        write_stamp(path, np.asarray(change(pixels.copy()), np.float32))

    return damage


def put(pixels: Any, where: Any, value: float) -> Any:
    pixels[where] = value
    return pixels


def content(change: Callable[[bytes], bytes]) -> Callable[[Path, Any], None]:
    return lambda path, pixels: path.write_bytes(change(path.read_bytes())) and None


#: What happens to a cutout, the STATUS of its row, and the status the model gives it (None: values, not null).
DAMAGE: dict[str, tuple[Callable[[Path, Any], Any], int, int]] = {
    "removed": (lambda path, pixels: path.unlink(), MISSING, 1),
    "cut in the data": (content(lambda raw: raw[:3500]), CORRUPT, 1),
    "cut in the header": (content(lambda raw: raw[:500]), CORRUPT, 1),
    "empty": (content(lambda raw: b""), CORRUPT, 1),
    "an error page": (content(lambda raw: b"<html>503 Service Unavailable</html>"), CORRUPT, 1),
    "half a gzip": (content(lambda raw: gzip.compress(raw)[:-30]), CORRUPT, 1),
    "zeros": (content(lambda raw: bytes(len(raw))), CORRUPT, 1),
    "a folder": (lambda path, pixels: (path.unlink(), path.mkdir()), CORRUPT, 1),
    "all NaN": (pixels_with(lambda p: p * np.nan), CONSTANT, 1),
    "constant": (pixels_with(lambda p: p * 0 + 3), CONSTANT, 1),
    "all zero": (pixels_with(lambda p: p * 0), CONSTANT, 1),
    "all infinite": (pixels_with(lambda p: p * np.inf), CONSTANT, 1),
    "one band NaN": (pixels_with(lambda p: put(p, 1, np.nan)), UNPREDICTED, int(ModelStatus.MISSING_BAND)),
    "one band constant": (pixels_with(lambda p: put(p, 2, 5)), UNPREDICTED, int(ModelStatus.MISSING_BAND)),
    "half NaN": (pixels_with(lambda p: put(p, np.s_[:, :8], np.nan)), UNPREDICTED, int(ModelStatus.MASKED)),
    "centre NaN": (pixels_with(lambda p: put(p, np.s_[:, 7:9, 7:9], np.nan)), UNPREDICTED, int(ModelStatus.MASKED)),
    "one pixel NaN": (pixels_with(lambda p: put(p, (0, 2, 3), np.nan)), 0, 0),
    "one pixel infinite": (pixels_with(lambda p: put(p, (0, 2, 3), np.inf)), 0, 0),
    "a hot pixel": (pixels_with(lambda p: put(p, (0, 2, 3), 1e30)), 0, 0),
    "another scale": (changed(cd=np.diag([-2 * SCALE, 2 * SCALE]) / 3600), 0, 0),
    "no overlap": (changed(OVERLAP=False), MISSING, 1),
    "no bands": (changed(bands=" "), CORRUPT, 1),
    "another sky": (changed(dec=-60.0), MISSING, 1),
}


def place(survey: Survey, row: int) -> Path:
    return survey.cutouts / f"{survey.ids[row]}.fits"


def survey_at_one_place(root: Path) -> Survey:
    """All at the position that `write_stamp` gives unless told otherwise."""
    return make_survey(root, N, loose=True, ra=np.full(N, 120.0), dec=np.zeros(N))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> tuple[Any, Any, Path]:
    """Rows of an undamaged survey, on disk and native, and its two models."""
    survey = survey_at_one_place(tmp_path_factory.mktemp("clean") / "survey")
    network = write_network(survey.root / "network.onnx")
    galcli(*survey.predict("--model", network))
    return raw_rows(survey.out), read_predictions(survey.out), network


@pytest.mark.parametrize("what", DAMAGE)
def test_neighbours_are_bit_identical(clean: Any, galcli: Run, tmp_path: Path, what: str) -> None:
    raw, rows, network = clean
    damage, status, model_status = DAMAGE[what]
    survey = survey_at_one_place(tmp_path / "survey")
    bad = [0, 9, N - 1]
    for row in bad:
        damage(place(survey, row), survey.pixels[row])
    galcli(*survey.predict("--model", network, "--max-fail", 100))
    found = read_predictions(survey.out)
    np.testing.assert_array_equal(np.delete(raw_rows(survey.out), bad), np.delete(raw, bad))
    assert found["STATUS"][bad].tolist() == [status] * 3
    assert found["AVG_STATUS"][bad].tolist() == found["NET_STATUS"][bad].tolist()
    if model_status or status:
        assert found["AVG_STATUS"][bad].tolist() == [model_status] * 3
        assert np.isnan(found["AVG_FLUX"][bad]).all()
        assert np.isnan(found["NET_Y"][bad]).all()
    else:
        assert np.isfinite(found["AVG_FLUX"][bad]).all()
        assert (found["AVG_FLUX"][bad] != rows["AVG_FLUX"][bad]).any(axis=1).all()
    np.testing.assert_array_equal(found["OBJECT_ID"], survey.ids)
    galcli("validate", survey.out)


def test_everything_at_once(clean: Any, galcli: Run, tmp_path: Path) -> None:
    """Every kind of damage in one run, and what the run says about it."""
    raw, _, network = clean
    survey = survey_at_one_place(tmp_path / "survey")
    kinds = list(DAMAGE)[: N - 1]
    for row, what in enumerate(kinds, start=1):
        DAMAGE[what][0](place(survey, row), survey.pixels[row])
    result = galcli(*survey.predict("--model", network), code=3)
    found = read_predictions(survey.out)
    assert found["STATUS"].tolist() == [0] + [DAMAGE[what][1] for what in kinds]
    assert raw_rows(survey.out)[0] == raw[0]
    for name, bit in (("MISSING_CUTOUT", 2), ("CORRUPT_CUTOUT", 4), ("CONSTANT", 8), ("NO_PREDICTION", 16)):
        assert f"{name} {np.count_nonzero(found['STATUS'] & bit)}" in result.err
    listed = (survey.root / "predictions.fits.problems.csv").read_text().splitlines()[1:]
    rows = [int(line.split(",")[0]) for line in listed]
    assert rows == sorted(rows)
    assert set(rows) == set(np.flatnonzero(found["STATUS"]))  # one line for each model that gave nothing
    assert "no checksum" in result.err
    galcli("validate", survey.out)


@pytest.mark.parametrize("percent", [0, 12, 13, 100])
def test_max_fail(galcli: Run, tmp_path: Path, percent: int) -> None:
    """3 of 24 rows are 12.5 %."""
    survey = survey_at_one_place(tmp_path / "survey")
    for row in (1, 2, 3):
        place(survey, row).unlink()
    result = galcli(*survey.predict("--max-fail", percent), code=3 if percent < 12.5 else 0)
    assert len(read_predictions(survey.out)) == N
    if result.code:
        assert "3 of 24 rows (12.5 %)" in result.error
    # The same verdict when there is nothing left to do.
    assert galcli(*survey.predict("--max-fail", percent), code=result.code)


# --- stacks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["bit", "cut", "removed", "empty", "no table", "index bit"])
def test_damaged_stack_costs_its_own_rows(survey: Survey, galcli: Run, damage: str) -> None:
    galcli(*survey.predict("--order", 2))
    whole = raw_rows(survey.out)
    victim = sorted(survey.cutouts.rglob("Npix=*.fits"))[2]
    import fitsio

    ids = fitsio.read(str(victim), ext="INDEX")["TARGETID"]
    raw = bytearray(victim.read_bytes())
    if damage == "bit":
        raw[6000] ^= 1
    elif damage == "index bit":
        raw[raw.find(ids[:1].astype(">i8").tobytes()) + 7] ^= 1
    victim.write_bytes({"cut": raw[:-4000], "empty": b"", "no table": raw[:2880]}.get(damage, raw))
    if damage == "removed":
        victim.unlink()
    galcli(*survey.predict("--order", 2, "--overwrite", "--max-fail", 100))
    rows = read_predictions(survey.out)
    hit = np.isin(survey.ids, ids)
    assert hit.any()
    np.testing.assert_array_equal(raw_rows(survey.out)[~hit], whole[~hit])
    assert set(rows["STATUS"][hit].tolist()) == {MISSING if damage == "removed" else CORRUPT}
    galcli("validate", survey.out)


def test_stack_whose_index_marks_rows(tmp_path: Path, galcli: Run) -> None:
    from galcli.cutouts.stack_write import write_stack

    survey = make_survey(tmp_path / "s", 8)
    status = np.array([0, 2, 0, 4, 0, 8, 0, 0], np.int32)
    stack = survey.root / "catalog_cutouts.fits"
    write_stack(stack, survey.ids, survey.ra, survey.dec, survey.pixels, "grz", SCALE, status=status)
    galcli(*survey.predict("--cutouts", stack, "--max-fail", 50))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["STATUS"], np.where(status, status | 16, 0))


# --- display images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_broken_pictures_among_good_ones(tmp_path: Path, galcli: Run, ending: str) -> None:
    survey = make_survey(tmp_path / "s", 10, loose=True)
    for path in survey.cutouts.iterdir():
        path.unlink()
    levels = np.clip(noise(10, seed=5) * 12, 0, 255).astype(np.uint8)
    for row in range(10):
        picture = Image.fromarray(np.moveaxis(levels[row], 0, 2))
        picture.resize((SIDE, SIDE)).save(survey.cutouts / f"{survey.ids[row]}.{ending}")
    galcli(*survey.predict())
    whole = raw_rows(survey.out)
    rows = read_predictions(survey.out)
    if ending == "png":  # channels come red first, bands go blue first
        np.testing.assert_allclose(rows["AVG_FLUX"][:, ::-1], levels.mean(axis=(2, 3)) / 255, rtol=1e-5)
    first, second, third = (survey.cutouts / f"{survey.ids[row]}.{ending}" for row in (2, 5, 7))
    first.write_bytes(first.read_bytes()[:200])
    second.write_bytes(b"<html>not found</html>")
    third.unlink()
    galcli(*survey.predict("--overwrite", "--max-fail", 50))
    rows = read_predictions(survey.out)
    assert {i: int(s) for i, s in enumerate(rows["STATUS"]) if s} == {2: CORRUPT, 5: CORRUPT, 7: MISSING}
    np.testing.assert_array_equal(np.delete(raw_rows(survey.out), [2, 5, 7]), np.delete(whole, [2, 5, 7]))


def test_cutouts_that_are_not_there_are_looked_for_by_name(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 4)
    import shutil

    shutil.rmtree(survey.cutouts)
    result = galcli(*survey.predict(), code=4)
    for word in ("IMAGE", "file names", "cutouts", "catalog_cutouts.fits"):
        assert word in result.error
    assert "--cutouts" in result.hint
    galcli(*survey.predict("--cutouts", survey.root / "nowhere"), code=4)
    galcli(*survey.predict("--cutouts", survey.root), code=4)
    galcli(*survey.predict("--cutouts", survey.model), code=4)
    galcli(*survey.predict("--cutouts", "~nobody-of-that-name/x"), code=4)
    galcli(*survey.predict("--cutouts", "x" * 5000), code=4)
    galcli(*survey.predict("--cutouts", str(tmp_path / "*.fits")), code=4)
    galcli(*survey.predict("--cutouts", "stamps/{NOTHING}.fits"), code=4)


def test_cutouts_of_other_objects_are_not_enough(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 4)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids + 1, RA=survey.ra, DEC=survey.dec)
    galcli(*survey.predict(), code=3)
    assert (read_predictions(survey.out)["STATUS"] == MISSING).all()
