from __future__ import annotations

import numpy as np
import pytest

from galcli.models import devices, library
from galcli.models.devices import Device
from galcli.models.session import Session
from galcli.predict.evaluate import read_table
from galcli.predict.run import predict
from galcli.sky import healpix
from tests.average import write_average
from tests.benchmarks import gpu
from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.feed import load_plainly, read_plainly
from tests.benchmarks.measure import ROOT, Result, alternate
from tests.benchmarks.memory import Watch
from tests.benchmarks.survey import Silent, options, positions, write_stacks


def test_every_benchmark_has_its_module():
    assert all((ROOT / "tests/benchmarks" / f"{module}.py").is_file() for module in BENCHMARKS.values())


def test_positions_lie_in_their_pixel():
    assert set(healpix.pixel(*positions(4, 17, 1000, seed=1), order=4)) == {17}


def test_survey_is_predicted_whole(tmp_path):
    stacks = write_stacks(tmp_path, files=2, each=40, side=16)
    read_plainly(stacks)
    load_plainly(stacks)
    summary = predict(options(tmp_path, write_average(tmp_path / "average.onnx", size=16)), Silent())
    assert (summary.counts.rows, summary.counts.unpredicted) == (80, 0)
    flux = read_table(tmp_path / "predictions.fits")["AVG_FLUX"]
    assert np.isfinite(flux).all()
    assert len(np.unique(flux)) > 200  # each cutout has a level of its own


def test_watch_sees_memory_that_comes_and_goes():
    watch = Watch()
    watch.start()
    for _ in range(20):
        np.ones(100_000_000, np.uint8)
    assert watch.stop() > 100_000_000


def test_gpu_benchmark_measures_or_says_that_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices, "usable", lambda kind, number: False)
    assert gpu.run(tmp_path) == []
    assert "no GPU: skipped" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(gpu, "SIDE", 16)
    once = gpu.bare_run(Session(library.find(write_average(tmp_path / "a.onnx", size=16)), "cpu"), Device("cpu"), 8)
    once()
    once()


@pytest.mark.parametrize(
    ("value", "goal", "at_least", "reached"),
    [
        (1.0, 1.0, True, True),
        (0.9, 1.0, True, False),
        (1.0, 1.0, False, False),
        (0.9, 1.0, False, True),
        (1, None, True, None),
    ],
)
def test_result_knows_whether_its_goal_is_met(value, goal, at_least, reached):
    result = Result("name", value, "s", goal, at_least, {"images": 10_000, "s": 0.123})
    assert result.reached is reached
    assert ("MISSED" in result.line()) == (reached is False)


def test_sides_run_in_turns():
    order = []
    medians = alternate([lambda: order.append("a"), lambda: order.append("b")], repeats=3)
    assert order == ["a", "b"] * 3
    assert len(medians) == 2
