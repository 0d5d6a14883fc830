from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from galcli.models import devices, library
from galcli.models.devices import Device
from galcli.models.session import Session
from galcli.predict.evaluate import read_table
from galcli.predict.run import predict
from galcli.sky import healpix
from tests.average import write_average
from tests.benchmarks import gpu, peers_sides
from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.feed import load_plainly, read_plainly
from tests.benchmarks.measure import ROOT, Result, alternate
from tests.benchmarks.memory import Watch, run_alone, shared_survey
from tests.benchmarks.peers_loss import misfortune
from tests.benchmarks.peers_sides import Job, galcli, installed_peers, plain_script, watch
from tests.benchmarks.peers_survey import SIDE, write_survey
from tests.benchmarks.survey import Silent, options, positions, write_stacks


def test_every_benchmark_has_its_module():
    assert all((ROOT / "tests/benchmarks" / f"{module}.py").is_file() for module in BENCHMARKS.values())


def test_every_benchmark_is_explained():
    text = (ROOT / "tests/benchmarks/README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.findall(r"^\| ([\w-]+) \|", text, re.MULTILINE) == ["name", *BENCHMARKS]


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


def test_rows_may_share_cutouts(tmp_path):
    survey = shared_survey(tmp_path / "survey", rows=3000, side=16)
    cost = run_alone(survey, write_average(tmp_path / "average.onnx", size=16))
    assert cost.peak > 10_000_000
    assert 0 < cost.cpu < 60
    flux = read_table(survey / "predictions.fits")["AVG_FLUX"]
    np.testing.assert_array_equal(flux[:952], flux[2048:])
    assert len(np.unique(flux[:2048, 0])) > 2000


def test_galcli_says_what_the_plain_script_says(tmp_path):
    survey = write_survey(tmp_path / "survey", objects=40)
    model, out = write_average(tmp_path / "average.onnx", size=SIDE), tmp_path / "out.fits"
    said = []
    for side in (galcli(), plain_script()):
        for cutouts in (survey.files, survey.stack):
            usage = watch(side.command(Job(survey.catalog, cutouts, model, out)), tmp_path)
            assert usage.code == 0, usage.said
            assert min(usage.peak / 1e7, usage.cpu, usage.seconds) > 0.1
            said.append(side.read(out))
            out.unlink()
    assert said[0].shape == (40, 3)
    for other in said[1:]:
        np.testing.assert_allclose(other, said[0], rtol=1e-5)


def test_a_killed_program_is_seen_to_be_killed(tmp_path):
    usage = watch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, kill_after=0.2)
    assert usage.code == -9
    assert usage.seconds < 30


def test_peers_that_are_not_installed_are_named(tmp_path):
    """A Python that finds hyrax, and nothing else."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *hyrax*) exit 0;; *) exit 1;; esac\n')
    python.chmod(0o755)
    sides, absent = installed_peers([python])
    assert ([side.name for side in sides], absent) == (["hyrax engine"], ["zoobot"])
    assert installed_peers([]) == ([], ["zoobot", "hyrax"])


def test_package_is_there_or_not():
    assert [peers_sides._has(Path(sys.executable), name) for name in ("json", "no_such_package")] == [True, False]


@pytest.mark.parametrize(("kind", "size"), [("truncated", 50), ("missing", None)])
def test_misfortune_passes(tmp_path, kind, size):
    path = tmp_path / "files" / "a.fits"
    path.parent.mkdir()
    path.write_bytes(bytes(range(100)))
    with misfortune(path, kind):
        assert (path.stat().st_size if path.exists() else None) == size
    assert path.read_bytes() == bytes(range(100))
