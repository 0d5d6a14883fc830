"""Experiments on stellar mass: their claims at known numbers, and a small run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from galcli.training.experiments import mass_bands, mass_infrared, mass_synergy
from galcli.training.experiments.claims_report import as_json, as_rows, as_text, what_was_run
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import PARTS, RULE, Sizes, draw_parts, measured
from galcli.training.interpret.information_pairs import parse_pair

Result = dict[str, Any]


def result(**pairs: dict[str, float]) -> Result:
    """One seed: quantities of each pair by both rules alike; I12 is their sum."""
    found = {}
    for name, parts in pairs.items():
        whole = {"R": 0.0, "U1": 0.0, "U2": 0.0, "S": 0.0} | parts
        told = whole | {"I1": whole["R"] + whole["U1"], "I2": whole["R"] + whole["U2"], "I12": sum(whole.values())}
        found[name] = {"pointwise": told, "population": told}
    return found


def verdicts(claims: list[Any]) -> list[str]:
    return [claim.verdict for claim in claims]


@pytest.mark.parametrize(("mean", "verdict"), [(0.1, "holds"), (-0.1, "fails"), (0.0, "undecided")])
def test_synergy_is_held_against_zero(mean: float, verdict: str) -> None:
    seeds = [result(**{"optical:morphology": {"S": mean + noise}}) for noise in (-0.01, 0.0, 0.01)]
    assert verdicts(mass_synergy.claims(seeds)) == [verdict, verdict]


def infrared(preset: str, before: float, after: float, left: float = 0.1) -> list[Result]:
    """Three seeds in which the infrared's unique information goes from one value to another, and S from 0.3 to `left`."""
    names = mass_infrared.PLANS[preset].pairs
    return [
        result(**{names[0]: {"U2": before + noise, "S": 0.3}, names[1]: {"U2": after - noise, "S": left}})
        for noise in (0.0, 0.003, -0.003)
    ]


def test_infrared_claims_compare_the_pairs_in_their_order() -> None:
    def found(*parts: float) -> list[str]:
        return verdicts(mass_infrared.claims(infrared("full", *parts)))

    assert found(0.2, 0.05) == ["holds", "holds", "holds"], "unique, added (U2 + S), half of what was added"
    assert found(0.05, 0.2) == ["fails", "holds", "fails"]
    assert found(0.0, 0.4) == ["fails", "fails", "fails"]
    assert found(0.2, 0.05, 0.4) == ["holds", "holds", "fails"]


def test_with_more_inputs_a_mere_drop_of_the_infrared_is_no_claim() -> None:
    """Beside all that was there before and more, the infrared can hardly add more: the claim must be able to fail."""
    (half,) = mass_infrared.claims(infrared("quick", 0.2, 0.05))
    assert half.verdict == "holds"
    (half,) = mass_infrared.claims(infrared("quick", 0.2, 0.1, 0.2))
    assert half.verdict == "fails", "0.5 before, 0.3 left"


@pytest.mark.parametrize("experiment", [mass_synergy.EXPERIMENT, mass_infrared.EXPERIMENT, mass_bands.EXPERIMENT])
def test_shapes_in_place_of_images_are_a_stand_in_wherever_the_claim_is_shown(experiment: Experiment) -> None:
    """In title, text, table and JSON; bands of photometry are the paper's own."""
    for preset, plan in experiment.plans.items():
        seeds = [result(**{pair: {"S": 0.1 + noise} for pair in plan.pairs}) for noise in (0.0, 0.01)]
        stand_in = preset == "quick" and experiment is not mass_bands.EXPERIMENT
        runs = [{"seed": 0, "device": "cpu", "seconds": 1.0}] * 2
        plans = [asdict(experiment.plans[name]) for name in (preset, "full")]
        title = experiment.title_of(preset)
        told = as_json(experiment.name, title, experiment.sample, {"preset": preset, "plan": plans[0]}, plans[1], runs,
                       experiment.claims(seeds))  # fmt: skip
        assert ("measured shapes, in place of" in title) is stand_in
        marks = [claim["stand_in"] for claim in told["claims"]]
        assert marks == [stand_in] * len(marks)
        shown = len(marks) if stand_in else 0
        assert as_text(told).count("(stand-in for the paper's claim)") == shown
        assert "\n".join(as_rows(told)).count("(stand-in for the paper's claim) |") == shown


def test_bands_are_compared_within_their_kind() -> None:
    pairs = mass_bands.PLANS["full"].pairs
    assert len(pairs) == 24
    kinds = mass_bands._kinds(list(pairs))
    assert {title: len(members) for title, members in kinds.items()} == {
        "single bands of images": 5, "neighbouring bands of images": 4,
        "single bands of photometry": 8, "neighbouring bands of photometry": 7,
    }  # fmt: skip

    def seeds(best: str) -> list[Result]:
        return [result(**{pair: {"S": noise + (pair.startswith(best))} for pair in pairs}) for noise in (0.0, 0.1, 0.2)]

    claims = mass_bands.claims(seeds("phot[g]"))
    assert {claim.verdict for claim in claims if "single bands of photometry" in claim.statement} == {"holds"}
    claims = mass_bands.claims(seeds("images[ri]"))
    assert {claim.verdict for claim in claims if "neighbouring bands of images" in claim.statement} == {"fails"}
    grouped = [
        claim for claim in mass_bands.claims(seeds("phot[gr]")) if "neighbouring bands of photo" in claim.statement
    ]
    assert [claim.verdict for claim in grouped] == ["holds", "holds"], "by either rule"


def test_the_rules_are_judged_for_themselves() -> None:
    """What is the most synergistic by one rule need not be so by the other."""
    pairs = mass_bands.PLANS["quick"].pairs
    seeds = [
        {
            pair: {rule: {"S": noise + ("[g]" in pair if rule == "pointwise" else "[r]" in pair)} for rule in RULE}
            for pair in pairs
        }
        for noise in (0.0, 0.1, 0.2)
    ]
    single = [claim for claim in mass_bands.claims(seeds) if "single bands" in claim.statement]
    assert verdicts(single) == ["holds", "fails"]


def test_long_lists_are_counted() -> None:
    plans = [asdict(mass_bands.PLANS[name]) for name in ("quick", "full")]
    assert what_was_run(*plans) == "objects 8192 (full: 65536), epochs 20.0 (full: 8.0), pairs 15 (full: 24)"


def test_all_pairs_can_be_read() -> None:
    for experiment in (mass_synergy.EXPERIMENT, mass_infrared.EXPERIMENT, mass_bands.EXPERIMENT):
        for plan in experiment.plans.values():
            assert [parse_pair(words).name for words in plan.pairs] == list(plan.pairs)


def test_a_seed_is_measured_to_the_same_numbers_again() -> None:
    plan = Sizes(700, 4.0, ("optical:infrared", "petroMag_r:petroMag_g"))
    first, again, other = (measured(plan, seed, "cpu") for seed in (1, 1, 2))
    assert first == again
    assert first != other
    for pair in plan.pairs:
        for rule in ("pointwise", "population"):
            told = first[pair][rule]
            assert sum(told[part] for part in PARTS) == pytest.approx(told["I12"], abs=1e-4)
    assert first["optical:infrared"]["population"]["R"] <= first["optical:infrared"]["population"]["I1"]
    figure = Figure()
    draw_parts(figure, [first, other])
    lengths = [bar.get_width() for bar in figure.axes[0].containers[0]]
    expected = np.mean([[one[pair]["pointwise"]["R"] for pair in plan.pairs] for one in (first, other)], 0)
    np.testing.assert_allclose(lengths, expected)
