"""Correlation: how alike the concepts of a dictionary are (models.md 4.3, row 6; Figure 4d).

Cosines between all pairs of decoder atoms, flattened as they are (not moved against each other): of concepts that a
held-out image uses, and of all, of which the others keep the random directions that they began with.

The claim fails here, and what was tried does not turn it: rho of 1/8 and 1, K of 2 and 16, a third of the rate, galaxies
without noise, digits, and images with a flat spectrum. What decides is how many numbers an atom has. Of SAE-CNN the scatter
is 0.44, 0.32, 0.20, 0.11 with kernels of 3, 5, 11, 15 px; of SAE-FNO 0.32, 0.22, 0.12 with M = 1, 2, 5, which are 3 x 3,
5 x 5, 11 x 11 numbers per band (quick, one seed): SAE-FNO's is broader only where it has fewer of them than SAE-CNN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS
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

#: What is compared, with colours; SAE-MLP is shown beside.
COMPARED = dict(zip(("mlp", "cnn", "fno"), COLOURS, strict=False))
#: Concepts kept for the picture, and how many stand in a row.
SHOWN, COLUMNS = 16, 8

PLANS = {"quick": QUICK, "full": FULL}


def measure(plan: Learning, seed: int, device: str) -> dict[str, Any]:
    """Cosines between concepts in use, and of all, by kind."""
    known, held = split(galaxies(plan.images, plan.side, mix(seed, 0)).to(device))
    found = {}
    for kind in COMPARED:
        learned = learn(kind, known, plan, mix(seed, 1))
        share, atoms = used(learned.strengths(held)), learned.model.dictionary.atoms()
        found[kind] = {
            "cosines": rounded(cosines(atoms[share > 0]).tolist(), 4),
            "all": round(float(cosines(atoms).std()), 5),
            "unexplained": round(unexplained(learned, held), 5),
            "atoms": pictures(learned.atoms(), share.argsort(descending=True)[:SHOWN]),
        }
    return found


def cosines(atoms: Tensor) -> Tensor:
    """Products of all pairs of vectors (p, D) of norm 1, (p (p - 1) / 2,)."""
    rows, columns = torch.triu_indices(len(atoms), len(atoms), 1)
    return (atoms @ atoms.t())[rows, columns]


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """SAE-FNO's cosines scatter more than SAE-CNN's: of all concepts, as models.md asks, and of those in use."""
    in_use = {kind: [float(np.std(one[kind]["cosines"])) for one in results] for kind in ("cnn", "fno")}
    whole = {kind: [one[kind]["all"] for one in results] for kind in ("cnn", "fno")}
    words = "scatter of the cosines: that of SAE-FNO less that of SAE-CNN"
    return [
        Claim(
            f"concepts of SAE-FNO span a broader range of correlations than those of SAE-CNN: {taken}",
            (compare(words, scatter["cnn"], scatter["fno"]),),
        )
        for taken, scatter in (("all", whole), ("those in use", in_use))
    ]


def draw(figure: Figure, results: list[dict[str, Any]]) -> None:
    """Histograms of the cosines of all seeds, and the concepts that are used most."""
    figure.set_size_inches(14, 6.5)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.15))[0]
    axes, edges = left.subplots(), np.linspace(-1, 1, 81)
    for kind, colour in COMPARED.items():
        values = np.concatenate([one[kind]["cosines"] for one in results])
        words = f"{KINDS[kind]}: scatter {values.std():.3f}, {100 * np.mean([one[kind]['unexplained'] for one in results]):.0f} % unexplained"
        axes.hist(values, edges, density=True, histtype="step", color=colour, linewidth=1.8, label=words)
    axes.set(xlabel="cosine between two concepts in use", ylabel="pairs per unit of cosine, all seeds")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper left")
    rows = [row for kind in COMPARED for row in wrapped(group(KINDS[kind], results[0][kind]["atoms"]), COLUMNS)]
    gallery(right, "the concepts that most galaxies use, r band", rows)


EXPERIMENT = Experiment(
    "sae-correlation", "How alike the concepts of sparse autoencoders are", PLANS, measure, claims, draw,
    "MOCK galaxies (Legacy Surveys g, r, z)",
)  # fmt: skip
