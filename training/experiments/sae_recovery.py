"""Sparse recovery: whether atoms are found again, and faster in a lifted space (models.md 4.3, row 1; Figure 10).

Three autoencoders learn from the same noisy atoms and the same data: without lift, with a lift whose way back is learned,
and with an orthonormal one that stays as it is, which by Propositions C.1 and C.2 must make no difference: a control. Codes
are not followed back, so that the matrix L before the encoder gets no gradient and stays orthonormal in the second one too;
the way back P is learned, beside the atoms. What this gains is a longer step: at rates so high that the plain model needs
four steps to 0.95, both need the same (tried with 100 channels and rates of 1e-3 to 1.2e-2), and at the end the plain
model is the more accurate one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure

from galcli.training.experiments.criteria import at_most
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_descent import atoms_in_data, descend, model_of, unrolled
from galcli.training.experiments.sae_recovered import draw_recovery, recovery_claims, told
from galcli.training.experiments.sae_synthetic import batches, best_cosines, coherence, sparse_vectors
from galcli.training.experiments.statistics import Claim
from galcli.training.networks.dictionaries import Pointwise
from galcli.training.networks.sae import Lift
from galcli.training.seeds import mix

#: The three models.
TITLES = {
    "plain": "SAE",
    "lifted": "lifted SAE with a learned way back",
    "orthonormal": "SAE with a fixed orthonormal lift",
}
#: What counts as rounding.
SAME = 1e-4


@dataclass(frozen=True)
class Plan:
    """Sizes.

    Attributes
    ----------
    channels, concepts, active : int
        m, p, and the atoms in each sample.
    lifted_to : int
        Channels of the lifted space.
    samples, batch, steps : int
    rate : float
        Of learning.
    start_noise : float
        Standard deviation of what is added to each number of the true atoms.
    unrolled, alpha, threshold
        T, step and threshold of the encoder.
    """

    channels: int
    concepts: int
    active: int
    lifted_to: int
    samples: int
    batch: int
    steps: int
    rate: float
    start_noise: float
    unrolled: int
    alpha: float
    threshold: float


PLANS = {
    "quick": Plan(200, 300, 6, 240, 12_800, 64, 200, 4e-3, 0.04, 30, 0.2, 1.5),
    "full": Plan(1000, 1500, 20, 1200, 50_000, 256, 390, 4e-3, 0.02, 50, 0.2, 1.0),
}


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """What the three models find on the way, from the same start and the same data."""
    torch.manual_seed(mix(seed, 0))
    true = Pointwise(plan.channels, plan.concepts).to(device).weight.detach()
    codes = sparse_vectors(plan.samples, plan.concepts, plan.active, device)
    start = true + plan.start_noise * torch.randn_like(true)

    def learn(name: str) -> dict[str, Any]:
        torch.manual_seed(mix(seed, 1))  # the same lift to begin with
        lift = None if name == "plain" else Lift(plan.channels, plan.lifted_to, learned=name == "lifted").to(device)
        model = model_of(Pointwise, start, unrolled(plan.threshold, plan.unrolled, plan.alpha), lift)
        torch.manual_seed(mix(seed, 2))  # the same order of the data
        # Samples are the cells of one map: faster than as many maps of one cell.
        data = ((codes.dense(rows) @ true).t()[None, :, :, None]
                for rows in batches(plan.samples, plan.batch, plan.steps, device))  # fmt: skip
        course = descend(
            model, data, plan.rate, plan.batch, lambda one: best_cosines(atoms_in_data(one), true),
            lambda one: coherence(one.dictionary.weight.detach()),
        )  # fmt: skip
        return told(course, model)

    return {"models": {name: learn(name) for name in TITLES}}


def claims(results: Sequence[dict[str, Any]]) -> list[Claim]:
    """The criteria of models.md, and that an orthonormal lift makes no difference."""
    other = []
    for one in results:
        pairs = zip(*(one["models"][name]["found"] for name in ("plain", "orthonormal")), strict=True)
        other.append(max(abs(plain - turned) for plain, turned in pairs))
    turned = at_most("largest difference of the mean best cosine on the way", other, SAME)
    return [
        *recovery_claims(results, TITLES),
        Claim("control: a fixed orthonormal lift changes nothing (Propositions C.1, C.2)", (turned,)),
    ]


def draw(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    """Cosines and coherence against steps."""
    draw_recovery(figure, results, TITLES)


EXPERIMENT = Experiment(
    "sae-recovery", "Sparse recovery: are atoms found again, and faster in a lifted space?", PLANS, measure, claims,
    draw, "SYNTHETIC vectors: sparse sums of known random atoms",
)  # fmt: skip
