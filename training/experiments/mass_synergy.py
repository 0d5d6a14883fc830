"""Synergy: whether shapes tell something of the mass together with photometry that neither tells alone (models.md 2.5).

The full size takes images, divided by the flux of the galaxy band by band, as published. Networks of images learn for
hours: the quick size takes what a pipeline measures of shapes, and stands in for the paper's claim.
"""

from __future__ import annotations

from typing import Any

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import RULE, SAMPLE, Sizes, claim_of, draw_parts, measured, of
from galcli.training.experiments.statistics import Claim, Difference, mean_over_seeds

PLANS = {
    "quick": Sizes(16_384, 30.0, ("optical:morphology",)),
    "full": Sizes(65_536, 8.0, ("optical:shapes",)),
}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """Mean synergy above 0, by the published rule and by that of the population."""
    (pair,) = results[0]
    claim = claim_of(results)
    return [
        claim(
            f"synergistic information of {pair}: {words}",
            (Difference("mean S [nat]", mean_over_seeds(of(results, pair, "S", rule))),),
        )
        for rule, words in RULE.items()
    ]


EXPERIMENT = Experiment(
    "mass-synergy",
    "Do images and photometry tell more of the mass together?",
    PLANS,
    measured,
    claims,
    draw_parts,
    SAMPLE,
    {"quick": "Do measured shapes, in place of images, and photometry tell more of the mass together?"},
)
