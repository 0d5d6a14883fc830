"""Synergy: whether shapes tell something of the mass together with photometry that neither tells alone (models.md 2.5).

The full size takes images, divided by the flux of the galaxy band by band, as published; the quick one what a pipeline
measures of their shapes, since networks of images learn for hours.
"""

from __future__ import annotations

from typing import Any

from galcli.training.experiments.criteria import at_least
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import SAMPLE, Sizes, draw_parts, measured, of
from galcli.training.experiments.statistics import Claim

PLANS = {
    "quick": Sizes(16_384, 30.0, ("optical:morphology",)),
    "full": Sizes(65_536, 8.0, ("optical:shapes",)),
}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """Mean synergy above 0, by the published rule and by that of the population."""
    (pair,) = results[0]
    return [
        Claim(
            f"synergistic information of {pair}: {words}",
            (at_least("mean S [nat]", of(results, pair, "S", rule), 0.0),),
        )
        for rule, words in (
            ("pointwise", "minimum of each galaxy, as published"),
            ("population", "minimum of the means"),
        )
    ]


EXPERIMENT = Experiment(
    "mass-synergy",
    "Do shapes and photometry tell more of the mass together?",
    PLANS,
    measured,
    claims,
    draw_parts,
    SAMPLE,
)
