"""Int8 twins: found by name and beside a file, verified, and run only where they give the same numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.errors import DeviceError, ModelError, UsageError
from galcli.models import int8, library
from galcli.models.session import Session
from galcli.training import export


@pytest.fixture
def twins(weights: Path, build: Callable[..., bytes], fields: Callable[..., dict[str, Any]]) -> Path:
    """The weights folder, in which the model ``mean`` has a twin."""
    index = json.loads((weights / "index.json").read_text())
    data = build(fields(precision="int8", twin_of=index["mean"]["sha256"]))
    (weights / "mean-int8.onnx").write_bytes(data)
    index["mean"]["int8"] = {
        "file": "mean-int8.onnx", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)
    }  # fmt: skip
    (weights / "index.json").write_text(json.dumps(index))
    return weights


def processor(monkeypatch: pytest.MonkeyPatch, path: Path, machine: str, flags: str | None) -> None:
    """Pretend to be another processor."""
    if flags is not None:
        path.write_text(f"processor\t: 0\nmodel name\t: avx512_vnni in name only\nflags\t\t: fpu {flags} avx2\n" * 2)
    monkeypatch.setattr(int8, "CPUINFO", path)
    monkeypatch.setattr("platform.machine", lambda: machine)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A processor that can."""
    processor(monkeypatch, tmp_path / "cpuinfo", "x86_64", "avx512_vnni")


def test_names_and_precisions(twins: Path) -> None:
    assert library.find("mean").card.precision == "fp32"
    for precision in ("auto", "fp32", "fp16"):
        assert library.find("mean", precision).path == twins / "mean.onnx"
    twin = library.find("mean", "int8")
    assert (twin.name, twin.path, twin.default) == ("mean", twins / "mean-int8.onnx", False)
    assert twin.card.twin_of == library.find("mean").sha256
    assert [model.name for model in library.shipped("int8")] == ["mean"]
    assert [model.path.name for model in library.default_models("int8")] == ["mean-int8.onnx"]
    assert library.verify() == {"mean": "", "mean (int8)": "", "mean-too": ""}
    with pytest.raises(ModelError, match="no int8 twin"):
        library.find("mean-too", "int8")


def test_paths_and_precisions(twins: Path) -> None:
    path, twin = twins / "mean.onnx", twins / "mean-int8.onnx"
    assert library.find(path, "int8").path == twin
    for precision in ("auto", "int8"):
        assert library.find(twin, precision).path == twin
    for precision in ("fp32", "fp16"):
        assert library.find(path, precision).path == path
        with pytest.raises(ModelError, match="this is an int8 model"):
            library.find(twin, precision)
    with pytest.raises(ModelError, match="no int8 twin"):
        library.find(twins / "mean-too.onnx", "int8")


@pytest.mark.parametrize("system", ["sfnet", "spectra"])
@pytest.mark.parametrize("shipped", [False, True])
def test_only_twins_that_can_be_made_are_proposed(
    weights: Path, build: Callable[..., bytes], fields: Callable[..., dict[str, Any]], system: str, shipped: bool
) -> None:
    path = weights / "mean.onnx"
    data = build(fields(system=system))
    path.write_bytes(data)
    index = json.loads((weights / "index.json").read_text())
    index["mean"] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (weights / "index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no int8 twin") as caught:
        library.find("mean" if shipped else path, "int8")
    assert "--precision fp32" in caught.value.hint
    assert ("galcli train int8" in caught.value.hint) == (system == "sfnet")
    (weights / "mean-int8.onnx").write_bytes(build(fields(system=system, precision="int8", twin_of="0" * 64)))
    with pytest.raises(ModelError, match="but of another") as caught:
        library.find(path, "int8")
    assert ("galcli train int8" in caught.value.hint) == (system == "sfnet")


def test_twin_of_another_model_is_refused(
    twins: Path, build: Callable[..., bytes], fields: Callable[..., dict[str, Any]]
) -> None:
    (twins / "mean.onnx").write_bytes(build(fields(version="2")))
    with pytest.raises(ModelError, match="but of another"):
        library.find(twins / "mean.onnx", "int8")
    data = (twins / "mean.onnx").read_bytes()
    index = json.loads((twins / "index.json").read_text())
    index["mean"] |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (twins / "index.json").write_text(json.dumps(index))
    assert library.verify()["mean"] == ""
    assert "but of another" in library.verify()["mean (int8)"]


def test_damaged_and_missing_twins(twins: Path) -> None:
    path = twins / "mean-int8.onnx"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="not the one that was shipped"):
        library.find("mean", "int8")
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        library.find("mean", "int8")
    assert library.find("mean").card.precision == "fp32"
    index = json.loads((twins / "index.json").read_text())
    del index["mean"]["int8"]["size"]
    (twins / "index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="has no size"):
        library.find("mean")


def test_index_takes_twins_of_the_models_it_lists(twins: Path) -> None:
    index = json.loads((twins / "index.json").read_text())
    export.add_to_index(twins / "mean.onnx", default=True)
    assert "int8" not in json.loads((twins / "index.json").read_text())["mean"]
    export.add_to_index(twins / "mean-int8.onnx", default=True)
    assert json.loads((twins / "index.json").read_text()) == index
    del index["mean"]
    (twins / "index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="does not list"):
        export.add_to_index(twins / "mean-int8.onnx", default=True)


@pytest.mark.parametrize("fault", [{"precision": "int8"}, {"twin_of": "0" * 64}])
def test_precision_and_twin_go_together(
    fault: dict[str, str], tmp_path: Path, build: Callable[..., bytes], fields: Callable[..., dict[str, Any]]
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(build(fields(**fault)))
    with pytest.raises(ModelError, match="twin_of"):
        library.find(path)


@pytest.mark.usefixtures("exact")
def test_session_runs_on_the_cpu_and_says_int8(twins: Path) -> None:
    model = library.find("mean", "int8")
    for device in ("auto", "cpu"):
        session = Session(model, device, "int8")
        assert (session.precision, session.provider) == ("int8", "CPUExecutionProvider")
        assert session.identity()["precision"] == "int8"
    for device in ("cuda", "cuda:1", "tensorrt"):
        with pytest.raises(UsageError, match="CPU only"):
            Session(model, device, "int8")


@pytest.mark.parametrize("flags", ["avx512_vnni", "avx_vnni"])
def test_processors_that_can(flags: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    processor(monkeypatch, tmp_path / "cpuinfo", "x86_64", flags)
    assert int8.int8_device("auto") == "cpu"


def test_processors_that_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for machine in ("x86_64", "AMD64"):
        processor(monkeypatch, tmp_path / "cpuinfo", machine, "avx512f")
        with pytest.raises(DeviceError, match="VNNI") as caught:
            int8.int8_device("auto")
        assert "float32" in caught.value.hint
    processor(monkeypatch, tmp_path / "absent", "x86_64", None)
    with pytest.raises(DeviceError, match="not known"):
        int8.int8_device("cpu")
    processor(monkeypatch, tmp_path / "cpuinfo", "aarch64", "")
    assert int8.int8_device("cpu") == "cpu"
