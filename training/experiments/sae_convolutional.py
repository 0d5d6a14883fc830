"""Convolutional recovery: whether kernels are found again, up to shift and sign (models.md 4.3, row 2).

Every image is one kernel, put at a few places. Two autoencoders learn from noisy kernels: one of the data's channels, one
that lifts them and learns the way back. As in `sae_recovery` codes are not followed back, so that the matrix L before the
encoder gets no gradient and stays orthonormal; the way back P is learned, beside the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_descent import atoms_in_data, descend, model_of, unrolled
from galcli.training.experiments.sae_recovered import draw_recovery, recovery_claims, told
from galcli.training.experiments.sae_synthetic import batches, best_cosines_shifted, coherence, sparse_maps
from galcli.training.experiments.statistics import Claim
from galcli.training.networks.dictionaries import Convolutional
from galcli.training.networks.sae import Lift
from galcli.training.seeds import mix

#: The two models.
TITLES = {"plain": "SAE-CNN", "lifted": "lifted SAE-CNN with a learned way back"}


@dataclass(frozen=True)
class Plan:
    """Sizes.

    Attributes
    ----------
    channels, kernels, support : int
        C, p, and the side of a kernel.
    side : int
        Of the images.
    places : int
        At which an image's kernel stands.
    lifted_to : int
        Channels of the lifted space.
    samples, batch, steps : int
    rate : float
        Of learning.
    start_noise : float
        Standard deviation of what is added to each number of the true kernels.
    unrolled, alpha, threshold
        T, step and threshold of the encoder.
    """

    channels: int
    kernels: int
    support: int
    side: int
    places: int
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
    "quick": Plan(32, 16, 5, 12, 3, 64, 3_840, 32, 120, 5e-4, 0.025, 10, 0.2, 1.0),
    "full": Plan(64, 32, 5, 16, 3, 128, 50_000, 64, 781, 1e-3, 0.02, 10, 0.2, 1.0),
}


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """What the two models find on the way, from the same start and the same data."""
    torch.manual_seed(mix(seed, 0))
    true = Convolutional(plan.channels, plan.kernels, plan.support).to(device).requires_grad_(False)
    codes = sparse_maps(plan.samples, plan.kernels, plan.side, plan.places, device)
    start = true.weight + plan.start_noise * torch.randn_like(true.weight)

    def learn(name: str) -> dict[str, Any]:
        torch.manual_seed(mix(seed, 1))
        lift = Lift(plan.channels, plan.lifted_to, learned=True).to(device) if name == "lifted" else None
        model = model_of(Convolutional, start, unrolled(plan.threshold, plan.unrolled, plan.alpha), lift)
        torch.manual_seed(mix(seed, 2))  # the same order of the data
        data = (true.synthesise(codes.dense(rows).reshape(-1, plan.kernels, plan.side, plan.side))
                for rows in batches(plan.samples, plan.batch, plan.steps, device))  # fmt: skip
        course = descend(
            model, data, plan.rate, plan.batch, lambda one: best_cosines_shifted(atoms_in_data(one), true.weight),
            lambda one: coherence(one.dictionary.weight.detach().flatten(1)),
        )  # fmt: skip
        return told(course, model)

    return {"models": {name: learn(name) for name in TITLES}}


def claims(results: Sequence[dict[str, Any]]) -> list[Claim]:
    """The criteria of row 1."""
    return recovery_claims(results, TITLES)


def draw(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    """Cosines and coherence against steps."""
    draw_recovery(figure, results, TITLES)


EXPERIMENT = Experiment(
    "sae-convolutional", "Convolutional recovery: are kernels found again, up to shift and sign?", PLANS, measure,
    claims, draw, "SYNTHETIC images: known random kernels at a few places",
)  # fmt: skip
