"""The everyday commands, as a user gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from astropy.table import Table

from tests.average import write_average
from tests.survey import Survey, make_survey, read_predictions
from tests.tiny_models import write_classes, write_index

Run = Callable[..., Any]


# --- predict --------------------------------------------------------------------------------------------------------------


def test_events_of_a_run_are_json_lines(survey: Survey, galcli: Run) -> None:
    result = galcli(*survey.predict("--order", 2, "--json"))
    events = [json.loads(line) for line in result.out.splitlines()]
    assert not result.err
    kinds = [event["event"] for event in events]
    assert kinds.index("note") < kinds.index("start") < kinds.index("progress") < kinds.index("done") == len(kinds) - 1
    progress = [event["done"] for event in events if event["event"] == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 48
    done = events[-1]
    assert done["out"] == str(survey.out)
    assert done["counts"] == {"rows": 48, "unpredicted": 0, "STATUS": {}, "AVG_STATUS": {}}
    again = [json.loads(line) for line in galcli(*survey.predict("--order", 2, "--json")).out.splitlines()]
    assert again[-1]["counts"] == done["counts"]


def test_events_count_what_went_wrong(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 10, loose=True)
    (survey.cutouts / f"{survey.ids[3]}.fits").unlink()
    result = galcli(*survey.predict("--json"))
    done = json.loads(result.out.splitlines()[-1])
    assert done["counts"]["STATUS"] == {"MISSING_CUTOUT": 1, "NO_PREDICTION": 1}
    assert done["counts"]["AVG_STATUS"] == {"MISSING_BAND": 1}
    assert done["counters"] == {"no_checksum": 9}


def test_shard_says_what_is_left(survey: Survey, galcli: Run) -> None:
    done = json.loads(galcli(*survey.predict("--order", 2, "--json", "--shard", "0/2")).out.splitlines()[-1])
    assert done["counts"] is None


def test_run_record_tells_who_ran_what(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict("--shard", "0/1"))
    record = json.loads((survey.root / "predictions.fits.run" / "run.json").read_text())
    assert record["options"]["catalogs"] == [str(survey.catalog.resolve())]
    assert record["options"]["shard"] == [0, 1]
    schema = json.loads(files("galcli.schemas").joinpath("run-record.schema.json").read_text())
    jsonschema.validate(record, schema)
    assert set(record) == set(schema["properties"])


@pytest.mark.parametrize("damage", ["", "{}", '{"identity": 1'])
def test_damaged_run_record_is_refused_and_can_be_restarted(survey: Survey, galcli: Run, damage: str) -> None:
    galcli(*survey.predict("--shard", "0/1"))
    (survey.root / "predictions.fits.run" / "run.json").write_text(damage)
    assert "run.json is damaged" in galcli(*survey.predict(), code=4).error
    galcli("status", survey.out, code=4)
    galcli(*survey.predict("--restart"))
    galcli("validate", survey.out)


def test_dry_run_is_the_plan(survey: Survey, galcli: Run) -> None:
    plan = json.loads(galcli(*survey.predict("--dry-run", "--json")).out)
    assert plan["rows"] == 48
    assert not survey.out.exists()
    assert not survey.out.with_name("predictions.fits.run").exists()


def test_help_texts_of_predict_and_plan_agree(galcli: Run) -> None:
    """What can be predicted can be planned: only the options of writing are predict's own."""
    from galcli.cli.plan import command as plan
    from galcli.cli.predict import command as predict

    names = [{parameter.name for parameter in command.params} for command in (predict, plan)]
    assert names[1] <= names[0]
    assert names[0] - names[1] == {
        "out", "layout", "shard", "site", "workers", "restart", "overwrite", "keep_tiles", "max_fail", "dry_run",
    }  # fmt: skip


# --- models ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_models(tiny_weights: Path) -> Path:
    write_average(tiny_weights / "average.onnx", 16, description="mean [b]flux[/] per [red]band[/red]")
    write_classes(tiny_weights / "classes.onnx")
    write_index(tiny_weights, {"average": True, "classes": False})
    return tiny_weights


def test_models_are_listed(two_models: Path, galcli: Run) -> None:
    listed = json.loads(galcli("models", "list", "--json").out)
    assert [(entry["name"], entry["default"], entry["columns"]) for entry in listed] == [
        ("average", True, ["AVG_FLUX"]), ("classes", False, ["CLS_NR", "CLS_NAME"]),
    ]  # fmt: skip
    text = galcli("models", "list").out
    assert "average" in text
    assert "classes" in text
    assert "[b]flux[/]" in " ".join(text.split())


@pytest.mark.parametrize("by_path", [False, True])
def test_card_is_shown(two_models: Path, galcli: Run, by_path: bool) -> None:
    name = two_models / "average.onnx" if by_path else "average"
    card = json.loads(galcli("models", "show", name, "--json").out)
    assert card["prefix"] == "AVG"
    text = galcli("models", "show", name).out
    for word in ("AVG_FLUX", "flux:grz", "SHA-256", "BSD-3-Clause", "[b]flux[/]"):
        assert word in text


def test_models_are_verified(two_models: Path, galcli: Run) -> None:
    assert galcli("models", "verify").out.split() == ["average:", "good", "classes:", "good"]
    assert "good" in galcli("models", "verify", "average").out
    raw = bytearray((two_models / "classes.onnx").read_bytes())
    raw[-5] ^= 1
    (two_models / "classes.onnx").write_bytes(raw)
    result = galcli("models", "verify", code=5)
    assert "average: good" in result.out
    assert "classes: good" not in result.out
    galcli("models", "verify", "classes", code=5)
    galcli("models", "list", code=5)


def test_shipped_model_that_was_changed_is_not_run(two_models: Path, survey: Survey, galcli: Run) -> None:
    raw = bytearray((two_models / "average.onnx").read_bytes())
    raw[-5] ^= 1
    (two_models / "average.onnx").write_bytes(raw)
    result = galcli("predict", survey.catalog, "-o", survey.out, code=5)
    assert "SHA-256" in result.error
    assert not survey.out.exists()


def test_no_models_are_no_error(tiny_weights: Path, galcli: Run) -> None:
    assert json.loads(galcli("models", "list", "--json").out) == []
    galcli("models", "list")
    galcli("models", "verify")


# --- validate, doctor -------------------------------------------------------------------------------------------------------


def test_validate_names_every_bad_table(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    bad = survey.root / "bad.fits"
    bad.write_bytes(survey.out.read_bytes()[:-2880])
    result = galcli("validate", survey.out, bad, survey.root / "none.fits", survey.catalog, code=4)
    assert f"{survey.out}: valid" in result.out
    assert "3 of 4 are not valid" in result.error
    found = json.loads(galcli("validate", survey.out, bad, "--json", code=4).out)
    assert found[str(survey.out)]["problems"] == []
    assert found[str(bad)]["problems"]


def test_doctor_examines(galcli: Run, tiny_weights: Path) -> None:
    findings = json.loads(galcli("doctor", "--json").out)
    assert {finding["verdict"] for finding in findings} <= {"good", "note"}
    assert any(finding["what"].startswith("onnxruntime") for finding in findings)
    assert any("no model is shipped" in finding["what"] for finding in findings)
    assert "good" in galcli("doctor").out


def test_doctor_says_when_two_runtimes_overwrite_each_other(
    galcli: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from galcli.cli import main

    monkeypatch.setattr("galcli.models.doctor.installed", lambda name: "1.0")
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 5
    out = capsys.readouterr().out
    assert "overwrite each other" in out
    assert "pip uninstall" in out


# --- the embedded sample ----------------------------------------------------------------------------------------------------


def test_sample_to_table(galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "galcli predict demo/catalog.fits" in galcli("sample", "demo").out
    write_average(tmp_path / "average.onnx", 144)
    galcli("predict", "demo/catalog.fits", "--model", "./average.onnx", "-o", "demo/p.fits", "--threads", 1)
    rows, catalog = Table.read("demo/p.fits", hdu="PREDICTIONS"), Table.read("demo/catalog.fits")
    assert len(rows) == len(catalog) >= 100
    assert not np.any(rows["STATUS"])
    assert np.isfinite(rows["AVG_FLUX"]).all()
    galcli("validate", "demo/p.fits")
    galcli("sample", "demo")  # what is there already is left as it is


def test_sample_does_not_overwrite(galcli: Run, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "catalog.fits").write_bytes(b"mine")
    galcli("sample", tmp_path / "demo", code=6)
    assert (tmp_path / "demo" / "catalog.fits").read_bytes() == b"mine"
    (tmp_path / "file").write_bytes(b"")
    galcli("sample", tmp_path / "file", code=2)
    galcli("sample", tmp_path / "file" / "x", code=6)


def test_shipped_models_predict_the_sample(galcli: Run, tmp_path: Path) -> None:
    galcli("sample", tmp_path / "demo")
    out = tmp_path / "p.fits"
    result = galcli("predict", tmp_path / "demo" / "catalog.fits", "-o", out, "--threads", 1)
    assert "MOCK" in result.err
    rows = read_predictions(out)
    assert not (rows["STATUS"] & 15).any()
    galcli("validate", out)


def test_evaluate_measures_on_the_sample(galcli: Run, tmp_path: Path) -> None:
    from tests.tiny_models import write_logarithm

    model = write_logarithm(tmp_path / "log.onnx", 144)
    galcli("sample", tmp_path / "demo")
    names = Table.read(tmp_path / "demo" / "catalog.fits").colnames
    label = next(name for name in names if name.lower() in ("oh_p50", "ra"))
    answer = galcli("evaluate", model, "--label", f"LOG_G={label}", "--json", "--threads", 1)
    found = json.loads(answer.out)
    assert found["sample"] == "the embedded mock sample"
    assert found["scores"][0]["objects"] > 50
    shown = galcli("evaluate", model, "--label", f"LOG_G={label}", "--threads", 1)
    assert "this model learned from none; its own galaxies" in shown.err
    assert "its own galaxies" not in galcli("evaluate", "sfnet-metallicity").err  # a mock model says so otherwise


# --- train ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "work"),
    [
        ("sfnet", "galcli.training.recipes.sfnet_export.train_and_export"),
        ("vae", "galcli.training.recipes.vae.train_vae"),
        ("spectra", "galcli.training.recipes.spectra_export.train_and_export"),
        ("dmagnet", "galcli.training.recipes.dmagnet_export.train_and_export"),
    ],
)
def test_trainings_stopped_at_any_moment_can_be_gone_on_with(
    galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, work: str
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, stopped)
    assert "--resume" in galcli("train", recipe, "-o", tmp_path / "out", code=75).hint
