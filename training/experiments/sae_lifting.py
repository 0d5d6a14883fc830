"""Lifting: whether SAE-MLP, SAE-CNN and SAE-FNO learn faster in a lifted space (models.md 4.3, row 9; Figure 8 of the paper).

Feed-forward autoencoders of mock galaxies, with Adam and a constant rate. Without lift, with a fixed orthonormal lift and
with a learned one they begin as the same function. With plain gradient descent the orthonormal one takes the same course as
none (Proposition C.2). Adam is no such descent: it moves every weight by about the rate, and a lift to twice the channels
has twice as many, so that a step is about sqrt(2) longer in the data. A learned lift lengthens steps further. At the usual
rate this alone makes lifted models faster, which is why all models learn at several rates, and are also judged by the best
of them. Steps are counted to the smallest loss that both of two models reach.
Batches of 16 and 64 held-out images were too noisy to decide about SAE-CNN; there are twice as many. Where all
have their best of three rates the orthonormal lift stays ahead (one seed: 0.71, 0.78, 0.70 of the steps); for SAE-MLP and
SAE-FNO without lift the best is the highest of them, so that a still longer step may be all it gives. At its best rate
SAE-MLP is faster without a learned lift, with rates as fine as 2, 3, 5, 7, 10 and 15 times 1e-3 too: a learned
lift bears no higher ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter
from torch import Tensor

from galcli.training.experiments.criteria import Bound, at_most
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS, curves
from galcli.training.experiments.sae_learning import KINDS
from galcli.training.experiments.sae_samples import FIELD, galaxies
from galcli.training.experiments.sae_synthetic import crossing, rounded
from galcli.training.experiments.statistics import Claim
from galcli.training.networks.dictionaries import Convolutional, Dictionary, Pointwise, Spectral
from galcli.training.networks.sae import SAE, FeedForward, Lift
from galcli.training.networks.sae_export import patches
from galcli.training.networks.sparsity import Sparsity, TopK, TopKCells
from galcli.training.seeds import mix

#: Lifts.
LIFTS = {"none": "no lift", "orthonormal": "orthonormal lift, fixed", "learned": "learned lift"}
#: Loss written for a training that diverged.
LOST = 1e3


@dataclass(frozen=True)
class Plan:
    """Sizes.

    Attributes
    ----------
    galaxies, held_out : int
        To learn from, and to measure the loss on.
    side : int
        Pixels of an image.
    batch, steps, look_every : int
        The loss is measured every so many steps.
    rates : tuple of float
        Of learning; the usual one first.
    lifted_times : int
        Channels of the lifted space over those of the data.
    patch, patch_concepts, patch_active : int
        SAE-MLP: side of a patch in pixels, p and K.
    concepts, active, part
        SAE-CNN and SAE-FNO: p, K and rho.
    support, modes : int
        Side of the kernels of SAE-CNN, M of SAE-FNO.
    """

    galaxies: int
    held_out: int
    side: int
    batch: int
    steps: int
    look_every: int
    rates: tuple[float, ...]
    lifted_times: int
    patch: int
    patch_concepts: int
    patch_active: int
    concepts: int
    active: int
    part: float
    support: int
    modes: int


PLANS = {
    "quick": Plan(1024, 128, 24, 32, 100, 5, (1e-3, 3e-3, 1e-2), 2, 8, 128, 8, 32, 4, 0.1, 7, 8),
    "full": Plan(20_480, 512, 64, 256, 1600, 10, (1e-3, 3e-3, 1e-2), 2, 16, 512, 16, 64, 8, 0.1, 11, 16),
}


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """Held-out losses on the way, by kind, lift and rate."""
    images = galaxies(plan.galaxies + plan.held_out, plan.side, mix(seed, 0)).to(device)
    losses = {}
    for number, kind in enumerate(KINDS):
        data = patches(images, plan.patch) if kind == "mlp" else images
        losses[kind] = {
            lift: [learn(plan, data, kind, lift, rate, mix(seed, 1, number)) for rate in plan.rates] for lift in LIFTS
        }
    return {"rates": list(plan.rates), "every": plan.look_every, "losses": losses}


def learn(plan: Plan, data: Tensor, kind: str, lift: str, rate: float, seed: int) -> list[float]:
    """Train one model; its loss on held-out data is the fraction of variance that is left unexplained.

    Parameters
    ----------
    plan : Plan
    data : Tensor (N, C, H, W)
        The last of them are held out.
    kind, lift : str
        Keys of `KINDS` and `LIFTS`.
    rate : float
    seed : int
        Of the start and of the order of the data, the same for all lifts and rates.
    """
    known, held = data[: plan.galaxies], data[plan.galaxies :]
    torch.manual_seed(mix(seed, 0))
    model = begin(plan, known, kind, lift)
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], rate)
    variance = (held - held.mean((0, 2, 3), keepdim=True)).square().mean()
    torch.manual_seed(mix(seed, 1))
    losses = []
    for step in range(plan.steps + 1):
        if step % plan.look_every == 0:
            with torch.no_grad():
                losses.append((model(held).data - held).square().mean() / variance)
        x = known[torch.randint(len(known), (plan.batch,), device=known.device)]
        loss = (model(x).data - x).square().mean() / variance
        optimizer.zero_grad()
        loss.backward()
        model.dictionary.keep_norms_()
        optimizer.step()
        model.dictionary.normalise_()
    return rounded(torch.stack(losses).nan_to_num(LOST).clamp(max=LOST).tolist(), 5)


def begin(plan: Plan, data: Tensor, kind: str, lift: str) -> SAE:
    """A model that is the same function of the data for every lift."""
    channels = data.shape[1]
    make, sparsity = _parts(plan, kind)
    dictionary, offset, matrix = make(channels), data.mean((0, 2, 3)), None
    if lift != "none":
        matrix = Lift(channels, plan.lifted_times * channels, learned=lift == "learned").to(data.device)
        up, axis = matrix.up.detach(), 2 if kind == "fno" else 1
        low = dictionary.weight.detach().to(data.device)
        dictionary, offset = make(len(up)), up @ offset
        dictionary.weight.data = torch.tensordot(low, up, ([axis], [1])).movedim(-1, axis).contiguous()
    return SAE(dictionary, FeedForward(dictionary, sparsity), offset, matrix).to(data.device)


def _parts(plan: Plan, kind: str) -> tuple[Callable[[int], Dictionary], Sparsity]:
    """What makes the dictionary of so many channels, and the sparsity."""
    if kind == "mlp":
        return lambda channels: Pointwise(channels, plan.patch_concepts), TopKCells(plan.patch_active)
    sparsity = TopK(plan.active, plan.part)
    if kind == "cnn":
        return lambda channels: Convolutional(channels, plan.concepts, plan.support), sparsity
    return lambda channels: Spectral(channels, plan.concepts, plan.modes), sparsity


def steps_to(courses: Sequence[Sequence[float]], level: float, every: int) -> float:
    """Fewest steps with which one of the courses comes to a loss."""
    return every * min(crossing([-loss for loss in course], -level) for course in courses)


def common_loss(*models: Sequence[Sequence[float]]) -> float:
    """The smallest loss to which each of the models comes, by one of its courses."""
    return max(min(min(course) for course in courses) for courses in models)


def ratio(with_lift: Sequence[Sequence[float]], without: Sequence[Sequence[float]]) -> float:
    """Steps of one model over those of another; 1, which says nothing, where one never comes below its first loss."""
    loss = common_loss(with_lift, without)
    steps, plain = (steps_to(courses, loss, 1) for courses in (with_lift, without))
    return steps / plain if steps and plain else 1.0


def claims(results: Sequence[dict[str, Any]]) -> list[Claim]:
    """Fewer steps to the smallest loss that both reach, at the usual rate and where each model has its best one."""
    rates = results[0]["rates"]
    return [
        Claim(
            f"{words} needs fewer steps to the smallest loss that both reach, {where}",
            _fewer(results, lift, count),
        )
        for count, where in ((1, f"at the usual rate, {rates[0]:g}"), (len(rates), "each at its best rate"))
        for lift, words in (("learned", "a learned lift"), ("orthonormal", "a fixed orthonormal lift"))
    ]


def _fewer(results: Sequence[dict[str, Any]], lift: str, rates: int) -> tuple[Bound, ...]:
    """Steps of a lifted model over those of one without lift, to the smallest loss to which both come."""
    found = []
    for kind, title in KINDS.items():
        losses = [one["losses"][kind] for one in results]
        ratios = [ratio(one[lift][:rates], one["none"][:rates]) for one in losses]
        found.append(at_most(f"steps with lift / steps without, {title},", ratios, 1))
    return tuple(found)


def draw(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    """Losses against steps, at the usual rate and at the best of each model."""
    figure.set_size_inches(12, 8)
    rates, every = results[0]["rates"], results[0]["every"]
    for row, axes_of_row in enumerate(figure.subplots(2, 3, sharex=True)):
        for axes, (kind, title) in zip(axes_of_row, KINDS.items(), strict=True):
            for (lift, words), colour in zip(LIFTS.items(), COLOURS, strict=False):
                number = _best_rate(results, kind, lift) if row else 0
                courses = [one["losses"][kind][lift][number] for one in results]
                steps = [every * look for look in range(len(courses[0]))]
                curves(axes, steps, courses, colour, f"{words}, rate {rates[number]:g}")
            axes.set(title=f"{title}, {'best rates' if row else 'usual rate'}", yscale="log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.legend()
        axes_of_row[0].set_ylabel("variance unexplained, held-out images\n(shade: range of the seeds)")
    for axes in figure.axes[3:]:
        axes.set_xlabel("step")


def _best_rate(results: Sequence[dict[str, Any]], kind: str, lift: str) -> int:
    """Number of the rate with the smallest loss, in the mean over the seeds."""
    smallest = np.array([[min(course) for course in one["losses"][kind][lift]] for one in results])
    return int(smallest.mean(0).argmin())


EXPERIMENT = Experiment(
    "sae-lifting", "Lifting: do SAE-MLP, SAE-CNN and SAE-FNO learn faster in a lifted space?", PLANS, measure, claims, draw,
    f"MOCK galaxies (simulated survey) in g, r and z, {FIELD:g} arcsec",
)  # fmt: skip
