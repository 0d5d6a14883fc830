"""Bands: whether sets of bands with g have the most synergy with the others (models.md 2.5).

Photometric bands, one against the other seven and neighbours against the other six. The full size also takes bands of
images.
"""

from __future__ import annotations

from typing import Any

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import RULE, SAMPLE, Sizes, draw_parts, measured, of
from galcli.training.experiments.statistics import Claim, compare
from galcli.training.interpret.information_pairs import PUBLISHED
from galcli.training.recipes.mass_words import PHOTOMETRY

#: Groups of published pairs.
_BANDS = [pair for pair in PUBLISHED if pair.name.startswith(("phot[", "images["))]
_PHOTOMETRIC = tuple(pair.name for pair in _BANDS if not pair.both.images)

PLANS = {
    "quick": Sizes(8_192, 20.0, _PHOTOMETRIC),
    "full": Sizes(65_536, 8.0, tuple(pair.name for pair in _BANDS)),
}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """Synergy of sets with g, less the largest of the others, by the published rule and by that of the population."""
    found = []
    for title, pairs in _kinds(list(results[0])).items():
        for rule, words in RULE.items():
            synergy = {pair: of(results, pair, "S", rule) for pair in pairs}
            with_g = [pair for pair in pairs if "g" in _first(pair)]
            best = [max(synergy[pair][seed] for pair in with_g) for seed in range(len(results))]
            rest = [max(synergy[pair][seed] for pair in pairs if pair not in with_g) for seed in range(len(results))]
            found.append(
                Claim(
                    f"of {title}, one with g has the most synergy with the others: {words}",
                    (compare("S [nat]: largest with g less largest without", rest, best),),
                )
            )
    return found


def _kinds(pairs: list[str]) -> dict[str, list[str]]:
    """Pairs by what stands first in them."""
    kinds: dict[str, list[str]] = {}
    for pair in pairs:
        first = _first(pair)
        one = first in PHOTOMETRY
        words = f"{'single bands' if one else 'neighbouring bands'} of {'photometry' if pair.startswith('phot') else 'images'}"
        kinds.setdefault(words, []).append(pair)
    return kinds


def _first(pair: str) -> str:
    """Bands of the first input, such as ``gr``."""
    return pair.partition(":")[0].partition("[")[2].rstrip("]")


EXPERIMENT = Experiment(
    "mass-bands",
    "Which bands tell most of the mass together with the others?",
    PLANS,
    measured,
    claims,
    draw_parts,
    SAMPLE,
)
