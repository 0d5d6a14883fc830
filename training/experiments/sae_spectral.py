"""Spectral recovery: SAE-FNO with all modes is SAE-CNN, and few modes are better for smooth kernels (models.md 4.3, row 3).

With all modes of a grid of 2 M + 1 pixels, and kernels as large as the map, both have the same atoms. A step along the
gradient of the coefficients is 1 / (2 M + 1)^2 of that along the gradient of the kernel, but twice as far for coefficients
that stand for two frequencies (Proposition C.6; models.md 4.1). Where both are made up for, the two take the same course up
to rounding: a control. With the gradient as it is and a rate (2 M + 1)^2 as large they do not, but find the same kernels.

For smooth kernels few and all modes start from the same kernels: noise and all within the few modes. From noise in all
modes, of which few never hold most, few ended ahead (0.971 against 0.925), but began so too (0.869 against 0.698). From the
same start all modes end a little ahead (0.975 against 0.971; 0.967 against 0.963 with the noise's norm kept), as they learn
what of the kernels few cannot hold. With twice the noise in the images, 1.0, few do: 0.957 against 0.940 (quick; one or two
seeds). For rough kernels, another control, few modes hold so little that no code passes the threshold, and learn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from galcli.training.experiments.criteria import at_least, at_most
from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.sae_curves import COLOURS, curves, level
from galcli.training.experiments.sae_descent import descend, normalise_on_, unrolled
from galcli.training.experiments.sae_recovered import RIGHT
from galcli.training.experiments.sae_synthetic import batches, best_cosines_rolled, rounded, sparse_maps
from galcli.training.experiments.statistics import Claim, compare
from galcli.training.interpret.style import OTHER, PREDICTED
from galcli.training.networks.dictionaries import Convolutional, Dictionary, Spectral
from galcli.training.networks.fourier import multiplicity
from galcli.training.networks.sae import SAE
from galcli.training.seeds import mix

#: Models with all modes; the last one with the gradient as it is.
TITLES = {"cnn": "SAE-CNN", "fno": "SAE-FNO", "plain": "SAE-FNO, gradient as it is"}
#: Kernels, and modes of the SAE-FNO that learns them.
KERNELS, MODES = ("smooth", "rough"), ("few", "all")
#: What counts as rounding, of kernels of norm 1.
SAME = 1e-4


@dataclass(frozen=True)
class Plan:
    """Sizes.

    Attributes
    ----------
    channels, kernels, support : int
        C, p, and the side of rough kernels.
    side : int
        Of the images with which SAE-FNO is held against SAE-CNN; odd.
    smooth_side, few_modes : int
        Of the images for few and all modes; odd. M where they are few.
    smooth_frequency : float
        Amplitudes of smooth kernels fall off as exp(-k^2 / (2 f^2)) with the frequency k, in waves per image.
    places : int
        At which an image's kernel stands.
    pixel_noise : float
        Added to images for few and all modes.
    samples, batch, steps : int
    rate : float
        Of learning, of kernels.
    start_noise : float
        Standard deviation of what is added to each number of the true kernels.
    unrolled, alpha, threshold, smooth_threshold
        T, step and thresholds of the encoder.
    """

    channels: int
    kernels: int
    support: int
    side: int
    smooth_side: int
    few_modes: int
    smooth_frequency: float
    places: int
    pixel_noise: float
    samples: int
    batch: int
    steps: int
    rate: float
    start_noise: float
    unrolled: int
    alpha: float
    threshold: float
    smooth_threshold: float


PLANS = {
    "quick": Plan(16, 12, 5, 11, 17, 4, 2.5, 1, 0.5, 2_400, 32, 75, 1e-3, 0.015, 10, 0.2, 1.0, 2.0),
    "full": Plan(64, 32, 5, 17, 33, 8, 5.0, 1, 0.5, 50_000, 64, 781, 1e-3, 0.0035, 10, 0.2, 1.0, 2.0),
}


@dataclass(frozen=True)
class Setting:
    """What models learn from.

    Attributes
    ----------
    true, start : Tensor (p, C, n, n)
        Kernels, around the middle of the map.
    pixel_noise, threshold : float
    seed : int
    """

    true: Tensor
    start: Tensor
    pixel_noise: float
    threshold: float
    seed: int

    @property
    def side(self) -> int:
        """Pixels along a side of the images."""
        return self.true.shape[-1]


class Way:
    """Kernels of a model on the way, at every so many steps.

    Parameters
    ----------
    every : int
    """

    def __init__(self, every: int) -> None:
        self.every, self.steps = every, 0
        self.kernels: list[Tensor] = []

    def __call__(self, model: SAE, side: int) -> float:
        """Keep them, if it is time."""
        if self.steps % self.every == 0:
            self.kernels.append(kernels_of(model.dictionary, side).clone())
        self.steps += 1
        return 0.0

    def away(self, other: Way) -> list[float]:
        """Largest distance of a kernel from that of another model, in units of its norm, at each of the steps."""
        return [
            float(((mine - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)).max())
            for mine, theirs in zip(self.kernels, other.kernels, strict=True)
        ]


def measure(plan: Plan, seed: int, device: str) -> dict[str, Any]:
    """Courses of SAE-CNN and SAE-FNO with all modes, and of SAE-FNO with few and all for smooth and rough kernels."""
    torch.manual_seed(mix(seed, 0))
    every = max(1, plan.steps // 25)
    same = _setting(plan, rough_kernels(plan, plan.side), 0.0, plan.threshold, mix(seed, 1), device)
    ways = {name: Way(every) for name in TITLES}
    found = {name: learn(plan, same, name, same.side // 2, ways[name]) for name in TITLES}
    made = {"smooth": smooth_kernels(plan, plan.smooth_side), "rough": rough_kernels(plan, plan.smooth_side)}
    settings = {kind: _setting(plan, kernels, plan.pixel_noise, plan.smooth_threshold, mix(seed, 2), device)
                for kind, kernels in made.items()}  # fmt: skip
    smooth = settings["smooth"]
    settings["smooth"] = replace(smooth, start=lowest(smooth.start, plan.few_modes))
    modes = {"few": plan.few_modes, "all": plan.smooth_side // 2}
    return {
        "found": found,
        "away": {name: rounded(ways[name].away(ways["cnn"])) for name in ("fno", "plain")},
        "away_every": every,
        "modes": {kind: {name: learn(plan, one, "fno", modes[name], Way(plan.steps)) for name in MODES}
                  for kind, one in settings.items()},
    }  # fmt: skip


def _setting(plan: Plan, true: Tensor, pixel_noise: float, threshold: float, seed: int, device: str) -> Setting:
    start = true + plan.start_noise * torch.randn_like(true)
    return Setting(true.to(device), start.to(device), pixel_noise, threshold, seed)


def learn(plan: Plan, setting: Setting, name: str, modes: int, way: Way) -> list[float]:
    """Mean best cosine before the first step of a model and after each.

    Parameters
    ----------
    plan : Plan
    setting : Setting
    name : str
        Key of `TITLES`.
    modes : int
        M of a spectral model.
    way : Way
        Takes kernels on the way.
    """
    side, device = setting.side, setting.true.device
    dictionary = convolutional_of(setting.start) if name == "cnn" else spectral_of(setting.start, modes)
    model = SAE(dictionary.to(device), unrolled(setting.threshold, plan.unrolled, plan.alpha))
    normalise_on_(model.dictionary, side)
    rate = plan.rate * (side**2 if name == "plain" else 1)
    course = descend(
        model, images(plan, setting), rate, plan.batch,
        lambda one: best_cosines_rolled(kernels_of(one.dictionary, side), setting.true), lambda one: way(one, side),
        kernel_gradient(side) if name == "fno" else lambda dictionary: None,
    )  # fmt: skip
    return rounded(course.found)


def images(plan: Plan, setting: Setting) -> Iterator[Tensor]:
    """Batches of images of the true kernels: the same ones each time."""
    torch.manual_seed(setting.seed)
    side, device = setting.side, setting.true.device
    codes = sparse_maps(plan.samples, plan.kernels, side, plan.places, str(device))
    true = spectral_of(setting.true, side // 2).to(device).requires_grad_(False)
    for rows in batches(plan.samples, plan.batch, plan.steps, str(device)):
        x = true.synthesise(codes.dense(rows).reshape(-1, plan.kernels, side, side))
        yield x + setting.pixel_noise * torch.randn_like(x)


def rough_kernels(plan: Plan, side: int) -> Tensor:
    """White noise of small support in the middle of the map, norm 1: (p, C, side, side)."""
    made = torch.zeros(plan.kernels, plan.channels, side, side)
    inner = slice((side - plan.support) // 2, (side + plan.support) // 2)
    made[..., inner, inner] = torch.randn(plan.kernels, plan.channels, plan.support, plan.support)
    return functional.normalize(made.flatten(1), dim=1).reshape(made.shape)


def smooth_kernels(plan: Plan, side: int) -> Tensor:
    """White noise whose high frequencies are damped, as large as the map, norm 1: (p, C, side, side)."""
    k = torch.fft.fftfreq(side, 1 / side)
    damping = torch.exp(-(k[:, None].square() + k.square()) / (2 * plan.smooth_frequency**2))
    made = torch.fft.ifft2(torch.fft.fft2(torch.randn(plan.kernels, plan.channels, side, side)) * damping).real
    return functional.normalize(made.flatten(1), dim=1).reshape(made.shape)


def convolutional_of(kernels: Tensor) -> Convolutional:
    """The dictionary of kernels (p, C, k, k)."""
    made = Convolutional(kernels.shape[1], kernels.shape[0], kernels.shape[2])
    made.weight.data.copy_(kernels)
    return made


def spectral_of(kernels: Tensor, modes: int) -> Spectral:
    """The dictionary of the lowest modes of kernels as large as the map, (p, C, n, n) with n odd."""
    half = kernels.shape[-1] // 2
    made = Spectral(kernels.shape[1], kernels.shape[0], modes)
    whole = Spectral.of_kernels(kernels, half).weight.data
    made.weight.data.copy_(whole[..., half - modes : half + modes + 1, : modes + 1])
    return made


def lowest(kernels: Tensor, modes: int) -> Tensor:
    """What the lowest modes hold of kernels as large as the map, (p, C, n, n) with n odd."""
    return kernels_of(spectral_of(kernels, modes), kernels.shape[-1])


def kernels_of(dictionary: Dictionary, side: int) -> Tensor:
    """Kernels (p, C, side, side) around the middle of the map."""
    weight = dictionary.weight.detach()
    if not isinstance(dictionary, Spectral):
        return weight
    return dictionary.kernels(side).detach().roll((side // 2, side // 2), (2, 3))


def kernel_gradient(side: int) -> Callable[[Dictionary], None]:
    """Makes the gradient of coefficients that of the kernels on maps of ``side`` pixels."""

    def change(dictionary: Dictionary) -> None:
        gradient = dictionary.weight.grad
        assert gradient is not None
        gradient *= side**2 / multiplicity(gradient.shape[-1] - 1, gradient.device)

    return change


def claims(results: Sequence[dict[str, Any]]) -> list[Claim]:
    """SAE-FNO finds the kernels, as SAE-CNN does, and few modes are better where kernels are smooth."""
    ends = {name: [one["found"][name][-1] for one in results] for name in TITLES}
    modes = {(kind, name): [one["modes"][kind][name][-1] for one in results] for kind in KERNELS for name in MODES}
    away = [max(one["away"]["fno"]) for one in results]
    return [
        Claim(
            "SAE-FNO with all modes finds the true kernels, as SAE-CNN does",
            tuple(at_least(f"mean best cosine, {TITLES[name]},", ends[name], RIGHT) for name in TITLES),
        ),
        Claim(
            "control: SAE-FNO with all modes takes the same course as SAE-CNN where its gradient is taken as that of kernels",
            (at_most("largest distance of their kernels on the way, over the norm,", away, SAME),),
        ),
        Claim(
            "few modes are better for smooth kernels, from the same start",
            (compare("mean best cosine, few modes - all modes,", modes["smooth", "all"], modes["smooth", "few"]),),
        ),
        Claim(
            "control: few modes are worse for rough kernels",
            (compare("mean best cosine, all modes - few modes,", modes["rough", "few"], modes["rough", "all"]),),
        ),
    ]


def draw(figure: Figure, results: Sequence[dict[str, Any]]) -> None:
    """Cosines of the models with all modes, their distance, and cosines by modes; against steps."""
    left, middle, right = figure.subplots(1, 3)
    for (name, title), colour, style in zip(
        TITLES.items(), (OTHER, PREDICTED, COLOURS[1]), ("-", "--", "-"), strict=True
    ):
        rows = [one["found"][name] for one in results]
        curves(left, range(len(rows[0])), rows, colour, title, style)
        if name != "cnn":
            far = [one["away"][name] for one in results]
            steps = [number * results[0]["away_every"] for number in range(len(far[0]))]
            curves(middle, steps, far, colour, title, style)
    level(left, RIGHT, str(RIGHT))
    level(middle, SAME, "asked for")
    for kind, style in zip(KERNELS, ("-", ":"), strict=True):
        for name, colour in zip(MODES, (PREDICTED, OTHER), strict=True):
            rows = [one["modes"][kind][name] for one in results]
            curves(right, range(len(rows[0])), rows, colour, f"{kind} kernels, {name} modes", style)
    left.set(xlabel="step", ylabel="mean best cosine of the true kernels", title="all modes; shade: range of the seeds")
    middle.set(xlabel="step", ylabel="largest distance / norm", title="kernels against those of SAE-CNN", yscale="log")
    right.set(xlabel="step", ylabel="mean best cosine of the true kernels", title="SAE-FNO, images with noise")
    left.legend(loc="lower right")
    middle.legend(loc="lower right", bbox_to_anchor=(1, 0.1))
    right.legend(loc="center right", bbox_to_anchor=(1, 0.28))


EXPERIMENT = Experiment(
    "sae-spectral", "Spectral recovery: is SAE-FNO with all modes the same as SAE-CNN, and do few modes suit smooth kernels?", PLANS,
    measure, claims, draw, "SYNTHETIC images: known random kernels at a few places",
)  # fmt: skip
