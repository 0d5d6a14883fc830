"""Utilisation: how many concepts a sample of images takes (models.md 4.3, row 7; Figure 6).

Concepts are sorted by the fraction of held-out images that use them, each with more than 1 % of the energy of the image's
codes. The area under that curve, in parts of the dictionary, is the mean number of concepts that an image uses over p. With
K of them active, and nearly all of them above 1 %, it is about K / p for every model, so that at the same K it hardly tells
models apart, and at different K says no more than K. Two other comparisons can: of the error, with SAE-MLP at twice the K;
and of how steeply the curve falls, which is what the paper reads off its figure, as the number of concepts that take 90 %
of all uses. Codes are not equally many: with K = 8 an image has 8 that are not 0 in SAE-MLP, and in SAE-FNO 8 maps x rho x
256 px = 64, whose places are free (quick). That SAE-FNO explains more with fewer concepts is also owed to this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS, curves
from galcli.training.experiments.sae_gallery import gallery, group, wrapped
from galcli.training.experiments.sae_learning import (
    FULL,
    KINDS,
    QUICK,
    Learning,
    learn,
    pictures,
    split,
    unexplained,
    used,
)
from galcli.training.experiments.sae_samples import galaxies
from galcli.training.experiments.sae_synthetic import rounded
from galcli.training.experiments.statistics import Claim, compare
from galcli.training.seeds import mix

#: What is compared: kind, K over that of the plan, and colour.
COMPARED = {"mlp": ("mlp", 1, COLOURS[0]), "more": ("mlp", 2, COLOURS[3]), "fno": ("fno", 1, COLOURS[2])}
#: Part of all uses that the concepts which are used most shall take.
MOST = 0.9
#: Concepts kept for the picture, and how many stand in a row.
SHOWN, COLUMNS = 16, 8

PLANS = {"quick": QUICK, "full": FULL}


def measure(plan: Learning, seed: int, device: str) -> dict[str, Any]:
    """Fraction of the held-out images that use each concept, from the most used one on, by kind."""
    known, held = split(galaxies(plan.images, plan.side, mix(seed, 0)).to(device))
    found = {}
    for name, (kind, times, _) in COMPARED.items():
        learned = learn(kind, known, replace(plan, active=times * plan.active), mix(seed, 1))
        share = used(learned.strengths(held)).sort(descending=True)
        found[name] = {
            "active": times * plan.active,
            "used": rounded(share.values.tolist(), 5),
            "unexplained": round(unexplained(learned, held), 5),
            "atoms": pictures(learned.atoms(), share.indices[:SHOWN]),
        }
    return found


def area(shares: list[float]) -> float:
    """Area under a curve of use, over ranks in parts of the dictionary."""
    return float(np.mean(shares))


def enough(shares: list[float]) -> float:
    """Number of the most used concepts that take 90 % of all uses."""
    part = np.cumsum(shares) / np.sum(shares)
    return float(np.searchsorted(part, MOST)) + 1


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """SAE-FNO uses fewer concepts than SAE-MLP, and explains more with them."""

    def of(name: str, figure: Callable[[list[float]], float]) -> list[float]:
        return [figure(one[name]["used"]) for one in results]

    def left(name: str) -> list[float]:
        return [one[name]["unexplained"] for one in results]

    few, many = results[0]["fno"]["active"], results[0]["more"]["active"]
    return [
        Claim(
            "the area under SAE-FNO's curve of use is smaller than under SAE-MLP's at the same K",
            (compare("area: that of SAE-MLP less that of SAE-FNO", of("fno", area), of("mlp", area)),),
        ),
        Claim(
            f"SAE-FNO with K = {few} explains more than SAE-MLP with K = {many}",
            (compare("variance unexplained, that of SAE-MLP less that of SAE-FNO", left("fno"), left("more")),),
        ),
        Claim(
            "fewer concepts of SAE-FNO than of SAE-MLP describe the sample",
            (compare("concepts for 90 % of all uses: SAE-MLP less SAE-FNO", of("fno", enough), of("mlp", enough)),),
        ),
    ]


def draw(figure: Figure, results: list[dict[str, Any]]) -> None:
    """The curves, and the concepts that are used most."""
    figure.set_size_inches(14, 6.5)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.1))[0]
    axes = left.subplots()
    for name, (kind, _, colour) in COMPARED.items():
        shares = [one[name]["used"] for one in results]
        words = (
            f"{KINDS[kind]}, K = {results[0][name]['active']}: area {np.mean([area(one) for one in shares]):.3f},"
            f"\n{np.mean([enough(one) for one in shares]):.0f} concepts take 90 % of the uses,"
            f" {100 * np.mean([one[name]['unexplained'] for one in results]):.1f} % unexplained"
        )
        curves(axes, np.arange(1, len(shares[0]) + 1).tolist(), shares, colour, words)
    axes.set(xlabel="concepts, the most used one first", ylabel="held-out galaxies that use it", ylim=(0, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="upper right")
    rows = [
        row
        for name, (kind, _, _) in COMPARED.items()
        for row in wrapped(
            group(f"{KINDS[kind]}, K = {results[0][name]['active']}", results[0][name]["atoms"]), COLUMNS
        )
    ]
    gallery(right, "the concepts that most galaxies use, r band", rows)


EXPERIMENT = Experiment(
    "sae-utilisation", "How many concepts describe a sample of galaxies", PLANS, measure, claims, draw,
    "MOCK galaxies (Legacy Surveys g, r, z)",
)  # fmt: skip
