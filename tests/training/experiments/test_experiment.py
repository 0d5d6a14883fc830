"""The frame of the experiments with sparse autoencoders: seeds, claims, and one table of all."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from galcli.cli.experiment import command
from galcli.errors import GalcliError, IdentityError, InputError, Interrupted, UsageError
from galcli.training.experiments import experiment as frame
from galcli.training.experiments import series
from galcli.training.experiments.criteria import at_least, at_most, criterion, words
from galcli.training.experiments.experiment import Experiment, SeedRun, run_experiment
from galcli.training.experiments.statistics import Claim, compare, mean_over_seeds


@dataclass(frozen=True)
class Plan:
    steps: int
    rates: tuple[float, ...] = (0.1, 0.2)


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    return {"cosine": 0.99 + 0.001 * seed, "curve": [0.0, float(plan.steps)], "device": device}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    values = [one["cosine"] for one in results]
    return [
        Claim("it rises", (at_least("cosine", values, 0.98),)),
        Claim("it stays low", (at_most("cosine", values, 0.98), compare("high - low", [0.0] * len(values), values))),
    ]


def draw(figure: Figure, results: list[dict[str, Any]]) -> None:
    for one in results:
        figure.subplots().plot(one["curve"])


FAKE = Experiment(
    "sae-fake", "Is it?", {"quick": Plan(3), "full": Plan(30)}, measure, claims, draw, "SYNTHETIC numbers"
)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame.os, "cpu_count", lambda: 1)


def changed(**parts: Any) -> Experiment:
    return Experiment(**({name: getattr(FAKE, name) for name in FAKE.__dataclass_fields__} | parts))


def test_the_folder_holds_text_numbers_and_picture(tmp_path: Path) -> None:
    text = run_experiment(tmp_path, FAKE, device="cpu")
    assert text == (tmp_path / "table.txt").read_text()
    assert "1. it rises: holds\n   cosine ≥ 0.98: 0.99100 ± 0.00058: holds\n" in text
    assert "2. it stays low: fails\n   cosine ≤ 0.98: 0.99100 ± 0.00058: fails\n   high - low > 0: +0.99100" in text
    assert "quick: steps 3 (full: 30), rates 0.1/0.2\n" in text
    assert "on SYNTHETIC numbers" in text
    result = json.loads((tmp_path / "result.json").read_text())
    assert [claim["verdict"] for claim in result["claims"]] == ["holds", "fails"]
    assert result["claims"][0]["criteria"][0]["gain"] == pytest.approx(
        {"value": 0.011, "error": 0.00057735, "seeds": 3}
    )
    with Image.open(tmp_path / "sae-fake.png") as image:
        assert image.size[0] > 1000
    assert json.loads((tmp_path / "seed-2.json").read_text())["figures"] == measure(Plan(3), 2, "cpu")


def test_finished_seeds_are_not_measured_again_and_more_can_be_added(tmp_path: Path) -> None:
    seen: list[int] = []

    def watched(plan: Plan, seed: int, device: str) -> dict[str, Any]:
        seen.append(seed)
        return measure(plan, seed, device)

    experiment = changed(measure=watched)
    first = run_experiment(tmp_path, experiment, seeds=2, device="cpu")
    with pytest.raises(InputError, match="already holds"):
        run_experiment(tmp_path, experiment, device="cpu")
    before = (tmp_path / "seed-0.json").stat().st_mtime_ns
    assert run_experiment(tmp_path, experiment, seeds=2, resume=True, device="cpu") == first
    run_experiment(tmp_path, experiment, seeds=4, resume=True, device="cpu")
    assert seen == [0, 1, 2, 3]
    assert (tmp_path / "seed-0.json").stat().st_mtime_ns == before
    with pytest.raises(IdentityError, match="steps"):
        run_experiment(tmp_path, experiment, "full", resume=True, device="cpu")
    (tmp_path / "seed-1.json").write_text("{")
    with pytest.raises(InputError, match=r"seed-1.json cannot be read"):
        run_experiment(tmp_path, experiment, resume=True, device="cpu")


def test_a_seed_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    def failing(plan: Plan, seed: int, device: str) -> dict[str, Any]:
        if seed == 1:
            raise GalcliError("no memory", "use less")
        return measure(plan, seed, device)

    with pytest.raises(GalcliError, match="sae-fake, seed 1: no memory"):
        run_experiment(tmp_path, changed(measure=failing), device="cpu")
    assert (tmp_path / "seed-0.json").exists()
    assert not (tmp_path / "seed-1.json").exists()
    assert not (tmp_path / "result.json").exists()
    assert "1. it rises: holds" in run_experiment(tmp_path, FAKE, resume=True, device="cpu")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_seed_gives_no_figures(tmp_path: Path, bad: float) -> None:
    def diverged(plan: Plan, seed: int, device: str) -> dict[str, Any]:
        return {"models": {"plain": [0.5, bad]}}

    with pytest.raises(GalcliError, match=r"sae-fake, seed 0: models\.plain\.1 is not finite"):
        run_experiment(tmp_path, changed(measure=diverged), device="cpu")
    assert not (tmp_path / "seed-0.json").exists()


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown preset 'tiny'"):
        run_experiment(tmp_path / "out", FAKE, "tiny")
    assert not (tmp_path / "out").exists()


def test_figures_are_told_to_two_digits_of_their_error() -> None:
    assert words(mean_over_seeds([0.7])) == "0.7"
    assert words(mean_over_seeds([2.0, 2.0])) == "2 ± 0"
    assert words(mean_over_seeds([100.0, 160.0])) == "130 ± 30"
    assert words(mean_over_seeds([0.1234, 0.1236])) == "0.12350 ± 0.00010"
    assert words(mean_over_seeds([1e-7, 3e-7])) == "2e-07 ± 1e-07"
    assert words(mean_over_seeds([0.9999991, 0.9999992])) == "0.99999915 ± 5e-08"
    assert criterion(compare("a - b", [1.0, 2.0], [3.0, 5.0])) == ("> 0", "+2.50 ± 0.50")
    assert criterion(at_most("ratio", [0.5, 0.7], 1.2)) == ("≤ 1.2", "0.60 ± 0.10")


def test_all_make_one_table_even_where_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: Plan, seed: int, device: str) -> dict[str, Any]:
        raise GalcliError("it broke", "mend it")

    def find(name: str) -> Experiment:
        return changed(name=name, measure=broken if name == "sae-stability" else measure)

    monkeypatch.setitem(series.SERIES, "sae-all", ("sae-recovery", "sae-stability", "sae-rotation"))
    monkeypatch.setattr(series, "find", find)
    with pytest.raises(GalcliError, match="1 of 3 were not done: sae-stability, seed 0: it broke"):
        series.run_series(tmp_path / "out", "sae-all", device="cpu")
    table = (tmp_path / "out" / "table.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 2 * 2 + 1
    assert {line.count("|") for line in rows} == {6}
    assert table.count("| holds |") == table.count("| fails |") == 2
    assert "| sae-stability | sae-stability, seed 0: it broke |" in table
    assert table.count("; SYNTHETIC numbers; ") == 2
    monkeypatch.setattr(series, "find", lambda name: changed(name=name))
    mended = series.run_series(tmp_path / "out", "sae-all", resume=True, device="cpu")
    assert mended == (tmp_path / "out" / "table.md").read_text()
    assert mended.count("| holds |") == 3


def test_a_stop_ends_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(plan: Plan, seed: int, device: str) -> dict[str, Any]:
        raise Interrupted("stopped")

    monkeypatch.setattr(series, "find", lambda name: changed(name=name, measure=stopped))
    with pytest.raises(Interrupted):
        series.run_series(tmp_path / "out", "sae-all", device="cpu")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["sae-recovery"]


def test_the_command_line_knows_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = command.list_commands(click.Context(command))
    for name, members in series.SERIES.items():
        first = name.partition("-")[0]
        assert sorted(one for one in known if one.startswith(f"{first}-")) == sorted([*members, name])
    monkeypatch.setattr(series, "find", lambda name: changed(name=name))
    done = CliRunner().invoke(
        command, ["sae-rotation", "-o", str(tmp_path / "out"), "--device", "cpu"], catch_exceptions=False
    )
    assert "sae-rotation: Is it?" in done.stdout
    assert (tmp_path / "out" / "sae-rotation.png").exists()


@pytest.mark.parametrize("name", [name for members in series.SERIES.values() for name in members])
def test_experiments_go_to_other_processes_and_say_what_their_data_are(name: str) -> None:
    experiment = series.find(name)
    assert experiment.name == name
    assert set(experiment.plans) == {"quick", "full"}
    assert experiment.sample.split()[0] in ("SYNTHETIC", "MOCK")
    run = SeedRun(Path("seed-0.json"), name, experiment.measure, experiment.plans["quick"], 0, "cpu")
    assert pickle.loads(pickle.dumps(run)) == run
