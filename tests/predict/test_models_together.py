"""Several models in one pass, models that feed others, optional outputs, and rows that a model cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from astropy.io import fits
from onnx import TensorProto

from galcli.predict.paths import RunPaths
from galcli.tables.status import ModelStatus, RowStatus
from tests.average import write_average
from tests.survey import Survey, make_survey, raw_rows, read_predictions, write_stacks
from tests.tiny_models import (
    NO_PIXELS,
    card_of,
    output,
    save,
    sha256,
    tensor_input,
    write_chain,
    write_classes,
    write_corners,
    write_index,
    write_logarithm,
)  # fmt: skip

Run = Callable[..., Any]


def predict(survey: Survey, *models: object, more: tuple[object, ...] = ()) -> list[str]:
    words = ["predict", survey.catalog, "-o", survey.out, "--threads", 1, "--device", "cpu", *more]
    return [str(word) for word in [*words, *(part for model in models for part in ("--model", model))]]


def test_same_columns_twice_get_a_suffix(survey: Survey, galcli: Run) -> None:
    twin = write_average(survey.root / "twin.onnx", 16, name="twin")
    galcli(*predict(survey, survey.model, twin, survey.model))
    rows = read_predictions(survey.out)
    assert [name for name in rows.dtype.names or () if name.startswith("AVG")] == [
        "AVG_FLUX", "AVG_STATUS", "AVG_FLUX_2", "AVG_STATUS_2", "AVG_FLUX_3", "AVG_STATUS_3",
    ]  # fmt: skip
    np.testing.assert_array_equal(rows["AVG_FLUX"], rows["AVG_FLUX_2"])
    np.testing.assert_array_equal(rows["AVG_FLUX"], rows["AVG_FLUX_3"])
    with fits.open(survey.out) as hdus:
        assert hdus["MODELS"].data["NAME"].tolist() == ["average", "twin", "average"]
    galcli("validate", survey.out)


def test_same_tables_twice_get_the_suffix_too(survey: Survey, galcli: Run) -> None:
    english = write_classes(survey.root / "english.onnx")
    german = write_classes(survey.root / "german.onnx", names=("gruen", "rot", "infrarot"))
    galcli(*predict(survey, english, german))
    with fits.open(survey.out) as hdus:
        assert hdus["CLS_NAMES"].data["LABEL"].tolist() == ["green", "red", "infrared"]
        assert hdus["CLS_NAMES_2"].data["LABEL"].tolist() == ["gruen", "rot", "infrarot"]
        columns = hdus["PREDICTIONS"].columns.names
        header = hdus["PREDICTIONS"].header
    assert header[f"TCOMM{columns.index('CLS_NR') + 1}"] == "row of CLS_NAMES"
    assert header[f"TCOMM{columns.index('CLS_NR_2') + 1}"] == "row of CLS_NAMES_2"
    rows = read_predictions(survey.out)
    translated = {"green": "gruen", "red": "rot", "infrared": "infrarot"}
    assert [translated[name] for name in rows["CLS_NAME"].tolist()] == rows["CLS_NAME_2"].tolist()
    galcli("validate", survey.out)


def test_one_pass_equals_a_run_for_each(survey: Survey, galcli: Run) -> None:
    models = [survey.model, write_corners(survey.root / "c.onnx"), write_classes(survey.root / "k.onnx")]
    galcli(*predict(survey, *models))
    together = read_predictions(survey.out)
    for model in models:
        galcli(*predict(survey, model, more=("--overwrite",)))
        alone = read_predictions(survey.out)
        for name in alone.dtype.names or ():
            np.testing.assert_array_equal(together[name], alone[name])


def test_row_that_a_model_cannot_do_is_null_for_that_model_only(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[[3, 20, 47], 0] -= 100  # the logarithm of a negative mean is NaN
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    galcli(*predict(survey, write_logarithm(survey.root / "log.onnx"), survey.model))
    rows = read_predictions(survey.out)
    failed = np.isin(np.arange(48), [3, 20, 47])
    np.testing.assert_array_equal(np.isnan(rows["LOG_G"]), failed)
    np.testing.assert_array_equal(rows["LOG_STATUS"], np.where(failed, int(ModelStatus.MODEL_ERROR), 0))
    np.testing.assert_array_equal(rows["STATUS"], np.where(failed, int(RowStatus.NO_PREDICTION), 0))
    assert np.isfinite(rows["AVG_FLUX"]).all()
    assert not rows["AVG_STATUS"].any()
    galcli("validate", survey.out)


def test_summary_counts_a_row_once_however_many_models_fail_on_it(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[[3, 20, 47], :, :12] = np.nan
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    said = galcli(*predict(survey, survey.model, write_corners(survey.root / "c.onnx"), more=("--max-fail", 50))).err
    assert "3 without a prediction" in said
    assert "  3 x too many pixels without data" in said
    listed = RunPaths(survey.out).problems.read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in listed] == ["3", "3", "20", "20", "47", "47"]  # one line for each model


def test_chained_model_is_fed_and_optional_ones_wait_to_be_asked(
    survey: Survey, galcli: Run, tiny_weights: Path
) -> None:
    write_chain(tiny_weights)
    write_index(tiny_weights, {"encoder": True, "doubler": False, "spectra": False})
    galcli(*predict(survey))
    rows = read_predictions(survey.out)
    model_columns = list(rows.dtype.names or ())[5:]
    assert model_columns == ["ENC_SUM", "ENC_STATUS", "DBL_VALUE", "DBL_STATUS"]
    np.testing.assert_allclose(rows["DBL_VALUE"], 2 * survey.means, rtol=1e-6)
    np.testing.assert_allclose(rows["ENC_SUM"], survey.means.sum(axis=1), rtol=1e-6)
    galcli("validate", survey.out)
    assert "columns: " in galcli(*predict(survey, more=("--with", "spectra")), code=4).error
    galcli(*predict(survey, more=("--with", "spectra", "--with", "more", "--overwrite")))
    rows = read_predictions(survey.out)
    assert list(rows.dtype.names or ())[5:] == [
        "ENC_SUM", "ENC_MORE", "ENC_STATUS", "DBL_VALUE", "DBL_STATUS", "SPC_VALUE", "SPC_STATUS",
    ]  # fmt: skip
    np.testing.assert_array_equal(rows["SPC_VALUE"], rows["DBL_VALUE"])
    galcli("validate", survey.out)


def test_chained_model_of_a_file_lies_beside_it(survey: Survey, galcli: Run) -> None:
    encoder, _ = write_chain(survey.root)
    galcli(*predict(survey, encoder))
    np.testing.assert_allclose(read_predictions(survey.out)["DBL_VALUE"], 2 * survey.means, rtol=1e-6)


def test_chained_row_is_null_where_its_encoder_is(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[5, 1] = np.nan
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    encoder, _ = write_chain(survey.root)
    galcli(*predict(survey, encoder))
    rows = read_predictions(survey.out)
    assert rows["ENC_STATUS"][5] == int(ModelStatus.MISSING_BAND)
    assert rows["DBL_STATUS"][5] == rows["ENC_STATUS"][5]
    assert np.isnan(rows["DBL_VALUE"][5]).all()
    assert rows["STATUS"][5] == int(RowStatus.NO_PREDICTION)
    assert np.isfinite(np.delete(rows["DBL_VALUE"], 5, axis=0)).all()
    galcli("validate", survey.out)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("absent", "no model named 'doubler'"),
        ("another version", "another version of doubler"),
        ("tensor", "encoder has no output inner/nothing to feed doubler"),
        ("input", "encoder feeds doubler with pixels, but its inputs are latent"),
        ("twice", "encoder feeds doubler with latent, latent, but its inputs are latent"),
        ("shape", "encoder cannot feed input latent of doubler: inner/latent has the shape ('N', 3), not (None, 4)"),
        ("type", "encoder cannot feed input latent of doubler: inner/latent is float32, not int64"),
        ("pixels", "encoder feeds average with latent, but its inputs are none"),
    ],
)
def test_broken_chain_is_refused_before_any_work(survey: Survey, galcli: Run, fault: str, words: str) -> None:
    encoder, reader = write_chain(survey.root)
    changed: dict[str, Any] = {}
    if fault == "absent":
        reader.unlink()
    elif fault == "another version":
        model = onnx.load(reader)
        model.producer_name = "somebody else"
        onnx.save(model, reader)
    elif fault in ("shape", "type"):
        fed = tensor_input("latent", (4,)) if fault == "shape" else tensor_input("latent", (3,), "i8")
        kind = TensorProto.FLOAT if fault == "shape" else TensorProto.INT64
        columns = [output("double", "DBL_VALUE", "f4" if fault == "shape" else "i8", fed["shape"], null=-1)]
        node = onnx.helper.make_node("Add", ["latent", "latent"], ["double"])
        card = card_of("doubler", "DBL", columns, inputs=[fed], **NO_PIXELS)
        save(reader, [node], {"double": (kind, fed["shape"])}, {}, card)
        changed = {"sha256": sha256(reader)}
    elif fault == "pixels":
        changed = {"name": "average", "sha256": sha256(survey.model)}
    else:
        bindings = {"tensor": {"inner/nothing": "latent"}, "input": {"inner/latent": "pixels"}}
        changed = {"bindings": bindings.get(fault, {"inner/latent": "latent", "sum": "latent"})}
    if changed:
        model = onnx.load(encoder)
        card = json.loads(model.metadata_props[0].value)
        card["chain"][0] |= changed
        model.metadata_props[0].value = json.dumps(card)
        onnx.save(model, encoder)
    assert words in galcli(*predict(survey, encoder), code=5).error
    assert not survey.out.with_name("predictions.fits.run").exists()


def test_unknown_group_names_those_there_are(survey: Survey, galcli: Run) -> None:
    encoder, _ = write_chain(survey.root)
    result = galcli(*predict(survey, encoder, more=("--with", "spectrum")), code=2)
    assert "more, spectra" in result.hint
    assert "none" in galcli(*survey.predict("--with", "x"), code=2).hint


def test_default_models_are_those_that_fit(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
    write_average(tiny_weights / "average.onnx", 16)
    write_average(tiny_weights / "infrared.onnx", 16, name="infrared", prefix="INF", fronts=[
        {"name": "flux:JHK", "bands": ["J", "H", "K"]},
    ])  # fmt: skip
    write_index(tiny_weights, {"average": True, "infrared": True})
    galcli(*predict(survey))
    assert "INF_STATUS" not in (read_predictions(survey.out).dtype.names or ())
    write_index(tiny_weights, {"average": False, "infrared": True})
    result = galcli(*predict(survey, more=("--overwrite",)), code=4)
    assert "flux:JHK" in result.error
    galcli(*predict(survey, "infrared", more=("--overwrite",)), code=4)


@pytest.mark.parametrize("loose", [False, True])
def test_default_models_that_the_cutouts_are_too_small_for(
    tmp_path: Path, galcli: Run, tiny_weights: Path, loose: bool
) -> None:
    survey = make_survey(tmp_path / "survey", 8, loose=loose)
    side = fits.getheader(next(survey.cutouts.rglob("*.fits")), 0 if loose else "PIXELS")["NAXIS1"] * 0.262
    write_average(tiny_weights / "average.onnx", 16, side / 16)
    # The limit is a tenth of the field without data; pixels at the edge count where half of them is covered.
    write_average(tiny_weights / "large.onnx", 16, side / 15.2, name="large", prefix="LRG")
    write_average(tiny_weights / "blind.onnx", 16, side / 14.1, name="blind", prefix="BLD")
    write_index(tiny_weights, {"average": True, "large": True, "blind": True})
    result = galcli(*predict(survey))
    names = read_predictions(survey.out).dtype.names or ()
    assert {"AVG_STATUS", "LRG_STATUS"} < set(names)
    assert "BLD_STATUS" not in names
    assert (read_predictions(survey.out)["LRG_STATUS"] == ModelStatus.EDGE).all()
    assert f"without blind, which sees {16 * side / 14.1:.3g} arcsec; the first cutouts show {side:.3g}" in result.err
    asked = galcli(*predict(survey, "blind", more=("--overwrite",)), code=3)
    told = (
        f"note: blind sees {16 * side / 14.1:.3g} arcsec; the first cutouts show {side:.3g} arcsec: rows with so small"
    )
    assert told in asked.err
    assert (read_predictions(survey.out)["BLD_STATUS"] == ModelStatus.MASKED | ModelStatus.EDGE).all()
    write_index(tiny_weights, {"average": False, "large": False, "blind": True})  # better null values than none
    assert told in galcli(*predict(survey, more=("--overwrite",)), code=3).err
    assert (read_predictions(survey.out)["BLD_STATUS"] == ModelStatus.MASKED | ModelStatus.EDGE).all()


def test_no_model_at_all_is_said_plainly(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
    assert not list(tiny_weights.iterdir())
    result = galcli(*predict(survey), code=5)
    assert "no model" in result.error
    assert "--model" in result.hint


def test_front_is_chosen_and_can_be_forced(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict("--front", "flux:grz"))
    result = galcli(*survey.predict("--front", "display", "--overwrite"), code=4)
    assert "display" in result.error
    assert "flux:grz, display" in galcli(*survey.predict("--front", "flux:abc", "--overwrite"), code=2).hint


def test_forced_front_leaves_out_default_models_that_lack_it(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
    only = [{"name": "flux:zrg", "bands": ["z", "r", "g"]}]
    write_average(tiny_weights / "average.onnx", 16)
    write_average(tiny_weights / "other.onnx", 16, name="other", prefix="OTH", fronts=only)
    write_index(tiny_weights, {"average": True, "other": True})
    galcli(*predict(survey, more=("--front", "flux:zrg")))
    names = read_predictions(survey.out).dtype.names or ()
    assert "OTH_STATUS" in names
    assert "AVG_STATUS" not in names
    refused = galcli(*predict(survey, more=("--front", "flux:abc", "--overwrite")), code=2)
    assert "flux:grz, display, flux:zrg" in refused.hint


def test_model_that_another_one_feeds_is_refused_alone(
    survey: Survey, galcli: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    write_chain(tiny_weights)
    write_index(tiny_weights, {"encoder": False, "doubler": False, "spectra": False})
    for words in (predict(survey, "doubler"), ["plan", str(survey.catalog), "--model", "doubler"]):
        result = galcli(*words, code=5)
        assert "doubler is fed by another model, not by cutouts" in result.error
        assert "models list" in result.hint
    assert not RunPaths(survey.out).root.exists()
    shown = galcli("models", "show", "doubler").out
    assert "another model, with latent f4[3]: tensor latent" in shown
    assert "fronts" not in shown
    listed = " ".join(galcli("models", "list").out.split())
    assert listed.count("(fed by encoder)") == 2
    entries = json.loads(galcli("models", "list", "--json").out)
    assert {entry["name"]: entry["inputs"] for entry in entries} == {
        "encoder": [], "doubler": ["latent"], "spectra": ["latent"],
    }  # fmt: skip
    assert "doubler: good" in galcli("models", "verify").out
    assert "model doubler: SHA-256, card and graph fit" in galcli("doctor").out


def test_failing_batch_costs_only_the_rows_that_fail(
    tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that cannot do one object must not take its neighbours with it."""
    from galcli.errors import ModelError
    from galcli.models.session import Graph

    survey = make_survey(tmp_path / "s", 10)
    galcli(*survey.predict())
    whole = raw_rows(survey.out)
    run = Graph.run
    poison = survey.pixels[4, 0, 0, 0]

    def fail(self: Graph, feeds: Any, outputs: Any = None) -> Any:
        if "front" in feeds and (feeds["pixels"][:, 0, 0, 0] == poison).any():
            raise ModelError("onnxruntime failed")
        return run(self, feeds, outputs)

    monkeypatch.setattr(Graph, "run", fail)
    galcli(*survey.predict("--overwrite"))
    rows = read_predictions(survey.out)
    assert rows["AVG_STATUS"].tolist() == [0] * 4 + [int(ModelStatus.MODEL_ERROR)] + [0] * 5
    np.testing.assert_array_equal(np.delete(raw_rows(survey.out), 4), np.delete(whole, 4))
    together = survey.out.read_bytes()
    galcli(*survey.predict("--overwrite", "--batch-size", 1))
    assert survey.out.read_bytes() == together


def test_model_that_fails_on_everything_ends_the_run(
    tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galcli.errors import ModelError
    from galcli.models.session import Graph

    def fail(self: Graph, feeds: Any, outputs: Any = None) -> Any:
        raise ModelError("onnxruntime failed", "buy a larger one")

    for n, code in ((1, 3), (3, 5)):  # of a single row nobody knows whose fault it is
        survey = make_survey(tmp_path / f"s{n}", n)
        monkeypatch.setattr(Graph, "run", fail)
        galcli(*survey.predict(), code=code)
        monkeypatch.undo()
        galcli(*survey.predict("--overwrite"))
        assert not read_predictions(survey.out)["AVG_STATUS"].any()


def test_columns_may_be_called_like_tables(survey: Survey, galcli: Run) -> None:
    columns = [
        {"tensor": "mean", "column": name, "dtype": "f4", "shape": [3], "description": "mean"}
        for name in ("RUN", "MODELS")
    ]
    galcli(*predict(survey, write_average(survey.root / "run.onnx", 16, outputs=columns)))
    rows = read_predictions(survey.out)
    assert {"RUN", "MODELS"} <= set(rows.dtype.names or ())
    np.testing.assert_allclose(rows["RUN"], survey.means, rtol=1e-6)


def test_rows_that_a_model_cannot_do_are_listed(survey: Survey, galcli: Run) -> None:
    pixels = survey.pixels.copy()
    pixels[[3, 20], 0] -= 100
    pixels[7, :, 4:12, 4:12] = np.nan
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    galcli(*predict(survey, write_logarithm(survey.root / "log.onnx")))
    listed = survey.out.with_name("predictions.fits.problems.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in listed] == [3, 7, 20]
    assert [str(survey.ids[row]) for row in (3, 7, 20)] == [line.split(",")[1] for line in listed]
    assert "not finite" in listed[0]
    assert "without data" in listed[1]
