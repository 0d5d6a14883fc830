"""`galcli evaluate`: scores against known answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.models.card import Label
from galcli.predict.classes import confusion
from galcli.predict.evaluate import components, label_values, score
from tests.average import write_average
from tests.survey import Survey, make_survey, write_catalog
from tests.tiny_models import change_card, link_to, write_chain, write_classes, write_decoder, write_logarithm

Run = Callable[..., Any]


def table_of(value: Any, truth: Any, **more: Any) -> dict[str, Any]:
    return {"Y": np.asarray(value, np.float32), "T": np.asarray(truth), **more}


def scores_of(value: Any, truth: Any, *, label: dict[str, Any] | None = None, **more: Any) -> Any:
    table = table_of(value, truth, **more)
    status = more.get("STATUS", np.zeros(len(table["Y"]), np.int32))
    told = Label(output="Y", column="T", **(label or {}))
    return score(table, told, status, label_values(table, told)[1])


def test_scores_are_those_of_the_definition() -> None:
    found = scores_of([1.0, 2.0, 3.0, 14.0], [1.0, 1.0, 5.0, 4.0])
    residual = np.array([0.0, 1.0, -2.0, 10.0])
    assert found.objects == 4
    assert found.rmse == pytest.approx(np.sqrt((residual**2).mean()))
    assert found.bias == pytest.approx(residual.mean())
    assert found.sigma_mad == pytest.approx(1.4826 * 1.5)
    assert found.scatter == pytest.approx(np.std([1, 1, 5, 4]))
    assert found.r2 == pytest.approx(1 - (residual**2).mean() / np.var([1, 1, 5, 4]))
    assert found.outliers == pytest.approx(0.25)
    assert found.coverage is None


def test_predicting_the_mean_explains_nothing() -> None:
    truth = np.random.default_rng(0).normal(size=200)
    assert scores_of(np.full(200, truth.mean()), truth).r2 == pytest.approx(0, abs=1e-6)
    assert scores_of(truth, truth).r2 == pytest.approx(1, abs=1e-6)


def test_labels_that_say_nothing_are_left_out() -> None:
    truth = np.array([1.0, np.nan, -9999.0, 3.0, 1e30])
    found = scores_of([1, 1, 1, np.nan, 1], truth, label={"minimum": -99, "maximum": 1e20})
    assert (found.objects, found.unpredicted) == (1, 1)


def test_weak_lines_are_left_out_and_logarithms_taken() -> None:
    flux, error = np.array([100.0, 1.0, 10.0, -5.0]), np.array([1.0, 1.0, 1.0, 1.0])
    found = scores_of([2.0, 0.0, 1.0, 0.0], flux, E=error, label={"transform": "log10", "error": "E", "min_snr": 3})
    assert found.objects == 2
    assert found.rmse == pytest.approx(0, abs=1e-6)


def test_coverage_and_domain() -> None:
    status = np.array([0, 256, 0, 0], np.int32)
    found = scores_of([0, 0, 0, 0], [0.5, 1.5, -0.5, -1.5], Y_ERR=np.ones(4, np.float32), STATUS=status)
    assert found.coverage == 0.5
    assert found.out_of_domain == 0.25


def truth_catalog(survey: Survey) -> None:
    """Labels of the logarithm model: off by 0.1, with a null, and one under the name of an output."""
    truth = np.log(survey.means[:, 0]) + 0.1
    number = np.where(np.arange(len(truth)) == 4, -999, np.rint(truth)).astype(np.int32)
    columns = [("OBJECT_ID", survey.ids), ("RA", survey.ra), ("DEC", survey.dec), ("truth", truth), ("LOG_G", truth)]
    write_catalog(
        survey.catalog, **dict(columns), number=number, vector=survey.means, word=np.array(["x"] * len(truth), "S")
    )
    from astropy.io import fits

    fits.setval(survey.catalog, "TNULL6", value=-999, ext=1)


@pytest.mark.parametrize("column", ["truth", "LOG_G"])
def test_evaluate_on_a_catalogue(tmp_path: Path, galcli: Run, column: str) -> None:
    """Also where the catalogue calls its label as the model calls its output."""
    survey = make_survey(tmp_path / "s", 20)
    truth_catalog(survey)
    model = write_logarithm(survey.root / "log.onnx")
    words = ["evaluate", model, "--catalog", survey.catalog, "--label", f"log_g={column}", "--threads", 1]
    answer = json.loads(galcli(*words, "--json").out)
    assert answer["sample"] == str(survey.catalog)
    (found,) = answer["scores"]
    assert found["objects"] == 20
    assert found["bias"] == pytest.approx(-0.1, abs=1e-5)
    assert found["sigma_mad"] == pytest.approx(0, abs=1e-5)
    assert "-0.1000" in galcli(*words).out


def test_null_labels_are_no_truth(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20)
    truth_catalog(survey)
    model = write_logarithm(survey.root / "log.onnx")
    answer = galcli("evaluate", model, "--catalog", survey.catalog, "--label", "LOG_G=number", "--json", "--threads", 1)
    (found,) = json.loads(answer.out)["scores"]
    assert found["objects"] == 19
    assert found["rmse"] < 1


def test_vectors_are_scored_component_by_component(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20)
    truth = survey.means + np.array([0.1, 0.2, 0.3])
    truth[4, 1] = np.nan  # a row counts when all its labels are usable
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, means=truth)
    words = ["evaluate", survey.model, "--catalog", survey.catalog, "--label", "AVG_FLUX=means", "--threads", 1]
    scores = json.loads(galcli(*words, "--json").out)["scores"]
    assert [(found["column"], found["label"]) for found in scores] == [
        (f"AVG_FLUX[{i}]", f"means[{i}]") for i in range(3)
    ]
    for found, shift in zip(scores, (0.1, 0.2, 0.3), strict=True):
        assert found["objects"] == 19
        assert found["bias"] == pytest.approx(-shift, abs=1e-5)
        assert found["sigma_mad"] == pytest.approx(0, abs=1e-5)
        assert found["coverage"] is None
    assert "AVG_FLUX[2]" in galcli(*words).out


def test_outputs_on_request_can_be_scored(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20)
    total = survey.means.sum(axis=1)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, total=total)
    encoder, _ = write_chain(survey.root)
    words = ("evaluate", encoder, "--catalog", survey.catalog, "--label", "ENC_MORE=total", "--json", "--threads", 1)
    (found,) = json.loads(galcli(*words).out)["scores"]
    assert found["rmse"] < 1e-4


def test_columns_of_chained_models_can_be_scored(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20)
    truth = {"single": survey.means[:, 0], "means": survey.means}
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, **truth)
    model, decoder = write_decoder(survey.root), survey.root / "latents-decoder.onnx"
    change_card(decoder, domain={"column": "SPEC_FIRST", "threshold": float(np.median(truth["single"]))})
    change_card(model, chain=[link_to(decoder, {"latent": "latent"}, "spectra")])
    words = ["evaluate", model, "--catalog", survey.catalog, "--json", "--threads", 1]
    both = ("--label", "SPEC_FIRST=single", "--label", "SPEC_LATENT=means")
    scores = json.loads(galcli(*words, *both).out)["scores"]
    assert [found["column"] for found in scores] == ["SPEC_FIRST", *(f"SPEC_LATENT[{i}]" for i in range(3))]
    assert max(found["rmse"] for found in scores) < 1e-5
    assert [found["out_of_domain"] for found in scores] == [0.5, 0, 0, 0]  # of the decoder alone
    assert "SPEC_FIRST, SPEC_FLUX, SPEC_LATENT" in galcli(*words, "--label", "SPEC_FLUXES=means", code=4).hint
    # What is not scored need not be there.
    decoder.unlink()
    galcli(*words, "--label", "SPEC_LATENT=means")


def test_each_component_has_its_own_error() -> None:
    table = table_of(np.zeros((4, 2)), np.array([[0.5, 5], [1.5, 5], [-0.5, 0.5], [-1.5, 5]]), Y_ERR=np.ones((4, 2)))
    label = Label(output="Y", column="T")
    pairs = components(table, label)
    assert pairs == [(label, 0), (label, 1)]
    scores = [score(table, label, np.zeros(4, np.int32), np.ones(4, bool), part) for _, part in pairs]
    assert [found.coverage for found in scores] == [0.5, 0.25]


@pytest.mark.parametrize(
    "label", ["LOG_G=vector", "LOG_G=word", "LOG_G=nothing", "NOTHING=truth", "LOG_G", "=", "LOG_G="]
)
def test_labels_that_cannot_be_compared_are_refused(tmp_path: Path, galcli: Run, label: str) -> None:
    survey = make_survey(tmp_path / "s", 5)
    truth_catalog(survey)
    model = write_logarithm(survey.root / "log.onnx")
    usage = not all(label.partition("="))
    galcli("evaluate", model, "--catalog", survey.catalog, "--label", label, "--threads", 1, code=2 if usage else 4)


def test_outputs_that_are_no_number_are_refused(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 5)
    truth_catalog(survey)
    classes = write_classes(survey.root / "classes.onnx")
    for model, output in ((survey.model, "AVG_FLUX"), (classes, "CLS_NAME")):
        galcli("evaluate", model, "--catalog", survey.catalog, "--label", f"{output}=truth", "--threads", 1, code=4)


def test_classes_are_counted_not_subtracted(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 20)
    model = write_classes(survey.root / "classes.onnx")
    said = survey.means.argmax(axis=1)
    truth = said.copy()
    truth[:4] = (said[:4] + 1) % 3  # wrong in four rows
    truth[5] = -1  # no label
    labels = {"truth": truth, "wrong": np.where(np.arange(20) == 7, 3, truth)}
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, **labels)
    words = ["evaluate", model, "--catalog", survey.catalog, "--threads", 1, "--label"]
    answer = json.loads(galcli(*words, "CLS_NR=truth", "--json").out)
    assert answer["scores"] == []
    (found,) = answer["classes"]
    assert (found["column"], found["label"], found["objects"], found["unpredicted"]) == ("CLS_NR", "truth", 19, 0)
    assert found["accuracy"] == pytest.approx(15 / 19)
    used = truth >= 0
    np.testing.assert_array_equal(found["confusion"], confusion(truth[used], said[used], 3))
    assert [one["name"] for one in found["classes"]] == ["green", "red", "infrared"]
    assert [one["objects"] for one in found["classes"]] == np.bincount(truth[used], minlength=3).tolist()
    text = galcli(*words, "CLS_NR=truth").out
    assert "infrared" in text
    assert f"{15 / 19:.3f}" in text
    assert "RMSE" not in text
    refused = galcli(*words, "CLS_NR=wrong", code=4)
    assert "1 labels in wrong are no class, the first 3 in row 7" in refused.err


def test_labels_of_the_card_are_used(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 5)
    galcli("evaluate", survey.model, "--catalog", survey.catalog, "--threads", 1, code=4)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, truth=np.log(survey.means[:, 0]))
    model = write_logarithm(survey.root / "log.onnx")
    import onnx

    graph = onnx.load(model)
    card = json.loads(graph.metadata_props[0].value)
    card["training"]["labels"] = [{"output": "LOG_G", "column": "truth"}]
    graph.metadata_props[0].value = json.dumps(card)
    onnx.save(graph, model)
    answer = galcli("evaluate", model, "--catalog", survey.catalog, "--json", "--threads", 1)
    assert json.loads(answer.out)["scores"][0]["rmse"] < 1e-5
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, mine=np.log(survey.means[:, 0]))
    refused = galcli("evaluate", model, "--catalog", survey.catalog, "--threads", 1, code=4)
    assert "has no column truth, the label of LOG_G" in refused.error
    assert "--label LOG_G=COLUMN" in refused.hint
    galcli("evaluate", model, "--catalog", survey.catalog, "--label", "LOG_G=mine", "--threads", 1)
    write_average(survey.model, 16)


def test_evaluate_leaves_nothing_behind(tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    survey = make_survey(tmp_path / "s", 5)
    truth_catalog(survey)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    model = write_logarithm(survey.root / "log.onnx")
    before = sorted(survey.root.iterdir())
    galcli("evaluate", model, "--catalog", survey.catalog, "--label", "LOG_G=truth", "--threads", 1)
    assert sorted(survey.root.iterdir()) == before
    assert not list(scratch.iterdir())
