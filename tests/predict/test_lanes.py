"""Runs in lanes, as on a GPU, with the CPU standing in: the same bytes as without, and batches that memory does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from astropy.io import fits

from galcli.models import devices, nvidia
from galcli.models.bound import Lane
from galcli.models.devices import Device
from galcli.models.session import Graph
from galcli.predict.engine import Engine
from galcli.tables.status import ModelStatus, RowStatus
from tests.average import write_average
from tests.survey import Survey, make_survey, read_predictions, write_stacks
from tests.tiny_models import write_chain, write_classes, write_logarithm, write_network

Run = Callable[..., Any]


def predict(survey: Survey, *models: Path, batch: int = 3) -> list[str]:
    words: list[object] = ["predict", survey.catalog, "-o", survey.out, "--threads", 1, "--device", "cpu", "--overwrite",
                           "--order", 0, "--batch-size", batch, "--max-fail", 100]  # fmt: skip
    return [str(word) for word in [*words, *(part for model in models for part in ("--model", model))]]


def write_root(path: Path) -> Path:
    """Square root of the mean of band g: NaN where that is negative, and exact wherever in a batch a row stands."""
    model = onnx.load(write_logarithm(path))
    next(node for node in model.graph.node if node.op_type == "Log").op_type = "Sqrt"
    onnx.save(model, path)
    return path


def models_of(survey: Survey) -> list[Path]:
    """A network, one that fails on some rows, one with another grid, one that feeds another, and one with labels."""
    return [
        write_network(survey.root / "network.onnx"), write_root(survey.root / "root.onnx"),
        write_average(survey.root / "small.onnx", 12, 0.3, name="small", prefix="SML"), write_chain(survey.root)[0],
        write_classes(survey.root / "classes.onnx"),
    ]  # fmt: skip


@pytest.fixture
def difficult(tmp_path: Path) -> Survey:
    """Rows without a band, with gaps, and with a negative mean."""
    survey = make_survey(tmp_path / "difficult")
    pixels = survey.pixels.copy()
    pixels[[3, 20, 47], 0] -= 100
    pixels[5, 1] = np.nan
    pixels[[7, 30], :, :3] = np.nan
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    return survey


def test_plan_measures_lanes_on_several_batches(survey: Survey, galcli: Run, lanes: list[Engine]) -> None:
    words = ("plan", survey.catalog, "--model", survey.model, "--device", "cpu", "--json", "--batch-size")
    for batch, probed in ((2, 16), (5, 40), (32, 48)):
        assert json.loads(galcli(*words, batch).out)["probed"] == probed


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_lanes_change_no_byte(
    difficult: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, batch: int
) -> None:
    models = models_of(difficult)
    galcli(*predict(difficult, *models, batch=batch))
    without = difficult.out.read_bytes()
    rows = read_predictions(difficult.out)
    assert {int(ModelStatus.MODEL_ERROR), int(ModelStatus.MISSING_BAND), 0} <= set(rows["LOG_STATUS"].tolist())
    assert request.getfixturevalue("lanes") == []
    galcli(*predict(difficult, *models, batch=batch))
    assert request.getfixturevalue("lanes")
    assert difficult.out.read_bytes() == without


def test_models_with_equal_grids_are_fed_by_one_upload(
    survey: Survey, galcli: Run, lanes: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from galcli.models.runtime import onnxruntime

    value = onnxruntime().OrtValue
    shapes: list[tuple[int, ...]] = []
    update = value.update_inplace
    monkeypatch.setattr(
        value, "update_inplace", lambda self, array: (shapes.append(array.shape), update(self, array))[1]
    )
    galcli(*predict(survey, survey.model, write_network(survey.root / "network.onnx"), write_chain(survey.root)[0]))
    cutouts = [shape for shape in shapes if shape[1:] == (3, 16, 16)]
    assert 0 < sum(shape[0] for shape in cutouts) <= 2 * 48  # padded by less than their number
    masks = [shape for shape in shapes if shape[1:] == (1, 16, 16)]
    assert len(masks) < len(cutouts)  # all pixels valid: uploaded when the size of the batch changes


def test_rows_that_fail_in_a_lane_cost_no_others(
    survey: Survey, galcli: Run, lanes: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from galcli.errors import ModelError

    poison = survey.pixels[4, 0, 0, 0]
    run, bound = Graph.run, Lane.run

    def fail(self: Graph, feeds: Any, outputs: Any = None) -> Any:
        if "front" in feeds and (feeds["pixels"][:, 0, 0, 0] == poison).any():
            raise ModelError("onnxruntime failed")
        return run(self, feeds, outputs)

    def fail_in_lane(self: Lane, graph: Graph, feeds: Any, *rest: Any) -> Any:
        if "front" in feeds and (feeds["pixels"][:, 0, 0, 0] == poison).any():
            raise ModelError("onnxruntime failed")
        return bound(self, graph, feeds, *rest)

    monkeypatch.setattr(Graph, "run", fail)
    monkeypatch.setattr(Lane, "run", fail_in_lane)
    galcli(*predict(survey, survey.model, write_chain(survey.root)[0], batch=8))
    rows = read_predictions(survey.out)
    failed = np.arange(48) == 4
    for name in ("AVG_STATUS", "ENC_STATUS", "DBL_STATUS"):
        np.testing.assert_array_equal(rows[name], np.where(failed, int(ModelStatus.MODEL_ERROR), 0))
    np.testing.assert_allclose(rows["DBL_VALUE"][~failed], 2 * survey.means[~failed], rtol=1e-6)


def test_rows_of_a_damaged_stack_are_taken_back_from_lanes(survey: Survey, galcli: Run, lanes: list[Engine]) -> None:
    """Their predictions are made before the checksum of their file is known, and so are those of chained models."""
    words = predict(survey, survey.model, write_chain(survey.root)[0], batch=4)
    galcli(*words)
    good = read_predictions(survey.out)
    stack = sorted(survey.cutouts.rglob("*.fits"))[0]
    with fits.open(stack) as file:
        place, lost = file["PIXELS"].fileinfo()["datLoc"], set(file["INDEX"].data.field(0).tolist())
    raw = bytearray(stack.read_bytes())
    raw[place + 5] ^= 1
    stack.write_bytes(raw)
    galcli(*words, code=0)
    rows = read_predictions(survey.out)
    taken = np.isin(rows["OBJECT_ID"], list(lost))
    assert 0 < taken.sum() < len(rows)
    np.testing.assert_array_equal(
        rows["STATUS"], np.where(taken, RowStatus.CORRUPT_CUTOUT | RowStatus.NO_PREDICTION, 0)
    )
    np.testing.assert_array_equal(rows[~taken], good[~taken])
    floats = [name for name in rows.dtype.names if name[:3] in ("AVG", "ENC", "DBL") and rows[name].dtype.kind == "f"]
    assert {"AVG_FLUX", "DBL_VALUE"} <= set(floats)
    for name in floats:
        assert np.isnan(rows[name][taken]).all()
    for name in ("AVG_STATUS", "ENC_STATUS", "DBL_STATUS"):
        assert (rows[name][taken] == int(ModelStatus.MISSING_BAND)).all()


class Memory:
    """A device that holds ``most`` cutouts at a time, and says so as onnxruntime does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.sizes: list[int] = []
        real = Graph.__init__

        def init(graph: Graph, *args: Any, **more: Any) -> None:
            real(graph, *args, **more)
            session = graph.session
            bound, plain = session.run_with_iobinding, session.run

            def guard(count: int) -> None:
                self.sizes.append(count)
                if count > most:
                    raise RuntimeError(
                        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc:376 "
                        "Failed to allocate memory for requested buffer of size 509607936"
                    )

            def run_bound(binding: Any) -> None:
                guard(binding._bound_inputs["pixels"].shape()[0])
                bound(binding)

            def run(names: Any, feeds: Any) -> Any:
                guard(len(feeds["pixels"]))
                return plain(names, feeds)

            session.run_with_iobinding, session.run = run_bound, run

        monkeypatch.setattr(Graph, "__init__", init)


@pytest.mark.parametrize("in_lanes", [False, True])
def test_batch_that_memory_does_not_hold_is_halved(
    survey: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, in_lanes: bool
) -> None:
    galcli(*predict(survey, survey.model))
    whole = survey.out.read_bytes()
    if in_lanes:
        request.getfixturevalue("lanes")
    memory = Memory(monkeypatch, most=4)
    said = galcli(*predict(survey, survey.model, batch=16)).err
    assert survey.out.read_bytes() == whole
    assert max(memory.sizes) > 8
    told = [line for line in said.splitlines() if "memory ran out" in line]
    assert [line.split("ran out: ")[1].split()[0] for line in told] == ["8", "4"]
    tries = [size for size in memory.sizes if size > 4]
    assert len(tries) <= 4  # at most one for each lane and size: the smaller size is kept


def test_memory_that_does_not_hold_one_cutout_ends_the_run(
    survey: Survey, galcli: Run, lanes: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, most=0)
    result = galcli(*predict(survey, survey.model, batch=4), code=5)
    assert "memory ran out for 1 objects" in result.error
    monkeypatch.undo()
    galcli(*survey.predict("--restart"))


@pytest.fixture
def made_up_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device whose memory and arithmetic are those of the CPU."""
    monkeypatch.setattr(devices, "usable", lambda kind, number: True)
    monkeypatch.setitem(devices.PROVIDERS, "cuda", "CPUExecutionProvider")
    monkeypatch.setattr(Device, "providers", lambda self, precision: [("CPUExecutionProvider", {})])
    monkeypatch.setattr(Lane, "_memory", "cpu")
    monkeypatch.setattr(nvidia, "page_locked", lambda shape, dtype, gpu: np.empty(shape, dtype))


def test_run_on_a_gpu_from_the_command_line_on(
    survey: Survey, galcli: Run, made_up_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choice of the device, graphs in float16, lanes, padding, and what is recorded."""
    network = write_network(survey.root / "network.onnx")
    words = [str(word) for word in (
        "predict", survey.catalog, "--model", network, "-o", survey.out, "--overwrite", "--threads", 1, "--device",
    )]  # fmt: skip
    galcli(*words, "cpu")
    exact = read_predictions(survey.out)["NET_Y"]
    refused = galcli(*words, "cuda", code=5)  # a device that leaves its work to the CPU
    assert "cannot run MatMul, MatMul" in refused.error
    monkeypatch.setattr("galcli.models.session.require_on_gpu", lambda *_: None)
    galcli(*words, "cuda:1")
    np.testing.assert_array_equal(read_predictions(survey.out)["NET_Y"], exact)
    again = [word for word in words if word != "--overwrite"]
    assert "nothing to do" in galcli(*again, "cuda:2").err  # another number, the same arithmetic
    assert "fp16" in galcli(*again, "cuda", "--precision", "fp16", code=4).error
    galcli(*words, "cuda", "--precision", "fp16")
    half = read_predictions(survey.out)["NET_Y"]
    assert not np.array_equal(half, exact)
    np.testing.assert_allclose(half, exact, rtol=5e-3, atol=5e-3)
    with fits.open(survey.out) as hdus:
        facts = dict(zip(hdus["RUN"].data["KEY"], hdus["RUN"].data["VALUE"], strict=True))
    assert facts["models.0.precision"] == "fp16"
    assert facts["models.0.provider_options.use_tf32"] == "0"
    assert facts["models.0.provider_options.cudnn_conv_algo_search"] == "HEURISTIC"
    galcli("validate", survey.out)
