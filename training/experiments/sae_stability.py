"""Stability: whether concepts look alike whatever number of them may be active (models.md 4.3, row 5; Figure 4a and b).

How a concept looks is summed up by Hoyer's score of its atom: 1 for a single pixel, 0 for a constant, 0.2 for noise. The
paper takes it over all concepts, and does not say in which domain it takes SAE-FNO's. Here atoms are compared as images
on the grid of the training, where SAE-MLP's are what they are. Where few concepts are active most of SAE-FNO's are never
used and keep the noise that they began as, so that the median of all says little: that of the concepts which a held-out
image uses is judged beside, and that of their Fourier coefficients.

K counts concepts, not codes: an image has K codes that are not 0 in SAE-MLP, and as many in each of K maps as rho lets
through in SAE-FNO (eight times as many in quick), whose places are free.

For concepts in use the claim fails here. More steps (2000), and digits, on which the shift of SAE-FNO is five times that of
SAE-MLP, did not turn it; half the rate did, where atoms were still half noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS, curves
from galcli.training.experiments.sae_gallery import Row, gallery, group
from galcli.training.experiments.sae_learning import (
    FULL,
    KINDS,
    QUICK,
    Learning,
    hoyer,
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

#: The two that are compared, with their colours.
COMPARED = {"mlp": COLOURS[0], "fno": COLOURS[2]}
#: What is judged.
JUDGED = {
    "all": "all, as images",
    "used": "those in use, as images",
    "coefficients": "those in use, as Fourier coefficients",
}
#: Concepts of each training that are kept for the picture.
SHOWN = 4


@dataclass(frozen=True)
class Plan(Learning):
    """Sizes.

    Attributes
    ----------
    counts : tuple of int
        K, one training for each; ``active`` is the one that other experiments look at.
    """

    counts: tuple[int, ...]


PLANS = {
    "quick": Plan(**asdict(QUICK), counts=(1, 2, 4, 8, 16)),
    "full": Plan(**asdict(FULL), counts=(1, 2, 4, 8, 16)),
}


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """Scores for every K, by kind; see `_one`."""
    known, held = split(galaxies(plan.images, plan.side, mix(seed, 0)).to(device))
    found: dict[str, Any] = {"counts": list(plan.counts)}
    for kind in COMPARED:
        tries = [_one(kind, known, held, replace(plan, active=count), mix(seed, 1)) for count in plan.counts]
        found[kind] = {key: [one[key] for one in tries] for key in tries[0]}
    return found


def _one(kind: str, known: Tensor, held: Tensor, plan: Learning, seed: int) -> dict[str, Any]:
    """Scores of all concepts and of those in use, the latter also of the weights; error and pictures."""
    learned = learn(kind, known, plan, seed)
    share, atoms = used(learned.strengths(held)), learned.atoms()
    scores, weights = hoyer(atoms), hoyer(learned.model.dictionary.weight.detach())
    return {
        "all": rounded(scores.tolist(), 4),
        "used": rounded(scores[share > 0].tolist(), 4),
        "coefficients": rounded(weights[share > 0].tolist(), 4),
        "unexplained": round(unexplained(learned, held), 5),
        "atoms": pictures(atoms, share.argsort(descending=True)[:SHOWN]),
    }


def shift(scores: list[list[float]]) -> float:
    """Largest difference between the medians of different K."""
    medians = [median(one) for one in scores]
    return max(medians) - min(medians)


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """SAE-FNO's scores move less with K than SAE-MLP's."""
    among = ", ".join(map(str, results[0]["counts"]))
    words = f"largest shift of the median Hoyer score among K = {among}: that of SAE-MLP less that of SAE-FNO"
    return [
        Claim(
            f"concepts of SAE-FNO change less with K than those of SAE-MLP: {taken}",
            (compare(words, [shift(one["fno"][key]) for one in results], [shift(one["mlp"][key]) for one in results]),),
        )
        for key, taken in JUDGED.items()
    ]


def draw(figure: Figure, results: list[dict[str, Any]]) -> None:
    """Distributions of the scores for every K, errors, and the concepts that are used most."""
    figure.set_size_inches(14, 7.5)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 0.62))[:, 0]
    scores, medians, errors = above.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _violins(scores, results)
    counts = results[0]["counts"]
    for kind, colour in COMPARED.items():
        rows = [[median(one) for one in result[kind]["used"]] for result in results]
        curves(medians, counts, rows, colour, f"{KINDS[kind]}, as images")
        curves(errors, counts, [one[kind]["unexplained"] for one in results], colour, KINDS[kind])
    rows = [[median(one) for one in result["fno"]["coefficients"]] for result in results]
    curves(medians, counts, rows, COMPARED["fno"], f"{KINDS['fno']}, coefficients", "--")
    medians.set(ylabel="median Hoyer score", title="range of the seeds shaded")
    errors.set(ylabel="fraction of variance unexplained", ylim=(0, None), title="held-out galaxies")
    for axes in (medians, errors):
        axes.set(xscale="log", xlabel="K, active concepts of an image")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.legend()
    gallery(below, "the concepts that most galaxies use, r band", _rows(results[0]))


def _violins(axes: Axes, results: list[dict[str, Any]]) -> None:
    """Scores of all seeds together."""
    counts = results[0]["counts"]
    for side, (kind, colour) in enumerate(COMPARED.items()):
        pooled = [np.concatenate([one[kind]["used"][number] for one in results]) for number in range(len(counts))]
        places = np.arange(len(counts)) + 0.2 * (2 * side - 1)
        parts = axes.violinplot(pooled, places, widths=0.36, showmedians=True, showextrema=False)
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=colour, alpha=0.4)
        parts["cmedians"].set_color(colour)
        axes.plot([], [], color=colour, label=KINDS[kind])
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.set(xlabel="K, active concepts of an image", ylabel="Hoyer score (0 dense, 1 one pixel)")
    axes.set_title("concepts in use, as images; line: median")
    axes.legend()


def _rows(result: dict[str, Any]) -> list[Row]:
    """Concepts of one seed, K after K."""
    return [
        [
            cell
            for count, shown in zip(result["counts"], result[kind]["atoms"], strict=True)
            for cell in group(f"{KINDS[kind]}, K = {count}", shown)
        ]
        for kind in COMPARED
    ]


EXPERIMENT = Experiment(
    "sae-stability", "Whether concepts change with the number that may be active", PLANS, measure, claims, draw,
    "MOCK galaxies (Legacy Surveys g, r, z)",
)  # fmt: skip
