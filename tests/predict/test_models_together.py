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
 better null values than none  NO_PIXELS,
 better null values than none  card_of,
 better null values than none  output,
 better null values than none  save,
 better null values than none  sha256,
 better null values than none  tensor_input,
 better null values than none  write_chain,
 better null values than none  write_classes,
 better null values than none  write_corners,
 better null values than none  write_index,
 better null values than none  write_logarithm,
) better null values than none# fmt: skip

Run = Callable[..., Any]


def predict(survey: Survey, *models: object, more: tuple[object, ...] = ()) -> list[str]:
 better null values than none  words = ["predict", survey.catalog, "-o", survey.out, "--threads", 1, "--device", "cpu", *more]
 better null values than none  return [str(word) for word in [*words, *(part for model in models for part in ("--model", model))]]


def test_same_columns_twice_get_a_suffix(survey: Survey, galcli: Run) -> None:
 better null values than none  twin = write_average(survey.root / "twin.onnx", 16, name="twin")
 better null values than none  galcli(*predict(survey, survey.model, twin, survey.model))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  assert [name for name in rows.dtype.names or () if name.startswith("AVG")] == [
 better null values than none      "AVG_FLUX", "AVG_STATUS", "AVG_FLUX_2", "AVG_STATUS_2", "AVG_FLUX_3", "AVG_STATUS_3",
 better null values than none  ]  # fmt: skip
 better null values than none  np.testing.assert_array_equal(rows["AVG_FLUX"], rows["AVG_FLUX_2"])
 better null values than none  np.testing.assert_array_equal(rows["AVG_FLUX"], rows["AVG_FLUX_3"])
 better null values than none  with fits.open(survey.out) as hdus:
 better null values than none      assert hdus["MODELS"].data["NAME"].tolist() == ["average", "twin", "average"]
 better null values than none  galcli("validate", survey.out)


def test_same_tables_twice_get_the_suffix_too(survey: Survey, galcli: Run) -> None:
 better null values than none  english = write_classes(survey.root / "english.onnx")
 better null values than none  german = write_classes(survey.root / "german.onnx", names=("gruen", "rot", "infrarot"))
 better null values than none  galcli(*predict(survey, english, german))
 better null values than none  with fits.open(survey.out) as hdus:
 better null values than none      assert hdus["CLS_NAMES"].data["LABEL"].tolist() == ["green", "red", "infrared"]
 better null values than none      assert hdus["CLS_NAMES_2"].data["LABEL"].tolist() == ["gruen", "rot", "infrarot"]
 better null values than none      columns = hdus["PREDICTIONS"].columns.names
 better null values than none      header = hdus["PREDICTIONS"].header
 better null values than none  assert header[f"TCOMM{columns.index('CLS_NR') + 1}"] == "row of CLS_NAMES"
 better null values than none  assert header[f"TCOMM{columns.index('CLS_NR_2') + 1}"] == "row of CLS_NAMES_2"
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  translated = {"green": "gruen", "red": "rot", "infrared": "infrarot"}
 better null values than none  assert [translated[name] for name in rows["CLS_NAME"].tolist()] == rows["CLS_NAME_2"].tolist()
 better null values than none  galcli("validate", survey.out)


def test_one_pass_equals_a_run_for_each(survey: Survey, galcli: Run) -> None:
 better null values than none  models = [survey.model, write_corners(survey.root / "c.onnx"), write_classes(survey.root / "k.onnx")]
 better null values than none  galcli(*predict(survey, *models))
 better null values than none  together = read_predictions(survey.out)
 better null values than none  for model in models:
 better null values than none      galcli(*predict(survey, model, more=("--overwrite",)))
 better null values than none      alone = read_predictions(survey.out)
 better null values than none      for name in alone.dtype.names or ():
 better null values than none          np.testing.assert_array_equal(together[name], alone[name])


def test_row_that_a_model_cannot_do_is_null_for_that_model_only(survey: Survey, galcli: Run) -> None:
 better null values than none  pixels = survey.pixels.copy()
 better null values than none  pixels[[3, 20, 47], 0] -= 100  # the logarithm of a negative mean is NaN
 better null values than none  write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
 better null values than none  galcli(*predict(survey, write_logarithm(survey.root / "log.onnx"), survey.model))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  failed = np.isin(np.arange(48), [3, 20, 47])
 better null values than none  np.testing.assert_array_equal(np.isnan(rows["LOG_G"]), failed)
 better null values than none  np.testing.assert_array_equal(rows["LOG_STATUS"], np.where(failed, int(ModelStatus.MODEL_ERROR), 0))
 better null values than none  np.testing.assert_array_equal(rows["STATUS"], np.where(failed, int(RowStatus.NO_PREDICTION), 0))
 better null values than none  assert np.isfinite(rows["AVG_FLUX"]).all()
 better null values than none  assert not rows["AVG_STATUS"].any()
 better null values than none  galcli("validate", survey.out)


def test_summary_counts_a_row_once_however_many_models_fail_on_it(survey: Survey, galcli: Run) -> None:
 better null values than none  pixels = survey.pixels.copy()
 better null values than none  pixels[[3, 20, 47], :, :12] = np.nan
 better null values than none  write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
 better null values than none  said = galcli(*predict(survey, survey.model, write_corners(survey.root / "c.onnx"), more=("--max-fail", 50))).err
 better null values than none  assert "3 without a prediction" in said
 better null values than none  assert "  3 x too many pixels without data" in said
 better null values than none  listed = RunPaths(survey.out).problems.read_text().splitlines()[1:]
 better null values than none  assert [line.split(",")[0] for line in listed] == ["3", "3", "20", "20", "47", "47"]  # one line for each model


def test_chained_model_is_fed_and_optional_ones_wait_to_be_asked(
 better null values than none  survey: Survey, galcli: Run, tiny_weights: Path
) -> None:
 better null values than none  write_chain(tiny_weights)
 better null values than none  write_index(tiny_weights, {"encoder": True, "doubler": False, "spectra": False})
 better null values than none  galcli(*predict(survey))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  model_columns = list(rows.dtype.names or ())[5:]
 better null values than none  assert model_columns == ["ENC_SUM", "ENC_STATUS", "DBL_VALUE", "DBL_STATUS"]
 better null values than none  np.testing.assert_allclose(rows["DBL_VALUE"], 2 * survey.means, rtol=1e-6)
 better null values than none  np.testing.assert_allclose(rows["ENC_SUM"], survey.means.sum(axis=1), rtol=1e-6)
 better null values than none  galcli("validate", survey.out)
 better null values than none  assert "columns: " in galcli(*predict(survey, more=("--with", "spectra")), code=4).error
 better null values than none  galcli(*predict(survey, more=("--with", "spectra", "--with", "more", "--overwrite")))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  assert list(rows.dtype.names or ())[5:] == [
 better null values than none      "ENC_SUM", "ENC_MORE", "ENC_STATUS", "DBL_VALUE", "DBL_STATUS", "SPC_VALUE", "SPC_STATUS",
 better null values than none  ]  # fmt: skip
 better null values than none  np.testing.assert_array_equal(rows["SPC_VALUE"], rows["DBL_VALUE"])
 better null values than none  galcli("validate", survey.out)


def test_chained_model_of_a_file_lies_beside_it(survey: Survey, galcli: Run) -> None:
 better null values than none  encoder, _ = write_chain(survey.root)
 better null values than none  galcli(*predict(survey, encoder))
 better null values than none  np.testing.assert_allclose(read_predictions(survey.out)["DBL_VALUE"], 2 * survey.means, rtol=1e-6)


def test_chained_row_is_null_where_its_encoder_is(survey: Survey, galcli: Run) -> None:
 better null values than none  pixels = survey.pixels.copy()
 better null values than none  pixels[5, 1] = np.nan
 better null values than none  write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
 better null values than none  encoder, _ = write_chain(survey.root)
 better null values than none  galcli(*predict(survey, encoder))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  assert rows["ENC_STATUS"][5] == int(ModelStatus.MISSING_BAND)
 better null values than none  assert rows["DBL_STATUS"][5] == int(ModelStatus.MODEL_ERROR)
 better null values than none  assert np.isnan(rows["DBL_VALUE"][5]).all()
 better null values than none  assert rows["STATUS"][5] == int(RowStatus.NO_PREDICTION)
 better null values than none  assert np.isfinite(np.delete(rows["DBL_VALUE"], 5, axis=0)).all()
 better null values than none  galcli("validate", survey.out)


@pytest.mark.parametrize(
 better null values than none  ("fault", "words"),
 better null values than none  [
 better null values than none      ("absent", "no model named 'doubler'"),
 better null values than none      ("another version", "another version of doubler"),
 better null values than none      ("tensor", "encoder has no output inner/nothing to feed doubler"),
 better null values than none      ("input", "encoder feeds doubler with pixels, but its inputs are latent"),
 better null values than none      ("twice", "encoder feeds doubler with latent, latent, but its inputs are latent"),
 better null values than none      ("shape", "encoder cannot feed input latent of doubler: inner/latent has the shape ('N', 3), not (None, 4)"),
 better null values than none      ("type", "encoder cannot feed input latent of doubler: inner/latent is float32, not int64"),
 better null values than none      ("pixels", "encoder feeds average with latent, but its inputs are none"),
 better null values than none  ],
)
def test_broken_chain_is_refused_before_any_work(survey: Survey, galcli: Run, fault: str, words: str) -> None:
 better null values than none  encoder, reader = write_chain(survey.root)
 better null values than none  changed: dict[str, Any] = {}
 better null values than none  if fault == "absent":
 better null values than none      reader.unlink()
 better null values than none  elif fault == "another version":
 better null values than none      model = onnx.load(reader)
 better null values than none      model.producer_name = "somebody else"
 better null values than none      onnx.save(model, reader)
 better null values than none  elif fault in ("shape", "type"):
 better null values than none      fed = tensor_input("latent", (4,)) if fault == "shape" else tensor_input("latent", (3,), "i8")
 better null values than none      kind = TensorProto.FLOAT if fault == "shape" else TensorProto.INT64
 better null values than none      columns = [output("double", "DBL_VALUE", "f4" if fault == "shape" else "i8", fed["shape"], null=-1)]
 better null values than none      node = onnx.helper.make_node("Add", ["latent", "latent"], ["double"])
 better null values than none      card = card_of("doubler", "DBL", columns, inputs=[fed], **NO_PIXELS)
 better null values than none      save(reader, [node], {"double": (kind, fed["shape"])}, {}, card)
 better null values than none      changed = {"sha256": sha256(reader)}
 better null values than none  elif fault == "pixels":
 better null values than none      changed = {"name": "average", "sha256": sha256(survey.model)}
 better null values than none  else:
 better null values than none      bindings = {"tensor": {"inner/nothing": "latent"}, "input": {"inner/latent": "pixels"}}
 better null values than none      changed = {"bindings": bindings.get(fault, {"inner/latent": "latent", "sum": "latent"})}
 better null values than none  if changed:
 better null values than none      model = onnx.load(encoder)
 better null values than none      card = json.loads(model.metadata_props[0].value)
 better null values than none      card["chain"][0] |= changed
 better null values than none      model.metadata_props[0].value = json.dumps(card)
 better null values than none      onnx.save(model, encoder)
 better null values than none  assert words in galcli(*predict(survey, encoder), code=5).error
 better null values than none  assert not survey.out.with_name("predictions.fits.run").exists()


def test_unknown_group_names_those_there_are(survey: Survey, galcli: Run) -> None:
 better null values than none  encoder, _ = write_chain(survey.root)
 better null values than none  result = galcli(*predict(survey, encoder, more=("--with", "spectrum")), code=2)
 better null values than none  assert "more, spectra" in result.hint
 better null values than none  assert "none" in galcli(*survey.predict("--with", "x"), code=2).hint


def test_default_models_are_those_that_fit(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
 better null values than none  write_average(tiny_weights / "average.onnx", 16)
 better null values than none  write_average(tiny_weights / "infrared.onnx", 16, name="infrared", prefix="INF", fronts=[
 better null values than none      {"name": "flux:JHK", "bands": ["J", "H", "K"]},
 better null values than none  ])  # fmt: skip
 better null values than none  write_index(tiny_weights, {"average": True, "infrared": True})
 better null values than none  galcli(*predict(survey))
 better null values than none  assert "INF_STATUS" not in (read_predictions(survey.out).dtype.names or ())
 better null values than none  write_index(tiny_weights, {"average": False, "infrared": True})
 better null values than none  result = galcli(*predict(survey, more=("--overwrite",)), code=4)
 better null values than none  assert "flux:JHK" in result.error
 better null values than none  galcli(*predict(survey, "infrared", more=("--overwrite",)), code=4)


@pytest.mark.parametrize("loose", [False, True])
def test_default_models_that_the_cutouts_are_too_small_for(
 better null values than none  tmp_path: Path, galcli: Run, tiny_weights: Path, loose: bool
) -> None:
 better null values than none  survey = make_survey(tmp_path / "survey", 8, loose=loose)
 better null values than none  side = fits.getheader(next(survey.cutouts.rglob("*.fits")), 0 if loose else "PIXELS")["NAXIS1"] * 0.262
 better null values than none  write_average(tiny_weights / "average.onnx", 16, side / 16)
 better null values than none  # The limit is a tenth of the field without data, and half a pixel on each side: 15.2 of 16.
 better null values than none  write_average(tiny_weights / "large.onnx", 16, side / 15.2, name="large", prefix="LRG")
 better null values than none  write_average(tiny_weights / "blind.onnx", 16, side / 14.1, name="blind", prefix="BLD")
 better null values than none  write_index(tiny_weights, {"average": True, "large": True, "blind": True})
 better null values than none  result = galcli(*predict(survey))
 better null values than none  names = read_predictions(survey.out).dtype.names or ()
 better null values than none  assert {"AVG_STATUS", "LRG_STATUS"} < set(names)
 better null values than none  assert "BLD_STATUS" not in names
 better null values than none  assert (read_predictions(survey.out)["LRG_STATUS"] == ModelStatus.EDGE).all()
 better null values than none  assert f"without blind, which sees {16 * side / 14.1:.3g} arcsec; the first cutouts show {side:.3g}" in result.err
 better null values than none  galcli(*predict(survey, "blind", more=("--overwrite",)), code=3)
 better null values than none  assert (read_predictions(survey.out)["BLD_STATUS"] == ModelStatus.MASKED | ModelStatus.EDGE).all()
 better null values than none  write_index(tiny_weights, {"average": False, "large": False, "blind": True})  # better null values than none
 better null values than none  galcli(*predict(survey, more=("--overwrite",)), code=3)
 better null values than none  assert (read_predictions(survey.out)["BLD_STATUS"] == ModelStatus.MASKED | ModelStatus.EDGE).all()


def test_no_model_at_all_is_said_plainly(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
 better null values than none  assert not list(tiny_weights.iterdir())
 better null values than none  result = galcli(*predict(survey), code=5)
 better null values than none  assert "no model" in result.error
 better null values than none  assert "--model" in result.hint


def test_front_is_chosen_and_can_be_forced(survey: Survey, galcli: Run) -> None:
 better null values than none  galcli(*survey.predict("--front", "flux:grz"))
 better null values than none  result = galcli(*survey.predict("--front", "display", "--overwrite"), code=4)
 better null values than none  assert "display" in result.error
 better null values than none  assert "flux:grz, display" in galcli(*survey.predict("--front", "flux:abc", "--overwrite"), code=2).hint


def test_forced_front_leaves_out_default_models_that_lack_it(survey: Survey, galcli: Run, tiny_weights: Path) -> None:
 better null values than none  only = [{"name": "flux:zrg", "bands": ["z", "r", "g"]}]
 better null values than none  write_average(tiny_weights / "average.onnx", 16)
 better null values than none  write_average(tiny_weights / "other.onnx", 16, name="other", prefix="OTH", fronts=only)
 better null values than none  write_index(tiny_weights, {"average": True, "other": True})
 better null values than none  galcli(*predict(survey, more=("--front", "flux:zrg")))
 better null values than none  names = read_predictions(survey.out).dtype.names or ()
 better null values than none  assert "OTH_STATUS" in names
 better null values than none  assert "AVG_STATUS" not in names
 better null values than none  refused = galcli(*predict(survey, more=("--front", "flux:abc", "--overwrite")), code=2)
 better null values than none  assert "flux:grz, display, flux:zrg" in refused.hint


def test_model_that_wants_catalogue_columns_is_refused(survey: Survey, galcli: Run) -> None:
 better null values than none  card = card_of("sums", "SUM", [output("sum", "SUM")], columns=[{"name": "mag", "quantity": "mag"}] * 2, **NO_PIXELS)
 better null values than none  node = onnx.helper.make_node("ReduceSum", ["columns", "axis"], ["sum"], keepdims=0)
 better null values than none  path = save(survey.root / "sums.onnx", [node], {"sum": (TensorProto.FLOAT, [])}, {"axis": np.array([1])}, card)
 better null values than none  assert "wants catalogue columns" in galcli(*predict(survey, path), code=5).error


def test_model_that_another_one_feeds_is_refused_alone(
 better null values than none  survey: Survey, galcli: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
 better null values than none  monkeypatch.setenv("COLUMNS", "300")
 better null values than none  write_chain(tiny_weights)
 better null values than none  write_index(tiny_weights, {"encoder": False, "doubler": False, "spectra": False})
 better null values than none  for words in (predict(survey, "doubler"), ["plan", str(survey.catalog), "--model", "doubler"]):
 better null values than none      result = galcli(*words, code=5)
 better null values than none      assert "doubler is fed by another model, not by cutouts" in result.error
 better null values than none      assert "models list" in result.hint
 better null values than none  assert not RunPaths(survey.out).root.exists()
 better null values than none  shown = galcli("models", "show", "doubler").out
 better null values than none  assert "another model, with latent f4[3]: tensor latent" in shown
 better null values than none  assert "fronts" not in shown
 better null values than none  listed = " ".join(galcli("models", "list").out.split())
 better null values than none  assert listed.count("(fed by encoder)") == 2
 better null values than none  entries = json.loads(galcli("models", "list", "--json").out)
 better null values than none  assert {entry["name"]: entry["inputs"] for entry in entries} == {
 better null values than none      "encoder": [], "doubler": ["latent"], "spectra": ["latent"],
 better null values than none  }  # fmt: skip
 better null values than none  assert "doubler: good" in galcli("models", "verify").out
 better null values than none  assert "model doubler: SHA-256, card and graph fit" in galcli("doctor").out


def test_failing_batch_costs_only_the_rows_that_fail(
 better null values than none  tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
 better null values than none  """A model that cannot do one object must not take its neighbours with it."""
 better null values than none  from galcli.errors import ModelError
 better null values than none  from galcli.models.session import Graph

 better null values than none  survey = make_survey(tmp_path / "s", 10)
 better null values than none  galcli(*survey.predict())
 better null values than none  whole = raw_rows(survey.out)
 better null values than none  run = Graph.run
 better null values than none  poison = survey.pixels[4, 0, 0, 0]

 better null values than none  def fail(self: Graph, feeds: Any, outputs: Any = None) -> Any:
 better null values than none      if "front" in feeds and (feeds["pixels"][:, 0, 0, 0] == poison).any():
 better null values than none          raise ModelError("onnxruntime failed")
 better null values than none      return run(self, feeds, outputs)

 better null values than none  monkeypatch.setattr(Graph, "run", fail)
 better null values than none  galcli(*survey.predict("--overwrite"))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  assert rows["AVG_STATUS"].tolist() == [0] * 4 + [int(ModelStatus.MODEL_ERROR)] + [0] * 5
 better null values than none  np.testing.assert_array_equal(np.delete(raw_rows(survey.out), 4), np.delete(whole, 4))
 better null values than none  together = survey.out.read_bytes()
 better null values than none  galcli(*survey.predict("--overwrite", "--batch-size", 1))
 better null values than none  assert survey.out.read_bytes() == together


def test_model_that_fails_on_everything_ends_the_run(
 better null values than none  tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
 better null values than none  from galcli.errors import ModelError
 better null values than none  from galcli.models.session import Graph

 better null values than none  def fail(self: Graph, feeds: Any, outputs: Any = None) -> Any:
 better null values than none      raise ModelError("onnxruntime failed", "buy a larger one")

 better null values than none  for n, code in ((1, 3), (3, 5)):  # of a single row nobody knows whose fault it is
 better null values than none      survey = make_survey(tmp_path / f"s{n}", n)
 better null values than none      monkeypatch.setattr(Graph, "run", fail)
 better null values than none      galcli(*survey.predict(), code=code)
 better null values than none      monkeypatch.undo()
 better null values than none      galcli(*survey.predict("--overwrite"))
 better null values than none      assert not read_predictions(survey.out)["AVG_STATUS"].any()


def test_columns_may_be_called_like_tables(survey: Survey, galcli: Run) -> None:
 better null values than none  columns = [
 better null values than none      {"tensor": "mean", "column": name, "dtype": "f4", "shape": [3], "description": "mean"}
 better null values than none      for name in ("RUN", "MODELS")
 better null values than none  ]
 better null values than none  galcli(*predict(survey, write_average(survey.root / "run.onnx", 16, outputs=columns)))
 better null values than none  rows = read_predictions(survey.out)
 better null values than none  assert {"RUN", "MODELS"} <= set(rows.dtype.names or ())
 better null values than none  np.testing.assert_allclose(rows["RUN"], survey.means, rtol=1e-6)


def test_rows_that_a_model_cannot_do_are_listed(survey: Survey, galcli: Run) -> None:
 better null values than none  pixels = survey.pixels.copy()
 better null values than none  pixels[[3, 20], 0] -= 100
 better null values than none  pixels[7, :, 4:12, 4:12] = np.nan
 better null values than none  write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
 better null values than none  galcli(*predict(survey, write_logarithm(survey.root / "log.onnx")))
 better null values than none  listed = survey.out.with_name("predictions.fits.problems.csv").read_text().splitlines()[1:]
 better null values than none  assert [int(line.split(",")[0]) for line in listed] == [3, 7, 20]
 better null values than none  assert [str(survey.ids[row]) for row in (3, 7, 20)] == [line.split(",")[1] for line in listed]
 better null values than none  assert "not finite" in listed[0]
 better null values than none  assert "without data" in listed[1]
