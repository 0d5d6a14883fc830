"""Models of catalogue columns, alone or beside pixels: what they are fed, which rows they predict, and when they run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from galcli.predict.engine import TILE_ROWS, Engine
from galcli.predict.rowwise import BLOCK
from galcli.tables.status import MODEL_STATUS_MEANING, ModelStatus, RowStatus
from tests.predict.conftest import halt
from tests.survey import Survey, make_survey, raw_rows, read_predictions, write_catalog, write_stacks
from tests.tiny_models import (
    NO_PIXELS,
    backbone_of,
    card_of,
    change_card,
    input_column,
    link_to,
    output,
    save,
    tensor_input,
    write_both,
    write_columns,
    write_index,
    write_perceptron,
)

Run = Callable[..., Any]

MISSING_COLUMN, MISSING_BAND = int(ModelStatus.MISSING_COLUMN), int(ModelStatus.MISSING_BAND)
NO_PREDICTION, BAD_COORD = int(RowStatus.NO_PREDICTION), int(RowStatus.BAD_COORD)
MISSING_CUTOUT, CORRUPT_CUTOUT = int(RowStatus.MISSING_CUTOUT), int(RowStatus.CORRUPT_CUTOUT)

#: What the models here want: a magnitude that must be there, one that may be missing, and a number.
COLUMNS = [
    input_column("petroMag_r", high=9000, aliases=[{"name": "FLUX_R", "quantity": "flux", "unit": "nanomaggy"}]),
    input_column("w1mpro", system="Vega", missing="nan", ab_minus_vega=2.699, high=9000),
    input_column("ebv", "value", unit="mag"),
]


@dataclass(frozen=True)
class Sky:
    """A catalogue with the columns of `COLUMNS` in one folder with models, and what these should see."""

    root: Path
    count: int

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.fits"

    @property
    def out(self) -> Path:
        return self.root / "predictions.fits"

    def predict(self, model: Path, *more: object, out: Path | None = None) -> list[str]:
        """Arguments of a run without cutouts."""
        words = ["predict", self.catalog, "--model", model, "-o", out or self.out, "--threads", 1, "--device", "cpu"]
        return [str(word) for word in (*words, *more)]


def photometry(count: int, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Columns that the models want, all there."""
    draw = np.random.default_rng(seed)
    return {
        "petroMag_r": draw.uniform(13, 19, count), "w1mpro": draw.uniform(11, 16, count).astype(np.float32),
        "ebv": draw.uniform(0, 0.1, count).astype(np.float32),
    }  # fmt: skip


def make_sky(root: Path, count: int = 300, **changes: NDArray[Any]) -> Sky:
    """A catalogue without cutouts, over some 40 x 40 degrees."""
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    where = {"RA": draw.uniform(100, 140, count), "DEC": draw.uniform(-20, 20, count)}
    columns = {"OBJECT_ID": np.arange(count, dtype=np.int64) * 3 + 11, **where, **photometry(count), **changes}
    write_catalog(root / "catalog.fits", **columns)
    return Sky(root, count)


@pytest.fixture
def sky(tmp_path: Path) -> Sky:
    return make_sky(tmp_path / "sky")


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """The model that writes what it is fed."""
    return write_columns(tmp_path / "seen.onnx", COLUMNS)


@pytest.fixture
def perceptron(tmp_path: Path) -> Path:
    return write_perceptron(tmp_path / "perceptron.onnx", COLUMNS)


@pytest.fixture
def mixed(tmp_path: Path) -> Survey:
    """48 galaxies with columns and cutouts."""
    return make_survey(tmp_path / "mixed", **photometry(48))


def stacked(columns: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return np.stack(list(columns.values()), 1).astype(np.float32)


def test_a_model_of_columns_needs_no_cutouts(sky: Sky, seen: Path, galcli: Run, monkeypatch: Any) -> None:
    def found(*_: Any, **__: Any) -> None:
        raise AssertionError("somebody looked for cutouts")

    monkeypatch.setattr("galcli.predict.choice.find_source", found)
    told = galcli(*sky.predict(seen)).err
    assert "300 rows; cutouts: none" in told
    assert "), columns petroMag_r, w1mpro, ebv" in told
    assert " from " not in told
    rows = read_predictions(sky.out)
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(300)).tobytes()
    assert rows["COL_THERE"].all()
    assert not rows["STATUS"].any()
    assert not rows["COL_STATUS"].any()
    galcli("validate", sky.out, "--catalog", sky.catalog)


def test_cutouts_named_in_vain_are_told(sky: Sky, seen: Path, galcli: Run) -> None:
    assert "the cutouts are not looked at" in galcli(*sky.predict(seen, "--cutouts", "nowhere")).err


def test_rows_without_a_value(tmp_path: Path, seen: Path, galcli: Run) -> None:
    """One that is needed costs the row its prediction; one that may be missing comes as NaN."""
    columns = photometry(8)
    columns["petroMag_r"][[0, 1]] = np.nan, -9999.0
    columns["w1mpro"][[1, 2, 3]] = np.nan, np.inf, 9999.0
    sky = make_sky(tmp_path / "sky", 8, **columns)
    told = galcli(*sky.predict(seen, "--max-fail", 30)).err
    assert "no usable value of" not in told.split("8 rows in")[0]  # before the run: of less than half of the rows
    rows = read_predictions(sky.out)
    lost = np.arange(8) < 2
    np.testing.assert_array_equal(rows["COL_STATUS"], np.where(lost, MISSING_COLUMN, 0))
    np.testing.assert_array_equal(rows["STATUS"], np.where(lost, NO_PREDICTION, 0))
    assert np.isnan(rows["COL_SEEN"][lost]).all()
    expected = stacked(columns)[~lost]
    expected[:2, 1] = 0
    np.testing.assert_array_equal(rows["COL_SEEN"][~lost], expected)
    np.testing.assert_array_equal(rows["COL_THERE"][~lost, 1], [False, False, True, True, True, True])
    galcli("validate", sky.out)
    listed = (tmp_path / "sky/predictions.fits.problems.csv").read_text().splitlines()[1:]
    reason = f"seen: petroMag_r [mag, AB]: {MODEL_STATUS_MEANING[ModelStatus.MISSING_COLUMN]}"
    assert [line.split(",", 2)[2].strip('"') for line in listed] == [reason] * 2
    assert "  2 x a catalogue column the model needs" in told
    assert galcli(*sky.predict(seen, out=tmp_path / "p.fits"), code=3).error.startswith("2 of 8 rows")


@pytest.mark.parametrize(("outside", "told"), [(0.45, False), (0.55, True)])
def test_a_model_that_finds_most_of_its_rows_odd_is_told(
    tmp_path: Path, seen: Path, perceptron: Path, galcli: Run, outside: float, told: bool
) -> None:  # fmt: skip
    """Most of the rows that it predicts, however many another model does without."""
    columns = photometry(40)
    columns["petroMag_r"][:30] = np.nan
    sky = make_sky(tmp_path / "sky", 40, **columns)
    other = write_perceptron(tmp_path / "other.onnx", COLUMNS[1:], prefix="OTH")
    galcli(*sky.predict(other, out=tmp_path / "o.fits"))
    level = float(np.quantile(read_predictions(tmp_path / "o.fits")["OTH_MEAN"], 1 - outside))
    change_card(other, domain={"column": "OTH_MEAN", "threshold": level})
    err = galcli(*sky.predict(seen, "--model", other, "--max-fail", 100)).err
    assert ("most rows are unlike what that model learned" in err) == told


def test_columns_that_are_mostly_empty_are_told_before_the_run(tmp_path: Path, seen: Path, galcli: Run) -> None:
    columns = photometry(8)
    columns["petroMag_r"][:5], columns["w1mpro"][:6] = np.nan, -9999.0
    told = galcli(*make_sky(tmp_path / "sky", 8, **columns).predict(seen, "--max-fail", 100)).err
    before = told.split("8 rows in")[0]
    rest = " of the first 8 rows; seen {0} (units and ranges: galcli models show " + f"{seen})"
    assert f"no usable value of petroMag_r [mag, AB] in 62.5 %{rest.format('predicts no such row')}" in before
    assert f"no usable value of w1mpro [mag, Vega] in 75 %{rest.format('does without')}" in before


def test_a_column_that_may_be_missing_need_not_be_there(tmp_path: Path, seen: Path, galcli: Run) -> None:
    columns = photometry(8)
    without = {name: values for name, values in columns.items() if name != "w1mpro"}
    sky = Sky(tmp_path, 8)
    write_catalog(sky.catalog, OBJECT_ID=np.arange(8), RA=np.zeros(8), DEC=np.zeros(8), **without)
    told = galcli(*sky.predict(seen)).err
    assert "note: no column for w1mpro; seen does without (where one is called otherwise: --map w1mpro=COLUMN)" in told
    rows = read_predictions(sky.out)
    assert not rows["COL_STATUS"].any()
    np.testing.assert_array_equal(rows["COL_THERE"], [[True, False, True]] * 8)
    galcli("validate", sky.out, "--catalog", sky.catalog)
    write_catalog(sky.catalog, OBJECT_ID=np.arange(8), RA=np.zeros(8), DEC=np.zeros(8), **columns)
    galcli(*sky.predict(seen, "--overwrite"))
    assert read_predictions(sky.out)["COL_THERE"].all()


def test_other_names_and_units_are_told_and_converted(tmp_path: Path, seen: Path, galcli: Run) -> None:
    sky, columns = make_sky(tmp_path / "sky"), photometry(300)
    flux = 10 ** (0.4 * (22.5 - columns["petroMag_r"]))
    w1 = 10 ** (0.4 * (22.5 - columns["w1mpro"].astype(np.float64) - 2.699))
    write_catalog(
        sky.catalog, {"FLUX_R": "nanomaggy", "W1": "nanomaggies"}, OBJECT_ID=np.arange(300), RA=np.linspace(0, 9, 300),
        DEC=np.zeros(300), FLUX_R=flux, W1=w1, EBV=columns["ebv"],
    )  # fmt: skip
    told = galcli(*sky.predict(seen, "--map", "W1mpro=w1")).err
    assert "  petroMag_r from FLUX_R [nanomaggy, AB], w1mpro from W1 [nanomaggies, AB]\n" in told
    rows = read_predictions(sky.out)
    np.testing.assert_allclose(rows["COL_SEEN"], stacked(columns), rtol=2e-7)


def test_a_unit_that_nobody_understands_is_told(tmp_path: Path, seen: Path, galcli: Run) -> None:
    sky, columns = make_sky(tmp_path / "sky", 8), photometry(8)
    write_catalog(sky.catalog, {"petroMag_r": "magn.", "w1mpro": "mag"}, RA=np.zeros(8), DEC=np.zeros(8), **columns)
    told = galcli(*sky.predict(seen)).err
    assert "  petroMag_r from petroMag_r (unit 'magn.' not understood; taken as mag, AB)\n" in told
    np.testing.assert_array_equal(read_predictions(sky.out)["COL_SEEN"], stacked(columns))


def test_a_band_is_no_redshift(tmp_path: Path, galcli: Run) -> None:
    """Of a photometric catalogue, with units or without; the run takes the redshift of another name, or none."""
    redshift = input_column("Z", "value", unit="", low=-0.01, high=10, aliases=[{"name": "redshift"}])
    columns = [input_column("r"), redshift]
    model, sky = write_columns(tmp_path / "redshift.onnx", columns), make_sky(tmp_path / "sky", 8)
    bands = {band: np.full(8, 17.0) for band in "ugriz"}
    for units in ({}, dict.fromkeys("ugriz", "mag")):
        write_catalog(sky.catalog, units, RA=np.zeros(8), DEC=np.zeros(8), **bands)
        error = galcli(*sky.predict(model), code=4).error
        assert "needs column Z (or redshift); z beside g and r is the magnitude of a band" in error
        write_catalog(sky.catalog, units, RA=np.zeros(8), DEC=np.zeros(8), **bands, REDSHIFT=np.full(8, 0.1))
        told = galcli(*sky.predict(model, "--overwrite")).err
        assert "  Z from REDSHIFT\n" in told
        np.testing.assert_array_equal(read_predictions(sky.out)["COL_SEEN"], np.float32([[17, 0.1]] * 8))
    assert "column z is in mag" in galcli(*sky.predict(model, "--map", "Z=z", "--overwrite"), code=4).error


def test_rows_that_lie_nowhere_are_predicted(tmp_path: Path, seen: Path, mixed: Survey, galcli: Run) -> None:
    """Their magnitudes say as much as those of others; a model of pixels cannot know which cutout is theirs."""
    ra = np.where(np.arange(300) % 7 == 0, np.nan, 120.0)
    sky = make_sky(tmp_path / "sky", RA=ra)
    galcli(*sky.predict(seen))
    rows = read_predictions(sky.out)
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(300)).tobytes()
    np.testing.assert_array_equal(rows["STATUS"], np.where(np.isnan(ra), BAD_COORD, 0))
    galcli("validate", sky.out)
    plan = galcli("plan", sky.catalog, "--model", seen).out
    assert "43 rows have bad coordinates\n" in plan
    ra = np.where(np.arange(48) < 2, 400.0, mixed.ra)
    write_catalog(mixed.catalog, OBJECT_ID=mixed.ids, RA=ra, DEC=mixed.dec, **photometry(48))
    galcli(*mixed.predict("--model", seen))
    rows = read_predictions(mixed.out)
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(48)).tobytes()
    np.testing.assert_array_equal(rows["STATUS"], np.where(np.arange(48) < 2, BAD_COORD | NO_PREDICTION, 0))
    galcli("validate", mixed.out)


def test_one_tile_of_many_rows(tmp_path: Path, perceptron: Path, galcli: Run) -> None:
    """More than are computed at a time: in parts, the values as those of other tiles."""
    count = TILE_ROWS + 3 * BLOCK + 5
    sky = make_sky(tmp_path / "sky", count)
    galcli(*sky.predict(perceptron))
    nowhere = make_sky(tmp_path / "nowhere", count, RA=np.full(count, np.nan))
    galcli(*nowhere.predict(perceptron))
    for name in ("MLP_Y", "MLP_LOG", "MLP_TOTAL", "MLP_MEAN"):
        assert read_predictions(sky.out)[name].tobytes() == read_predictions(nowhere.out)[name].tobytes()


def test_rows_without_cutouts_keep_what_columns_tell(mixed: Survey, seen: Path, tmp_path: Path, galcli: Run) -> None:
    shutil.rmtree(mixed.cutouts)
    there = np.arange(48) >= 12
    write_stacks(mixed.cutouts, mixed.ids[there], mixed.ra[there], mixed.dec[there], mixed.pixels[there])
    both = write_both(tmp_path / "both.onnx", COLUMNS)
    galcli(*mixed.predict("--model", seen, "--model", both, "--max-fail", 30))
    rows = read_predictions(mixed.out)
    np.testing.assert_array_equal(rows["STATUS"], np.where(there, 0, MISSING_CUTOUT | NO_PREDICTION))
    for name in ("AVG_STATUS", "BTH_STATUS"):
        np.testing.assert_array_equal(rows[name], np.where(there, 0, MISSING_BAND))
    assert not rows["COL_STATUS"].any()
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(48)).tobytes()
    np.testing.assert_allclose(rows["BTH_MEAN"][there], mixed.means[there], rtol=1e-5)
    assert rows["BTH_SEEN"][there].tobytes() == stacked(photometry(48))[there].tobytes()
    galcli("validate", mixed.out)


def test_a_damaged_stack_does_not_take_them_back(mixed: Survey, seen: Path, galcli: Run) -> None:
    """Found after its cutouts were predicted: its checksum is summed while they are read."""
    path = sorted(mixed.cutouts.rglob("*.fits"))[0]
    content = bytearray(path.read_bytes())
    content[2880 * 3 + 100] ^= 1
    path.write_bytes(content)
    galcli(*mixed.predict("--model", seen, "--max-fail", 100))
    rows = read_predictions(mixed.out)
    damaged = (rows["STATUS"] & CORRUPT_CUTOUT) != 0
    assert 0 < damaged.sum() < 48
    assert np.isnan(rows["AVG_FLUX"][damaged]).all()
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(48)).tobytes()
    assert not rows["COL_STATUS"].any()
    galcli("validate", mixed.out)


def test_a_value_missing_beside_pixels(mixed: Survey, tmp_path: Path, galcli: Run) -> None:
    columns = photometry(48)
    columns["petroMag_r"][::5] = -9999
    columns["w1mpro"][::7] = np.nan
    write_catalog(mixed.catalog, OBJECT_ID=mixed.ids, RA=mixed.ra, DEC=mixed.dec, **columns)
    both = write_both(tmp_path / "both.onnx", COLUMNS)
    galcli(*mixed.predict("--model", both, "--max-fail", 30))
    rows, lost = read_predictions(mixed.out), np.arange(48) % 5 == 0
    np.testing.assert_array_equal(rows["BTH_STATUS"], np.where(lost, MISSING_COLUMN, 0))
    np.testing.assert_array_equal(rows["STATUS"], np.where(lost, NO_PREDICTION, 0))
    np.testing.assert_allclose(rows["BTH_MEAN"][~lost], mixed.means[~lost], rtol=1e-5)
    np.testing.assert_array_equal(rows["BTH_SEEN"][~lost], np.nan_to_num(stacked(columns))[~lost])
    np.testing.assert_allclose(rows["AVG_FLUX"], mixed.means, rtol=1e-5)
    galcli("validate", mixed.out)


WAYS = [["--batch-size", 1], ["--batch-size", 7], ["--threads", 2], ["--threads", 3], ["--workers", 2]]


@pytest.mark.parametrize("how", WAYS, ids=lambda how: " ".join(map(str, how)))
def test_bytes_do_not_depend_on_how_the_work_is_cut(
    mixed: Survey, perceptron: Path, tmp_path: Path, galcli: Run, how: list[Any]
) -> None:
    both = write_both(tmp_path / "both.onnx", COLUMNS)
    models = ["--model", perceptron, "--model", both, "--order", 2]
    galcli(*mixed.predict(*models))
    galcli(*mixed.predict(*models, *how, out=tmp_path / "p.fits"))
    assert (tmp_path / "p.fits").read_bytes() == mixed.out.read_bytes()


def test_a_rows_bytes_depend_on_the_row_alone(tmp_path: Path, perceptron: Path, galcli: Run) -> None:
    """Whatever tile it is in, and whichever rows beside it have a prediction."""
    count = 1000
    columns = photometry(count)
    sky = make_sky(tmp_path / "sky", count, **columns)
    galcli(*sky.predict(perceptron, "--order", 0))
    expected = raw_rows(sky.out)
    for order in (2, 4):
        galcli(*sky.predict(perceptron, "--order", order, out=tmp_path / f"{order}.fits"))
        np.testing.assert_array_equal(raw_rows(tmp_path / f"{order}.fits"), expected)
    kept = np.random.default_rng(3).random(count) < 0.6
    columns["petroMag_r"][~kept] = np.nan
    fewer = make_sky(tmp_path / "fewer", count, **columns)
    galcli(*fewer.predict(perceptron, "--max-fail", 100))
    np.testing.assert_array_equal(raw_rows(fewer.out)[kept], expected[kept])


def test_killed_and_resumed(mixed: Survey, perceptron: Path, tmp_path: Path, galcli: Run) -> None:
    galcli(*mixed.predict("--order", 3, "--model", perceptron, out=tmp_path / "p.fits"))
    halt(mixed, galcli, "--model", perceptron)
    assert "going on" in galcli(*mixed.predict("--order", 3, "--model", perceptron)).err
    assert mixed.out.read_bytes() == (tmp_path / "p.fits").read_bytes()


def test_shards(sky: Sky, perceptron: Path, tmp_path: Path, galcli: Run) -> None:
    galcli(*sky.predict(perceptron, "--order", 3, out=tmp_path / "p.fits"))
    for shard in ("0/2", "1/2"):
        galcli(*sky.predict(perceptron, "--order", 3, "--shard", shard))
    galcli("merge", f"{sky.out}.run")
    assert sky.out.read_bytes() == (tmp_path / "p.fits").read_bytes()


@pytest.mark.parametrize("layout", ["hats", "hats-fits"])
def test_folders(tmp_path: Path, seen: Path, galcli: Run, layout: str) -> None:
    sky = make_sky(tmp_path / "sky", RA=np.where(np.arange(300) < 3, np.nan, 120.0))
    galcli(*sky.predict(seen, "--layout", layout, out=tmp_path / "folder"))
    told = galcli("validate", tmp_path / "folder", "--catalog", sky.catalog).out
    assert "300 rows" in told


def test_another_mapping_or_unit_is_another_run(mixed: Survey, seen: Path, galcli: Run) -> None:
    halt(mixed, galcli, "--model", seen, "--columns", "ebv")
    words = [*mixed.predict("--order", 3, "--columns", "ebv"), "--model", str(seen)]
    refused = galcli(*words, "--map", "petroMag_r=w1mpro", code=4)
    assert "models.1.columns.petroMag_r: petroMag_r [mag, AB] -> w1mpro [mag, AB]" in refused.error
    columns = photometry(48)
    units = {"ebv": "mmag"}
    write_catalog(mixed.catalog, units, OBJECT_ID=mixed.ids, RA=mixed.ra, DEC=mixed.dec, **columns)
    assert "models.1.columns.ebv: ebv [mag] -> ebv [mmag]" in galcli(*words, code=4).error
    write_catalog(mixed.catalog, OBJECT_ID=mixed.ids, RA=mixed.ra, DEC=mixed.dec, **columns)
    galcli(*words, "--map", "petromag_r=PETROMAG_R")  # which it is called anyway
    assert read_predictions(mixed.out)["COL_SEEN"].tobytes() == stacked(columns).tobytes()


def test_columns_that_are_passed_through_too(sky: Sky, seen: Path, tmp_path: Path, galcli: Run) -> None:
    galcli(*sky.predict(seen, "--columns", "ebv,petroMag_r"))
    rows = read_predictions(sky.out)
    np.testing.assert_array_equal(rows["EBV"], photometry(300)["ebv"])
    np.testing.assert_array_equal(rows["PETROMAG_R"], photometry(300)["petroMag_r"])
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(300)).tobytes()
    twice = write_columns(tmp_path / "twice.onnx", [input_column("ebv", "value"), input_column("RA", "value")], "TWC")
    galcli(*sky.predict(seen, "--model", twice, out=tmp_path / "p.fits"))
    rows = read_predictions(tmp_path / "p.fits")
    np.testing.assert_array_equal(
        rows["TWC_SEEN"], np.stack([photometry(300)["ebv"], rows["RA"].astype(np.float32)], 1)
    )


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        (["--map", "absent=ebv"], 2, "no model takes a column absent", "theirs are petroMag_r, w1mpro, ebv"),
        (["--map", "ebv=absent"], 4, "no column absent", ""),
        (["--map", "ebv=RA", "--map", "EBV=DEC"], 2, "names two columns for EBV", "one"),
        (["--map", "ebv"], 2, "not of the form NAME=COLUMN", ""),
        (["--front", "flux:grz"], 2, "no model has a front", "their fronts are none"),
    ],
)
def test_refusals(sky: Sky, seen: Path, galcli: Run, words: list[str], code: int, error: str, hint: str) -> None:
    refused = galcli(*sky.predict(seen, *words), code=code)
    assert error in refused.error
    assert hint in refused.hint
    assert not sky.out.exists()


def test_a_column_that_is_missing_is_named(sky: Sky, tmp_path: Path, galcli: Run) -> None:
    model = write_columns(tmp_path / "more.onnx", [*COLUMNS, input_column("w2mpro", aliases=[{"name": "W2"}])])
    for command in ("predict", "plan"):
        refused = galcli(command, sky.catalog, "--model", model, code=4)
        assert "more needs column w2mpro (or W2)" in refused.error
        assert "--map w2mpro=COLUMN" in refused.hint
    assert "w2mpro" in galcli("evaluate", model, "--catalog", sky.catalog, "--label", "COL_SEEN=x", code=4).error


def test_models_that_others_feed(sky: Sky, tmp_path: Path, galcli: Run) -> None:
    """Below a model of columns, by its card or by theirs, in blocks as that one."""
    node, fed = helper.make_node, [tensor_input("latent", (3,))]
    for name, prefix in (("chained", "CHN"), ("stood", "STD")):
        told = [output("half", f"{prefix}_VALUE", shape=(3,))]
        more = {"inputs": fed, **NO_PIXELS}
        if name == "stood":
            more["backbone"] = backbone_of(tmp_path / "top.onnx", {"inner/seen": "latent"})
        nodes = [node("Log", ["latent"], ["half"])]
        path = save(
            tmp_path / f"{name}.onnx",
            nodes,
            {"half": (TensorProto.FLOAT, [3])},
            {},
            card_of(name, prefix, told, **more),
        )
        if name == "chained":
            write_columns(tmp_path / "top.onnx", COLUMNS, chain=[link_to(path, {"inner/seen": "latent"})])
    columns = photometry(300)
    columns["w1mpro"][4] = np.nan  # its logarithm is that of 0
    columns["ebv"][9] = np.nan
    sky = make_sky(tmp_path / "sky", **columns)
    galcli(*sky.predict(tmp_path / "stood.onnx", "--columns", "ebv"))
    rows, good = read_predictions(sky.out), np.ones(300, bool)
    good[[4, 9]] = False
    for prefix in ("CHN", "STD"):
        np.testing.assert_allclose(rows[f"{prefix}_VALUE"][good], np.log(stacked(columns)[good]), rtol=1e-6)
        assert rows[f"{prefix}_STATUS"][[4, 9]].tolist() == [int(ModelStatus.MODEL_ERROR), MISSING_COLUMN]
    galcli("validate", sky.out)
    galcli(
        *sky.predict(tmp_path / "stood.onnx", "--columns", "ebv", "--threads", 2, "--order", 3, out=tmp_path / "p.fits")
    )
    np.testing.assert_array_equal(raw_rows(tmp_path / "p.fits"), raw_rows(sky.out))


def test_rows_on_which_a_model_fails_cost_no_others(tmp_path: Path, galcli: Run) -> None:
    """A table of three numbers, looked up by a column: other numbers have no place in it."""
    nodes = [
        helper.make_node("Cast", ["columns"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["whole", "one"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["y"]),
    ]
    constants = {"one": np.array([1]), "table": np.array([1, 4, 9], np.float32)}
    card = card_of("lookup", "LUT", [output("y", "LUT_Y")], **NO_PIXELS, columns=[input_column("k", "value")])
    model = save(tmp_path / "lookup.onnx", nodes, {"y": (TensorProto.FLOAT, [])}, constants, card)
    k = np.arange(300) % 3
    k[[17, 200]] = 7, -9
    sky = make_sky(tmp_path / "sky", k=k)
    galcli(*sky.predict(model, "--order", 0))
    rows, bad = read_predictions(sky.out), ~np.isin(k, [0, 1, 2])
    np.testing.assert_array_equal(rows["LUT_STATUS"], np.where(bad, int(ModelStatus.MODEL_ERROR), 0))
    np.testing.assert_array_equal(rows["LUT_Y"][~bad], (k[~bad] + 1) ** 2)
    broken = make_sky(tmp_path / "broken", k=k + 50)
    assert "fails on every row" in galcli(*broken.predict(model), code=5).error


def test_in_lanes(mixed: Survey, perceptron: Path, tmp_path: Path, galcli: Run, lanes: list[Engine]) -> None:
    """As on a GPU: columns go up with the pixels."""
    columns = photometry(48)
    columns["petroMag_r"][::5] = np.nan
    write_catalog(mixed.catalog, OBJECT_ID=mixed.ids, RA=mixed.ra, DEC=mixed.dec, **columns)
    both = write_both(tmp_path / "both.onnx", COLUMNS)
    galcli(*mixed.predict("--model", both, "--model", perceptron, "--max-fail", 30))
    assert lanes
    rows, lost = read_predictions(mixed.out), np.arange(48) % 5 == 0
    np.testing.assert_array_equal(rows["BTH_STATUS"], np.where(lost, MISSING_COLUMN, 0))
    np.testing.assert_array_equal(rows["BTH_SEEN"][~lost], stacked(columns)[~lost])
    np.testing.assert_allclose(rows["BTH_MEAN"][~lost], mixed.means[~lost], rtol=1e-5)
    assert np.isfinite(rows["MLP_Y"][~lost]).all()


def defaults(folder: Path, *names: str) -> None:
    write_index(folder, dict.fromkeys(names, True))


def test_default_models_of_columns_run_without_cutouts_only(
    mixed: Survey, tiny_weights: Path, galcli: Run, tmp_path: Path
) -> None:
    write_columns(tiny_weights / "numbers.onnx", COLUMNS)
    shutil.copy(mixed.model, tiny_weights / "average.onnx")
    write_both(tiny_weights / "both.onnx", COLUMNS)
    defaults(tiny_weights, "average", "numbers", "both")
    galcli("predict", mixed.catalog, "-o", mixed.out)
    names = read_predictions(mixed.out).dtype.names or ()
    assert {"AVG_FLUX", "BTH_MEAN"} < set(names)
    assert "COL_SEEN" not in names
    alone = shutil.copy(mixed.catalog, tmp_path / "alone.fits")
    told = galcli("predict", alone, "-o", tmp_path / "p.fits").err
    assert "note: no cutouts found for" in told
    assert "so only models of catalogue columns run: numbers" in told
    rows = read_predictions(tmp_path / "p.fits")
    assert "AVG_FLUX" not in (rows.dtype.names or ())
    assert not rows["STATUS"].any()
    assert rows["COL_SEEN"].tobytes() == stacked(photometry(48)).tobytes()
    # Cutouts that are named must be there.
    galcli("predict", alone, "-o", tmp_path / "q.fits", "--cutouts", tmp_path / "none", code=4)
    # And so must columns, of which nobody would notice that the model is left out.
    for catalog in (mixed.catalog, alone):
        mistyped = galcli("predict", catalog, "-o", tmp_path / "q.fits", "--map", "petroMag_r=TYPO", code=4)
        assert "TYPO" in mistyped.error


def test_a_default_model_whose_columns_are_missing_is_left_out(
    survey: Survey, tiny_weights: Path, galcli: Run, tmp_path: Path
) -> None:
    shutil.copy(survey.model, tiny_weights / "average.onnx")
    write_both(tiny_weights / "both.onnx", COLUMNS)
    write_columns(tiny_weights / "numbers.onnx", COLUMNS)
    defaults(tiny_weights, "average", "numbers", "both")
    told = galcli("predict", survey.catalog, "-o", survey.out).err
    assert "note: a default model is left out:" in told
    assert "both needs columns petroMag_r (or FLUX_R), ebv" in told
    assert "BTH_MEAN" not in (read_predictions(survey.out).dtype.names or ())
    alone = shutil.copy(survey.catalog, tmp_path / "alone.fits")
    refused = galcli("predict", alone, "-o", tmp_path / "p.fits", code=4)
    assert "no cutouts found" in refused.error
    assert "numbers needs columns petroMag_r" in refused.error
    assert "--cutouts" in refused.hint
    assert "--map" in refused.hint
    defaults(tiny_weights, "both")
    refused = galcli("predict", survey.catalog, "-o", tmp_path / "p.fits", code=4)
    assert "no default model fits" in refused.error
    assert "both needs columns" in refused.error
    assert "no cutouts found" in galcli("predict", alone, "-o", tmp_path / "p.fits", code=4).error


def test_plan_and_status(sky: Sky, seen: Path, galcli: Run) -> None:
    told = galcli("predict", sky.catalog, "--model", seen, "--dry-run").out
    assert "cutouts: none\n" in told
    assert "on the first 300 rows" in told
    assert "have a cutout" not in told
    plan = json.loads(galcli("plan", sky.catalog, "--model", seen, "--json").out)
    assert (plan["rows"], plan["probed"], plan["found"]) == (300, 300, None)
    galcli(*sky.predict(seen, "--keep-tiles"))
    assert "300" in galcli("status", sky.out).out


def test_evaluate(tmp_path: Path, galcli: Run) -> None:
    """The model says its first column; the labels are that and 0.5 more."""
    nodes = [helper.make_node("Squeeze", ["columns", "one"], ["y"])]
    told = [output("y", "ONE_MAG")]
    label = {"output": "ONE_MAG", "column": "truth"}
    training = {"data": "none", "mock": True, "objects": 0, "seed": 0, "epochs": 0, "preset": "none", "labels": [label]}
    card = card_of("one", "ONE", told, **NO_PIXELS, columns=[input_column("m")], training=training)
    model = save(tmp_path / "one.onnx", nodes, {"y": (TensorProto.FLOAT, [])}, {"one": np.array([1])}, card)
    sky = make_sky(tmp_path / "sky", truth=photometry(300)["petroMag_r"] + 0.5)
    words = ["evaluate", model, "--catalog", sky.catalog, "--map", "m=petroMag_r", "--json"]
    (score,) = json.loads(galcli(*words).out)["scores"]
    assert score["objects"] == 300
    assert score["bias"] == pytest.approx(-0.5, abs=1e-5)
    assert score["sigma_mad"] == pytest.approx(0, abs=1e-5)
    assert "--map m=COLUMN" in galcli(*words[:4], code=4).hint


def test_show_lists_columns_and_other_names(seen: Path, galcli: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = " ".join(galcli("models", "show", seen).out.split())
    assert "petroMag_r mag, AB below 9000 no prediction FLUX_R (flux, nanomaggy, AB)" in shown
    assert "w1mpro mag, Vega below 9000 predicted without" in shown
    assert "petroMagErr_u value, mag 0 to 90" in " ".join(galcli("models", "show", "mass-photometry").out.split())
    assert "ebv value, mag" in shown
    assert "pixels" not in shown
