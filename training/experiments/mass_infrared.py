"""Infrared: whether images leave less for infrared photometry to tell than optical photometry does (models.md 2.5).

The full size takes images, as published. Networks of images learn for hours: the quick size adds what a pipeline
measures of shapes to the photometry, and stands in for the paper's claim. With more inputs the infrared can hardly add
more than before, so that a mere drop says nothing there: judged is whether half of it is gone.
"""

from __future__ import annotations

from typing import Any

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import RULE, SAMPLE, Sizes, claim_of, draw_parts, measured, of
from galcli.training.experiments.statistics import Claim, compare
from galcli.training.interpret.information_pairs import parse_pair

PLANS = {
    "quick": Sizes(16_384, 30.0, ("optical:infrared", "optical+morphology:infrared")),
    "full": Sizes(65_536, 8.0, ("optical:infrared", "images:infrared")),
}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """Half of what the infrared adds (I12 - I1) is gone; where inputs are replaced, its unique information drops too."""
    before, after = results[0]
    least, most = _added(results, after), _added(results, before)
    found = [
        claim_of(results)(
            f"the infrared adds to {after.partition(':')[0]} at most half of what it adds to {before.partition(':')[0]}",
            (compare("I12 - I1 [nat]: half of the latter less the former", least, [one / 2 for one in most]),),
        )
    ]
    if set(parse_pair(before).first.columns) <= set(parse_pair(after).first.columns):
        return found
    unique, left = of(results, before, "U2", "pointwise"), of(results, after, "U2", "pointwise")
    return [
        Claim(
            f"unique information of the infrared drops from {before} to {after}: {RULE['pointwise']}",
            (compare("U2 [nat]: the first less the second", left, unique),),
        ),
        Claim(
            f"the infrared adds less in {after} than in {before}",
            (compare("I12 - I1 [nat]: the first less the second", least, most),),
        ),
        *found,
    ]


def _added(results: list[dict[str, Any]], pair: str) -> list[float]:
    """What the second input adds to the first, one per seed: alike by both rules."""
    both, one = (of(results, pair, name, "pointwise") for name in ("I12", "I1"))
    return [more - less for more, less in zip(both, one, strict=True)]


EXPERIMENT = Experiment(
    "mass-infrared",
    "Do optical images make infrared photometry dispensable?",
    PLANS,
    measured,
    claims,
    draw_parts,
    SAMPLE,
    {"quick": "Do measured shapes, in place of optical images, make infrared photometry dispensable?"},
)
