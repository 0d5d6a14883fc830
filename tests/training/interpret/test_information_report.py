"""The report of information: page, pictures, numbers and tables say the same, and nothing is trained twice."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from galcli.errors import UsageError
from galcli.progress import Lines
from galcli.training.interpret import information_runs
from galcli.training.interpret.information import QUANTITIES, empirical_prior
from galcli.training.interpret.information_figures import bars_figure, bars_size, profiles_figure
from galcli.training.interpret.information_numbers import RULES, Decomposed, Sample, decompose_pair, sample_of
from galcli.training.interpret.information_pairs import PUBLISHED, Pair, pairs_of
from galcli.training.interpret.information_report import Asked, write_report
from galcli.training.interpret.information_table import information_hdus
from galcli.training.recipes.mass_data import TEST, Source
from galcli.training.recipes.mass_posterior import bins_of
from tests.survey import write_catalog
from tests.training.interpret.planted_galaxies import planted_galaxies
from tests.training.interpret.test_dmagnet_report import headings, numbers_of, pictures_in

WORDS = ("optical:infrared", "phot[gr]:redshift")
OBJECTS = 1500


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("information")


@pytest.fixture(scope="module")
def asked(root: Path) -> Asked:
    source = Source(root / "cache", 5, OBJECTS)
    return Asked(pairs_of(WORDS, source), source, root / "networks", 2, "quick", 1.0, "cpu")


@pytest.fixture(scope="module")
def report(root: Path, asked: Asked) -> Path:
    return write_report(root / "report", asked, Lines()).parent


def simulated(pairs: Sequence[Pair], seeds: int, tested: int = 400) -> tuple[list[Decomposed], Sample]:
    """Decompositions of made-up posteriors."""
    galaxies, draw = planted_galaxies(400, tested), np.random.default_rng(0)
    galaxies.columns["Z"] = draw.uniform(0, 0.3, len(galaxies)).astype(np.float32)
    sample = sample_of(galaxies)

    def said(gain: float) -> NDArray[np.float64]:
        return -sample.prior.surprise(sample.bins) + draw.normal(gain, 0.5, tested)

    found = []
    for pair in pairs:
        low, high = sorted(draw.uniform(0, 1, 2))
        runs = [(said(low), said(high), said(high + 0.3)) for _ in range(seeds)]
        found.append(decompose_pair(pair, runs, sample))
    return found, sample


def test_page_holds_its_parts_and_needs_no_other_file(report: Path) -> None:
    page = report / "index.html"
    held = pictures_in(page)
    assert set(held) == {"pairs-1", "profiles-1", "profiles-2"}
    assert all((report / f"{name}.png").read_bytes() == data for name, data in held.items())
    assert headings(page) == ["Information of pairs", "Networks", "optical and infrared", "phot[gr] and redshift"]
    text = page.read_text()
    assert not re.findall(r"src=(?!\"data:)|https?:|url\(|@import", text)
    for words in (
        "MOCK galaxies",
        "MOCK training",
        "lower bounds",
        "but for the scatter of galaxies and seeds",
        "that of the 1,200 galaxies that were learned from",
        "R, U1, U2 and S all shift where a network of one input is the weaker one",
        "In each galaxy one of U1 and U2 is 0",
        "R and S may be negative",
        "two of them are shown",
        "2 seeds only",
        "150 that no network saw",
    ):
        assert words in text


def test_numbers_tables_and_page_agree(report: Path) -> None:
    numbers, text = numbers_of(report), (report / "index.html").read_text()
    table = fitsio.read(str(report / "information.fits"), ext="INFORMATION")
    assert [(row["X1"], row["X2"], row["RULE"]) for row in table] == [
        (*words.split(":"), rule) for words in WORDS for rule in RULES
    ]
    for row, (one, rule) in zip(table, [(one, rule) for one in numbers["pairs"] for rule in RULES], strict=True):
        for name in QUANTITIES:
            told = one[rule][name]
            assert row[name] == told["mean"] == pytest.approx(np.mean(told["seeds"]))
            assert (row[f"{name}_ERR"], row[f"{name}_SPREAD"]) == (told["error"], told["spread"])
            cell = f"{told['mean']:.3f} ± {told['error']:.3f} ({told['spread']:.3f})"
            assert cell.replace("-", "\u2212") in text
    for one in numbers["pairs"]:
        for rule in RULES:
            mean = {name: one[rule][name]["mean"] for name in QUANTITIES}
            assert mean["R"] + mean["U1"] == pytest.approx(mean["I1"])
            assert mean["R"] + mean["U2"] == pytest.approx(mean["I2"])
            assert mean["R"] + mean["U1"] + mean["U2"] + mean["S"] == pytest.approx(mean["I12"])
    information = {one["words"]: np.mean(one["information"]) for one in numbers["networks"]}
    assert information["optical+infrared"] == pytest.approx(numbers["pairs"][0]["pointwise"]["I12"]["mean"], abs=1e-5)
    assert len(information) == 6


def test_galaxies_of_the_table_give_its_means(report: Path) -> None:
    with fitsio.FITS(str(report / "information.fits")) as file:
        galaxies, means, profiles = (file[name].read() for name in ("GALAXIES", "INFORMATION", "PROFILES"))
        header = file["GALAXIES"].read_header()
    assert len(galaxies) == numbers_of(report)["sample"]["test"] == 150
    for name in ("I1", "I2", "I12"):
        np.testing.assert_allclose(galaxies[name].mean(0), means[name][::2], atol=1e-5)
    assert (header["MOCK"], header["SEEDS"]) == (True, 2)
    assert "[nat]" in header[f"TCOMM{1 + list(galaxies.dtype.names).index('I12')}"]
    for variable in ("LOGM", "Z"):
        of = profiles[(profiles["VARIABLE"] == variable) & (profiles["X1"] == "optical")]
        assert of["COUNT"].sum() == len(galaxies)
        assert np.average(of["I12"], weights=of["COUNT"]) == pytest.approx(means["I12"][0])
        inside = (galaxies[variable] >= of["LOW"][2]) & (galaxies[variable] < of["HIGH"][2])
        assert inside.sum() == of["COUNT"][2]
        assert of["MIDDLE"][2] == pytest.approx(galaxies[variable][inside].mean(), rel=1e-5)


def test_a_second_report_trains_nothing(
    report: Path, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(information_runs, "train_mass", never)
    write_report(tmp_path / "again", asked, Lines())
    for name in ("information.fits", "metrics.json", "index.html"):
        assert (tmp_path / "again" / name).read_bytes() == (report / name).read_bytes()


def test_other_folders_and_presets_are_refused(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="no report"):
        write_report(tmp_path, asked, Lines())
    with pytest.raises(UsageError, match="preset"):
        write_report(tmp_path / "new", replace(asked, preset="best"), Lines())


def test_a_weak_union_is_noticed() -> None:
    galaxies, draw = planted_galaxies(400, 300), np.random.default_rng(1)
    sample = sample_of(galaxies)
    gain = draw.normal(0, 0.5, (3, 300))
    for lost, weak in ((0.0, False), (0.4, True)):
        log_p = [-sample.prior.surprise(sample.bins) + one for one in (gain[0], gain[1] + 0.5, gain[2] + 0.5 - lost)]
        found = decompose_pair(PUBLISHED[0], [(log_p[0], log_p[1], log_p[2])] * 3, sample)
        assert found.weak == weak


def test_networks_that_have_learned_nothing_are_noticed() -> None:
    galaxies, draw = planted_galaxies(400, 300), np.random.default_rng(3)
    sample = sample_of(galaxies)
    gain = draw.normal(0, 0.5, (3, 300))
    for lost, unlearned in ((0.0, False), (0.3, True)):
        log_p = [
            -sample.prior.surprise(sample.bins) + one for one in (gain[0] + 0.2, gain[1] + 0.1 - lost, gain[2] + 0.3)
        ]
        found = decompose_pair(PUBLISHED[0], [(log_p[0], log_p[1], log_p[2])] * 3, sample)
        assert found.unlearned == unlearned
        assert not found.weak
        figure = Figure(figsize=bars_size(2), layout="constrained")
        bars_figure([found, found], figure)
        figure.canvas.draw()
        for axes in figure.axes[1:]:
            assert len(axes.patches) == (0 if unlearned else 8), "no part means anything"
            assert [text.get_text() for text in axes.texts] == ["information below 0: no parts"] * (2 * unlearned)


def test_errors_are_those_of_one_seed() -> None:
    """All seeds see the same galaxies: more seeds make means of networks better, not the sample larger."""
    galaxies = planted_galaxies(400, 300)
    sample, draw = sample_of(galaxies), np.random.default_rng(2)
    three = tuple(-sample.prior.surprise(sample.bins) + draw.normal(0.3, 0.5, 300) for _ in range(3))
    one, many = (decompose_pair(PUBLISHED[0], [three] * seeds, sample) for seeds in (1, 4))  # type: ignore[list-item]
    for rule in RULES:
        for name in QUANTITIES:
            assert many.rules[rule][name].error == pytest.approx(one.rules[rule][name].error)
            assert many.rules[rule][name].spread == pytest.approx(0, abs=1e-12)
            assert np.isnan(one.rules[rule][name].spread)
            assert np.isfinite(one.rules[rule][name].bar)
    np.testing.assert_allclose(many.profiles["LOGM"].error["S"], one.profiles["LOGM"].error["S"])
    assert json.dumps(one.rules["pointwise"]["S"].told(), allow_nan=False)


def test_prior_is_that_of_training_galaxies() -> None:
    galaxies = planted_galaxies(500, 100)
    sample = sample_of(galaxies)
    np.testing.assert_array_equal(sample.prior.counts, empirical_prior(bins_of(galaxies.target[:500])).counts)
    np.testing.assert_array_equal(sample.bins, bins_of(galaxies.target[galaxies.rows(TEST)]))
    assert set(sample.variables) == {"LOGM"}, "no profile over a redshift that nobody knows"


def test_pictures_of_one_and_of_29_pairs() -> None:
    """Every pair has all of its bars, in both rules; pictures grow with their number."""
    found, _ = simulated(PUBLISHED, 3, 60)
    for several in (found, found[:1]):
        figure = Figure(figsize=bars_size(len(several)), layout="constrained")
        bars_figure(several, figure)
        figure.canvas.draw()
        whole, *parts = figure.axes
        assert [label.get_text().split("\nand ") for label in whole.get_yticklabels()] == [
            list(one.pair.names) for one in several
        ]
        for axes, rule in zip(parts, RULES, strict=True):
            widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
            assert widths == [one.rules[rule][name].mean for name in ("R", "U1", "U2", "S") for one in several]
        assert parts[0].get_xlim() == parts[1].get_xlim()
    figure = Figure(figsize=(11, 4), layout="constrained")
    profiles_figure(found[0], figure)
    figure.canvas.draw()
    assert [axes.get_xlabel() for axes in figure.axes] == ["log M* [Msun]", "redshift"]


def test_large_tables_leave_single_galaxies_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found, sample = simulated(PUBLISHED[:2], 1)
    assert [hdu.name for hdu in information_hdus(found, sample, [])] == ["INFORMATION", "PROFILES", "GALAXIES"]
    monkeypatch.setattr("galcli.training.interpret.information_table.MOST", 2 * 12 * 400 - 1)
    assert [hdu.name for hdu in information_hdus(found, sample, [])] == ["INFORMATION", "PROFILES"]


def test_columns_of_a_catalogue(tmp_path: Path) -> None:
    """Its own columns and mass, with sentinels, and without redshifts."""
    galaxies, rows = planted_galaxies(1000, 100), np.arange(900)
    columns = {name: galaxies.columns[name][rows].astype(np.float64) for name in ("P1", "P3", "EBV")}
    columns["P3"][:40] = -9999
    path = write_catalog(tmp_path / "own.fits", RA=rows / 10, DEC=rows / 20, LOGM=galaxies.target[rows], **columns)
    source = Source(tmp_path / "cache", 5, catalog=path, target="LOGM")
    asked = Asked(pairs_of(["p1:P3"], source), source, tmp_path / "networks", 1, "quick", 1.0, "cpu")
    folder = write_report(tmp_path / "report", asked, Lines()).parent
    numbers, text = numbers_of(folder), (folder / "index.html").read_text()
    assert {numbers["sample"][part] for part in ("name", "mock", "left_out")} == {"own.fits", False, 40}
    assert list(numbers["pairs"][0]["profiles"]) == ["LOGM"]
    assert "MOCK" not in text
    assert "40 without a mass in range or without a value" in text


@pytest.mark.slow
def test_images_are_told_apart(root: Path) -> None:
    """Normalised images and photometry, few galaxies, through all networks that they need."""
    source = Source(root / "cache", 5, 160)
    asked = Asked(pairs_of(["shapes[gr]:redshift"], source), source, root / "networks", 1, "quick", 1.0, "cpu")
    folder = write_report(root / "images", asked, Lines()).parent
    (one,) = numbers_of(folder)["pairs"]
    assert one["first"] == {"columns": [], "bands": "gr", "normalised": True}
    assert all(np.isfinite(one[rule][name]["mean"]) for rule in RULES for name in QUANTITIES)
