"""What the command line refuses, with which exit code, in one line each; and never with a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from galcli.cli import main
from galcli.errors import GalcliError
from galcli.predict.paths import RunPaths
from tests.conftest import run_main
from tests.launcher import ROOT, Launcher
from tests.survey import Survey, make_survey, write_stamp

Run = Callable[..., Any]

#: Values that options of numbers and choices refuse before anything is opened.
BAD_VALUES = {
    "--order": ["-1", "30", "x", "", "1.5", "³", "9" * 5000, "None"],
    "--batch-size": ["0", "-1", "x", "1e3", "65537", "²", "9" * 5000],
    "--threads": ["-1", "x", "1e3", "99999999999999999999"],
    "--hdu": ["0", "-1", "x", "CATALOG "],
    "--limit": ["0", "-5", "x", "1.0"],
    "--zeropoint": ["x", "nan", "inf", "-inf", "1e9", "-1e9", ""],
    "--pixel-scale": ["0", "-0.2", "nan", "inf", "x", "1e300"],
    "--max-memory": ["0", "-1", "nan", "inf", "x"],
    "--max-fail": ["-1", "101", "nan", "x"],
    "--precision": ["fp8", "FP32 ", "", "auto,fp32"],
    "--device": ["gpu", "cuda:x", "cpu:0", "", "cuda:-1", "cuda:" + "9" * 5000, "tensorrt:a"],
    "--shard": ["3/2", "x"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, values in BAD_VALUES.items() for v in values], ids=lambda v: v[:12]
)
def test_bad_value_is_a_usage_error(
    shared_survey: Survey, galcli: Run, tmp_path: Path, option: str, value: str
) -> None:
    result = galcli(*shared_survey.predict(f"{option}={value}", out=tmp_path / "p.fits"), code=2)
    assert option.strip("-") in result.error or value[:10] in result.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", ["-1", "9" * 20, str(2**63), "x", "", "1.5", "nan", "\u00b2", "9" * 5000], ids=lambda v: v[:12]
)
@pytest.mark.parametrize("words", ["mock out", "train sfnet", "train vae", "train spectra", "explain spectra"])
def test_bad_seed_is_a_usage_error(words: str, value: str, galcli: Run, tmp_path: Path) -> None:
    result = galcli(*words.split(), f"--seed={value}", code=2)
    assert "--seed" in result.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["predict"], ["predict", "--nonsense", "a"], ["validate"], ["merge"], ["status"],
        ["plan"], ["evaluate"], ["models"], ["models", "show"], ["predict", "a", "-o"], ["--nonsense"], ["sample", "a", "b"],
        ["predict", "a", "--json=1"], ["doctor", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_words_are_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    if words != ["models"]:  # a group alone shows its help
        err = capsys.readouterr().err
        assert err.count("error: ") == 1
        assert "--help`" in err


OPTIONS = [
    *BAD_VALUES, "--cutouts", "--bands", "--front", "--model", "--with", "--id-column", "--ra-column", "--dec-column",
    "--columns", "--out",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(option=st.sampled_from(OPTIONS), value=TEXT)
@example(option="--bands", value=",")
@example(option="--bands", value="ggg")
@example(option="--columns", value=",,")
@example(option="--cutouts", value="{")
@example(option="--cutouts", value="[")
@example(option="--cutouts", value="~x/")
@example(option="--out", value="/")
@example(option="--out", value="..")
@example(option="--model", value="/")
@example(option="--model", value="..")
@example(option="--with", value="")
def test_garbage_is_refused_in_words(shared_survey: Survey, option: str, value: str, tmp_path_factory: Any) -> None:
    """Whatever stands after an option: a result, or a documented refusal of two lines."""
    folder = tmp_path_factory.getbasetemp() / "garbage"
    folder.mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = ("plan" if option not in ("--out", "--max-fail", "--shard") else "predict", str(shared_survey.catalog))
        more = ("--model", str(shared_survey.model), "--threads", "1", "--limit", "3")
        command = (*words, *more, f"{option}={value}")
        code = _code_of(command)
        assert code in (0, 2, 4, 5, 6), (option, value)
        if code:
            run_main(command, code)
    finally:
        os.chdir(before)


def _code_of(command: tuple[str, ...]) -> int:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(list(command))
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 0
    raise AssertionError("main returned")


# --- one test for each exit code ----------------------------------------------------------------------------------------


def test_0_done(survey: Survey, galcli_process: Run) -> None:
    galcli_process(*survey.predict())
    assert survey.out.exists()


def test_2_usage(survey: Survey, galcli_process: Run) -> None:
    assert "2/2" in galcli_process(*survey.predict("--shard", "2/2"), code=2).error


def test_3_too_many_rows_without_a_prediction(tmp_path: Path, galcli_process: Run) -> None:
    survey = make_survey(tmp_path / "s", 4, loose=True)
    (survey.cutouts / f"{survey.ids[1]}.fits").unlink()
    result = galcli_process(*survey.predict(), code=3)
    assert "1 of 4 rows (25 %)" in result.error
    assert survey.out.exists()


def test_4_bad_input(tmp_path: Path, galcli_process: Run) -> None:
    survey = make_survey(tmp_path / "s", 4)
    absent = galcli_process("predict", survey.root / "none.fits", "--model", survey.model, code=4)
    assert "none.fits" in absent.error
    galcli_process("predict", survey.model, "--model", survey.model, "-o", survey.out, code=4)


def test_5_device_that_is_not_there(survey: Survey, galcli: Run) -> None:
    from galcli.models.devices import usable

    for device in ("cuda", "cuda:7", "tensorrt"):
        if usable(*(device.split(":")[0], int(device.partition(":")[2] or 0))):
            continue  # a machine with that device
        result = galcli(*[word if word != "cpu" else device for word in survey.predict()], code=5)
        assert device.split(":")[0] in result.error
        assert "--device cpu" in result.hint or "doctor" in result.hint
        assert not RunPaths(survey.out).root.exists()


def test_5_device_that_the_runtime_does_not_really_use(
    survey: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime itself falls back to the CPU with a line in its log; a run that was asked for a GPU must not."""
    import onnxruntime

    if onnxruntime.get_available_providers() and Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has the device")
    session = onnxruntime.InferenceSession
    monkeypatch.setattr("galcli.models.devices.usable", lambda kind, number: True)

    def fall_back(data: bytes, options: Any, providers: Any, **rest: Any) -> Any:
        return session(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    galcli(*[word if word != "cpu" else "cuda" for word in survey.predict()], code=5)
    assert not survey.out.exists()
    galcli(*survey.predict())


@pytest.mark.parametrize("damage", ["absent", "empty", "text", "cut", "no card", "folder", "a name", "fits", "pickle"])
def test_5_model_that_is_none(survey: Survey, galcli: Run, damage: str) -> None:
    import onnx

    raw = survey.model.read_bytes()
    path: Any = survey.root / "m.onnx"
    if damage == "folder":
        path.mkdir()
    elif damage == "a name":
        path = "sfnet-metalicity"
    elif damage == "fits":
        path = write_stamp(survey.root / "m.fits", survey.pixels[0])
    elif damage == "no card":
        model = onnx.load(survey.model)
        del model.metadata_props[:]
        onnx.save(model, path)
    elif damage != "absent":
        content = {"empty": b"", "text": b"hello", "cut": raw[:200], "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR."}
        path.write_bytes(content[damage])
    words = ["predict", survey.catalog, "-o", survey.out, "--model", path, "--threads", 1]
    galcli(*words, code=5)
    assert not RunPaths(survey.out).root.exists()
    galcli("models", "show", path, code=5)
    galcli("models", "verify", path, code=5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_5_precision_that_the_model_has_not(survey: Survey, galcli: Run, precision: str) -> None:
    assert precision in galcli(*survey.predict("--precision", precision), code=5).error
    assert not survey.out.exists()


def test_6_output_that_cannot_be_written(survey: Survey, galcli_process: Run) -> None:
    result = galcli_process(*survey.predict(out=survey.catalog / "p.fits"), code=6)
    assert survey.catalog.name in result.error


def test_75_interrupted(survey: Survey, launcher: Launcher) -> None:
    ended = launcher.run(survey.predict("--order", 3), at=20, do=signal.SIGTERM)
    assert ended.code == 75
    assert "give the same command again" in ended.err


def test_130_interrupted_where_nothing_is_to_be_resumed(galcli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("galcli.models.doctor.examine", interrupt)
    assert galcli("doctor", code=130).err.strip() == "stopped"


def test_1_a_bug_is_one_line_too(galcli_process: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail() -> None:
        raise LookupError("line one\nline two")

    monkeypatch.setattr("galcli.models.doctor.examine", fail)
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.splitlines()[0] == "bug: LookupError: line one line two"
    with pytest.raises(LookupError):
        main(["doctor", "--debug"])
    with pytest.raises(GalcliError):
        main(["models", "show", "none", "--debug"])


def test_every_refusal_has_a_hint() -> None:
    """Errors are made with two arguments: what is wrong, and how to mend it."""
    import ast

    names = {kind.__name__ for kind in _tree(GalcliError)} - {"GalcliError"}
    without = []
    for path in sorted((ROOT / "galcli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
            if called and len(node.args) < 2:  # type: ignore[attr-defined]
                without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not without


def _tree(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]


# --- readers that stop listening ------------------------------------------------------------------------------------------


def piped(words: list[str], lines: int) -> tuple[int, str]:
    """Exit code and stderr of a command whose stdout is closed after some lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "galcli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout
    assert process.stderr
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    return process.wait(timeout=60), err


def test_head_is_no_error() -> None:
    code, err = piped(["predict", "--help"], 0)
    assert code in (0, 120) or not err  # Python itself may note that nobody read its last words
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_run_whose_listener_is_gone_stops_and_can_go_on(survey: Survey, galcli: Run) -> None:
    """Exit 0 would say that the table is there."""
    code, err = piped(survey.predict("--order", 3, "--json"), 1)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert (code, survey.out.exists()) in [(0, True), (75, False)], err
    galcli(*survey.predict("--order", 3))
    galcli("validate", survey.out)


def test_json_of_a_refusal_keeps_stdout_clean(survey: Survey, galcli: Run) -> None:
    result = galcli(*survey.predict("--json", "--id-column", "none"), code=4)
    assert "none" in result.error
    assert result.out == ""
