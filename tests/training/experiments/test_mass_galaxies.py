"""Experiments on stellar mass on a catalogue: the same galaxies for every seed, named, and no others on resuming."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.errors import Interrupted, UsageError
from galcli.training.experiments import experiment as frame
from galcli.training.experiments import mass_bands, mass_information, mass_infrared, mass_synergy, series
from galcli.training.experiments.experiment import Experiment, SeedRun, run_experiment
from galcli.training.experiments.mass_galaxies import on_galaxies
from galcli.training.experiments.mass_information import Sizes
from galcli.training.interpret.information_pairs import parse_pair
from galcli.training.interpret.information_runs import Network
from galcli.training.recipes.mass_columns import KNOWN
from galcli.training.recipes.mass_data import Galaxies, Source
from galcli.training.sources import Choice, every, mock_labels
from tests.survey import write_catalog, write_stamp

Run = Callable[..., Any]
OBJECTS = 800
TINY = Sizes(700, 1.0, ("optical:morphology",))
SMALL = replace(mass_synergy.EXPERIMENT, plans={"quick": TINY, "full": mass_synergy.PLANS["full"]})


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame.os, "cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def columns() -> dict[str, Any]:
    """Mock galaxies as a survey has them: masses under another name, and so the redshift."""
    known, _ = mock_labels(OBJECTS, 3, Choice(KNOWN, every))
    draw = np.random.default_rng(0)
    place = {
        "OBJECT_ID": np.arange(OBJECTS),
        "RA": draw.uniform(0, 360, OBJECTS),
        "DEC": draw.uniform(-60, 60, OBJECTS),
    }
    names = {"lgm_tot_p50": "MASS", "Sersic_n_r": "N_R"}
    return place | {names.get(name, name): values for name, values in known.items()}


@pytest.fixture
def catalog(columns: dict[str, Any], tmp_path: Path) -> Path:
    return write_catalog(tmp_path / "c.fits", **columns)


def words(catalog: Path, *more: object) -> tuple[object, ...]:
    return ("--catalog", catalog, "--target", "MASS", "--map", "Sersic_n_r=N_R", "--device", "cpu", *more)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands do small experiments."""
    monkeypatch.setattr(series, "find", lambda name: replace(SMALL, name=name))


def test_a_catalogue_is_named_measured_and_gone_on_with(
    galcli: Run, catalog: Path, columns: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    shrink(monkeypatch)
    out = tmp_path / "out"
    done = galcli("experiment", "mass-synergy", "-o", out, *words(catalog, "--seeds", 2))
    sample = "galaxies of c.fits (not marked as mock), 560 to learn from and 70 held out: the same for every seed"
    assert f"on {sample}" in done.out
    assert "quick: objects 700 (full: 65536)" in done.out
    assert "(stand-in for the paper's claim)" in done.out
    told = json.loads((out / "result.json").read_text())
    assert told["sample"].startswith(sample)
    assert told["title"] == mass_synergy.EXPERIMENT.titles["quick"]
    assert not list(out.glob("networks-*")), "what a finished seed needs no more"
    first, second = (json.loads((out / f"seed-{seed}.json").read_text())["figures"] for seed in range(2))
    assert first != second, "seeds vary the weights"

    again = galcli("experiment", "mass-synergy", "-o", out, *words(catalog, "--seeds", 2, "--resume"))
    assert again.out == done.out
    write_catalog(catalog, **columns | {"MASS": columns["MASS"] + 0.1})
    refused = galcli("experiment", "mass-synergy", "-o", out, *words(catalog, "--resume"), code=4)
    assert "holds another experiment" in refused.error
    assert "data.galaxies" in refused.error
    for other in (("--device", "cpu"), words(tmp_path / "d.fits")):  # mock galaxies, and another catalogue
        write_catalog(tmp_path / "d.fits", **columns)
        refused = galcli("experiment", "mass-synergy", "-o", out, "--resume", *other, code=4)
        assert "holds another experiment" in refused.error
    assert json.loads((out / "result.json").read_text()) == told


def test_galaxies_are_called_mock_where_their_catalogue_says_so(columns: dict[str, Any], tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "m.fits", header={"MOCK": True}, **columns | {"lgm_tot_p50": columns["MASS"]})
    source = Source(tmp_path / "cache", 0, catalog=path, mapped=(("Sersic_n_r", "N_R"),))
    found = on_galaxies(SMALL, tmp_path / "out", source, "quick")
    assert found.sample.startswith("MOCK galaxies of m.fits, 560 to learn from")
    assert pickle.loads(pickle.dumps(SeedRun(Path("s"), "", found.measure, TINY, 0, "cpu"))).plan == TINY


def test_every_seed_sees_the_galaxies_that_are_named(
    columns: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """700 of 800 rows: the same ones for all seeds, and those of the identity."""
    path = write_catalog(
        tmp_path / "c.fits", **columns | {"lgm_tot_p50": columns["MASS"], "Sersic_n_r": columns["N_R"]}
    )
    found = on_galaxies(SMALL, tmp_path, Source(tmp_path / "cache", 0, catalog=path), "quick")
    gather, seen = mass_information.gather_pairs, []

    def watched(*asked: Any) -> Galaxies:
        galaxies = gather(*asked)
        seen.append(galaxies.digest(tuple(sorted(galaxies.columns))))
        return galaxies

    monkeypatch.setattr(mass_information, "gather_pairs", watched)
    for seed in (0, 1):
        found.measure(found.plans["quick"], seed, "cpu")
    assert seen == [found.data["galaxies"]] * 2
    other = on_galaxies(SMALL, tmp_path, Source(tmp_path / "cache", 1, catalog=path), "quick")
    assert other.data["galaxies"] != found.data["galaxies"], "other rows"


def test_other_images_are_other_galaxies(columns: dict[str, Any], tmp_path: Path) -> None:
    """With images the claim is the paper's own, and cutouts are part of what is gone on with."""
    few = {name: values[:80] for name, values in columns.items()} | {"lgm_tot_p50": columns["MASS"][:80]}
    path = write_catalog(tmp_path / "c.fits", **few)
    pixels = np.random.default_rng(1).normal(0, 0.1, (5, 66, 66)).astype(np.float32)
    (tmp_path / "cutouts").mkdir()
    for row in range(80):
        write_stamp(tmp_path / "cutouts" / f"{row}.fits", pixels, few["RA"][row], few["DEC"][row], "ugriz",
                    np.diag([-0.396, 0.396]) / 3600)  # fmt: skip
    source = Source(tmp_path / "cache", 0, catalog=path)
    found = on_galaxies(mass_synergy.EXPERIMENT, tmp_path / "out", source, "full")
    assert found.plans["full"] == replace(mass_synergy.PLANS["full"], objects=80)
    assert found.sample.startswith("galaxies of c.fits (not marked as mock), 64 to learn from and 8 held out")
    write_stamp(tmp_path / "cutouts" / "7.fits", pixels + 1, few["RA"][7], few["DEC"][7], "ugriz",
                np.diag([-0.396, 0.396]) / 3600)  # fmt: skip
    other = on_galaxies(mass_synergy.EXPERIMENT, tmp_path / "out", source, "full")
    assert other.data["galaxies"] == found.data["galaxies"]
    assert other.data["stamps"] != found.data["stamps"]


def test_a_series_takes_its_galaxies_from_the_catalogue_too(
    galcli: Run, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    shrink(monkeypatch)
    monkeypatch.setitem(series.SERIES, "mass-all", ("mass-synergy", "mass-infrared"))
    out = tmp_path / "out"
    table = galcli("experiment", "mass-all", "-o", out, *words(catalog, "--seeds", 1)).out
    assert table.count("galaxies of c.fits (not marked as mock)") == 2
    assert table.count("(stand-in for the paper's claim) |") == 4
    refused = galcli("experiment", "mass-all", "-o", out, "--resume", "--device", "cpu", code=4)
    assert "holds another experiment" in refused.error
    assert (out / "table.md").read_text() == table, "refused before anything is written"


def test_a_stopped_seed_goes_on_with_its_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = on_galaxies(SMALL, tmp_path, Source(tmp_path / "cache", 0), "quick")
    known = mass_information.measured(TINY, 0, "cpu")
    train, begun = mass_information.train, []

    def watched(network: Network) -> str:
        if len(begun) == 2:
            begun.clear()
            raise Interrupted("stopped", "go on with --resume")
        begun.append(network.done)
        return train(network)

    monkeypatch.setattr(mass_information, "train", watched)
    with pytest.raises(Interrupted):
        run_experiment(tmp_path, experiment, seeds=1, device="cpu")
    monkeypatch.setattr(mass_information, "train", lambda network: begun.append(network.done) or train(network))
    run_experiment(tmp_path, experiment, seeds=1, resume=True, device="cpu")
    assert begun == [True, True, False], "those of before are only loaded"
    assert json.loads((tmp_path / "seed-0.json").read_text())["figures"] == known, "as if it had never been stopped"


@pytest.mark.parametrize(
    "given", [("--target", "M"), ("--cutouts", "x", "--preset", "full"), ("--map", "Z=ZSPEC"), ("--hdu", 2)]
)
def test_words_on_a_catalogue_that_is_not_given_are_refused(
    galcli: Run, given: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert "without a catalogue" in galcli("experiment", "mass-all", "-o", out, *given, code=2).error
    assert not out.exists()


def test_cutouts_are_refused_where_no_images_are_taken(galcli: Run, catalog: Path, tmp_path: Path) -> None:
    out, more = tmp_path / "out", words(catalog, "--cutouts", "x")
    assert "--preset quick takes no images" in galcli("experiment", "mass-all", "-o", out, *more, code=2).error
    assert not out.exists()
    for module in (mass_synergy, mass_infrared, mass_bands):
        for preset, plan in module.PLANS.items():
            assert any(parse_pair(pair).both.images for pair in plan.pairs) is (preset == "full")


def test_an_unknown_preset_is_refused(catalog: Path, tmp_path: Path) -> None:
    source = Source(tmp_path / "cache", 0, catalog=catalog)
    with pytest.raises(UsageError, match="unknown preset 'tiny'"):
        on_galaxies(SMALL, tmp_path / "out", source, "tiny")


def test_too_little_is_known_for_one_and_the_others_are_done(
    galcli: Run, columns: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A catalogue without infrared: its experiment is not done, and the table says why."""

    def find(name: str) -> Experiment:
        pairs = TINY.pairs if name == "mass-synergy" else mass_infrared.PLANS["quick"].pairs
        return replace(SMALL, name=name, plans=SMALL.plans | {"quick": replace(TINY, pairs=pairs)})

    path = write_catalog(tmp_path / "c.fits", **{name: values for name, values in columns.items() if name[0] != "w"})
    monkeypatch.setitem(series.SERIES, "mass-all", ("mass-infrared", "mass-synergy"))
    monkeypatch.setattr(series, "find", find)
    galcli("experiment", "mass-all", "-o", tmp_path / "out", *words(path, "--seeds", 1), code=4)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "w1mpro" in table.partition("| not done |")[0]
    assert table.count("(stand-in for the paper's claim) |") == 2
