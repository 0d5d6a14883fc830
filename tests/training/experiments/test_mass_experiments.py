"""Experiments on stellar mass: their claims at known numbers, and a small run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from galcli.training.experiments import mass_bands, mass_infrared, mass_synergy
from galcli.training.experiments.mass_information import PARTS, Sizes, draw_parts, measured
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


def test_infrared_claims_compare_the_pairs_in_their_order() -> None:
    def seeds(before: float, after: float) -> list[Result]:
        names = mass_infrared.PLANS["quick"].pairs
        return [
            result(**{names[0]: {"U2": before + noise, "S": 0.3}, names[1]: {"U2": after - noise, "S": 0.1}})
            for noise in (0.0, 0.003, -0.003)
        ]

    assert verdicts(mass_infrared.claims(seeds(0.2, 0.05))) == ["holds", "holds"]
    assert verdicts(mass_infrared.claims(seeds(0.05, 0.2))) == ["fails", "holds"], "what is added is U2 + S"
    assert verdicts(mass_infrared.claims(seeds(0.0, 0.4))) == ["fails", "fails"]


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
    (grouped,) = (
        claim for claim in mass_bands.claims(seeds("phot[gr]")) if "neighbouring bands of photo" in claim.statement
    )
    assert grouped.verdict == "holds"


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
    top = figure.axes[0]
    heights = [bar.get_height() for bar in top.containers[0]]
    expected = np.mean([[one[pair]["pointwise"]["R"] for pair in plan.pairs] for one in (first, other)], 0)
    np.testing.assert_allclose(heights, expected)
