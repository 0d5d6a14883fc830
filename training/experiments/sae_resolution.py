"""Other resolutions: learned on n x n pixels, tested on finer views of the same scenes (models.md 4.3, row 4; Figure 11).

Scenes are periodic functions, and a coarse view is what is left of them below its Nyquist frequency, so that nothing but
the grid changes. Data are mock galaxies without noise, which would be another one on every grid, and handwritten digits,
enlarged, in place of MNIST. SAE-MLP takes n x n pixels and no more: of a finer view it sees tiles, a half and a quarter
of the scene wide. rho is a part of the area, as in equation 3 of the paper; where ceil(rho H W) is rounded up on the
coarse grid only (rho = 0.02 on 16 px), the error grows by a third, for this reason alone. With one fixed threshold for
each concept instead, SAE-FNO's error is as flat, but several times as large for digits and beyond use for galaxies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from galcli.training.experiments.criteria import at_least, at_most
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS, curves
from galcli.training.experiments.sae_learning import FULL, KINDS, QUICK, Learning, learn, split, unexplained
from galcli.training.experiments.sae_samples import coarser, digits, scenes
from galcli.training.experiments.sae_synthetic import rounded
from galcli.training.experiments.statistics import Claim
from galcli.training.seeds import mix

#: Grids over that of the training.
FINER = (1, 2, 4)
SAMPLES = {"galaxies": "mock galaxies without noise", "digits": "handwritten digits"}
#: Growth of the error that counts as none.
FLAT = 1.2
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Plan(Learning):
    """Sizes.

    Attributes
    ----------
    fewer_modes : tuple of int
        M of further SAE-FNOs.
    """

    fewer_modes: tuple[int, ...]


PLANS = {
    "quick": Plan(**asdict(replace(QUICK, images=1280, modes=7, steps=400)), fewer_modes=(3, 5)),
    "full": Plan(**asdict(replace(FULL, side=32, modes=15, support=7)), fewer_modes=(5, 10)),
}


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """Fraction of variance unexplained on every grid, by sample and model."""
    finest = FINER[-1] * plan.side
    samples = {
        "galaxies": scenes(plan.images, plan.side, finest, mix(seed, 0)),
        "digits": digits(plan.images, finest, mix(seed, 0)),
    }
    errors: dict[str, dict[str, list[float]]] = {}
    for name, images in samples.items():
        known, held = split(images.to(device))
        views = [coarser(held, times * plan.side) for times in FINER]
        learned = {
            title: learn(kind, coarser(known, plan.side), replace(plan, modes=modes), mix(seed, 1))
            for title, (kind, modes) in models(plan).items()
        }
        errors[name] = {
            title: rounded([unexplained(model, view) for view in views], 6) for title, model in learned.items()
        }
    return {"sides": [times * plan.side for times in FINER], "errors": errors}


def models(plan: Plan) -> dict[str, tuple[str, int]]:
    """Kind and M of what is trained, by what it is called."""
    series = {f"{KINDS['fno']}, M = {modes}": ("fno", modes) for modes in sorted({plan.modes, *plan.fewer_modes})}
    return {KINDS["mlp"]: ("mlp", plan.modes), KINDS["cnn"]: ("cnn", plan.modes), **series}


def claims(results: list[dict[str, Any]]) -> list[Claim]:
    """SAE-FNO's error stays, SAE-CNN's grows."""

    def growth(sample: str, model: str) -> list[float]:
        return [max(errors[1:]) / errors[0] for one in results for errors in [one["errors"][sample][model]]]

    known = results[0]["errors"]
    words = "largest error on finer grids over that at n"
    return [
        Claim(
            "SAE-FNO's error is the same at n, 2n and 4n, with rho as a part of the area (not the exported thresholds)",
            tuple(
                at_most(f"{sample}, {model}: {words}", growth(sample, model), FLAT)
                for sample in known
                for model in known[sample]
                if model.startswith(KINDS["fno"])
            ),
        ),
        Claim(
            "SAE-CNN's error grows beyond the resolution of the training",
            tuple(at_least(f"{sample}: {words}", growth(sample, KINDS["cnn"]), FLAT) for sample in known),
        ),
    ]


def draw(figure: Figure, results: list[dict[str, Any]]) -> None:
    """Error against the pixels along a side, one panel per sample."""
    for axes, sample in zip(figure.subplots(1, len(SAMPLES)), SAMPLES, strict=True):
        _panel(axes, sample, results)


def _panel(axes: Axes, sample: str, results: list[dict[str, Any]]) -> None:
    sides = results[0]["sides"]
    series = [model for model in results[0]["errors"][sample] if model.startswith(KINDS["fno"])]
    for model in results[0]["errors"][sample]:
        rows = [one["errors"][sample][model] for one in results]
        style = _STYLES[series.index(model) % len(_STYLES)] if model in series else "-"
        place = 2 if model in series else list(KINDS.values()).index(model)
        words = " on tiles" if model == KINDS["mlp"] else ""
        curves(axes, sides, rows, COLOURS[place], model + words, style)
    axes.set(xscale="log", yscale="log", title=SAMPLES[sample])
    axes.set_xticks(
        sides, [f"{side}\n{words}" for side, words in zip(sides, ("n, as learned", "2n", "4n"), strict=True)]
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="pixels along a side of the same scene", ylabel="variance unexplained")
    axes.legend()


EXPERIMENT = Experiment(
    "sae-resolution", "Sparse autoencoders on finer grids than they were trained on", PLANS, measure, claims, draw,
    "MOCK galaxies (Legacy Surveys g, r, z, no noise) and scikit-learn's digits (all seeds share 1,797), enlarged",
)  # fmt: skip
