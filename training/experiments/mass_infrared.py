"""Infrared: whether images leave less for infrared photometry to tell than optical photometry does (models.md 2.5).

The full size takes images, as published; the quick one photometry with what a pipeline measures of shapes, since
networks of images learn for hours.
"""

from __future__ import annotations

from typing import Any

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import SAMPLE, Sizes, draw_parts, measured, of
from galcli.training.experiments.statistics import Claim, compare

PLANS = {
    "quick": Sizes(16_384, 30.0, ("optical:infrared", "optical+morphology:infrared")),
    "full": Sizes(65_536, 8.0, ("optical:infrared", "images:infrared")),
}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """Unique information of the infrared drops, and so does what it adds (I12 - I1)."""
    before, after = results[0]

    def unique(rule: str, pair: str) -> list[float]:
        return of(results, pair, "U2", rule)

    def added(pair: str) -> list[float]:
        return [
            both - one
            for both, one in zip(
                of(results, pair, "I12", "pointwise"), of(results, pair, "I1", "pointwise"), strict=True
            )
        ]

    return [
        Claim(
            f"unique information of the infrared drops from {before} to {after}: minimum of each galaxy, as published",
            (compare("U2 [nat]: the first less the second", unique("pointwise", after), unique("pointwise", before)),),
        ),
        Claim(
            f"the infrared adds less in {after} than in {before}",
            (compare("I12 - I1 [nat]: the first less the second", added(after), added(before)),),
        ),
    ]


EXPERIMENT = Experiment(
    "mass-infrared",
    "Do optical images make infrared photometry dispensable?",
    PLANS,
    measured,
    claims,
    draw_parts,
    SAMPLE,
)
