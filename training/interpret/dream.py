"""DeepDream: an image changed so that a part of a network answers more strongly (models.md 5.4).

Gradient ascent on the image, the weights held fixed, as in the DMAGNet report (section 5): at each size of the image a
complete dream starts from the bicubic enlargement of the one before, first on a smaller copy, whose added detail is
carried over. What the report leaves open are the values of models.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from galcli.errors import UsageError
from galcli.training import seeds
from galcli.training.networks.dmagnet import LAM_WIDTH, LAYERS, STAGES, DMAGNet
from galcli.training.pixels import Pixels

#: J, one number, of network inputs (1, C, H, W).
Objective = Callable[[Tensor], Tensor]
#: Least and largest value of valid pixels in normalised units, each (C, 1, 1).
Bounds = tuple[Tensor, Tensor]
#: Takes the steps done, how many there are, the size [px] and J.
Progress = Callable[[int, int, int, float], None]

#: Channels of the maps of each layer.
WIDTHS = dict(zip(LAYERS, (*STAGES, LAM_WIDTH), strict=True))
#: Widths [px] of the three blurs of a gradient, before they grow with the steps.
SIGMAS = (0.5, 1.0, 2.0)
#: The smaller copy of an image has this part of its size.
SCALE = 1 / 1.4
#: Smallest size [px]: the smaller copy is still wider than the reach of the widest blur.
SMALLEST = 32
#: How many standard deviations the kernel of a blur reaches.
_REACH = 4
#: Added to the standard deviation of the gradient.
_EPSILON = 1e-8


@dataclass(frozen=True)
class DreamSettings:
    """How to dream; the defaults are those of models.md 5.4.

    Attributes
    ----------
    sizes : tuple of int
        Sides [px] of the dreamt images, ascending.
    steps : int
        Steps on each of the two copies of a size.
    rate : float
        Change of a pixel per step and standard deviation of the gradient, in normalised units.
    jitter : int
        Largest shift [px] by which the image is rolled along each axis before a step.
    seed : int
        Of the shifts.
    max_size : int, optional
        Larger sizes are left out: the memory that a step needs grows with their square.

    Raises
    ------
    UsageError
        If there is no size or step, sizes do not ascend or are below 32, or all are above ``max_size``.
    """

    sizes: tuple[int, ...] = (256, 512, 1024)
    steps: int = 20
    rate: float = 0.02
    jitter: int = 32
    seed: int = 0
    max_size: int | None = None

    def __post_init__(self) -> None:
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] < SMALLEST:
            told = ", ".join(map(str, self.sizes)) or "none"
            raise UsageError(f"impossible sizes of a dream: {told}", f"give ascending sizes of {SMALLEST} px or more")
        if self.steps < 1:
            raise UsageError(f"{self.steps} steps are no dream", "give 1 step or more")
        if self.max_size is not None and not self.kept:
            raise UsageError(
                f"every size of the dream is above the largest allowed, {self.max_size} px",
                f"allow at least {self.sizes[0]} px",
            )

    @property
    def kept(self) -> tuple[int, ...]:
        """Sizes that are not above ``max_size``."""
        return tuple(size for size in self.sizes if self.max_size is None or size <= self.max_size)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Sizes that are."""
        return self.sizes[len(self.kept) :]


@dataclass(frozen=True)
class Dream:
    """What was dreamt.

    Attributes
    ----------
    images : dict of int to ndarray (C, R, R), float32
        Size R -> image in normalised units, channels and rows as in the input.
    trace : dict of int to ndarray (2, T), float64
        Size -> J before each step, on the smaller copy and on the image itself.
    """

    images: dict[int, NDArray[np.float32]]
    trace: dict[int, NDArray[np.float64]]


def half_mean_square(maps: Tensor) -> Tensor:
    """J = mean(a^2) / 2 of maps of any shape."""
    return maps.square().mean() / 2


def layer_objective(network: DMAGNet, layer: str, channel: int | None = None) -> Objective:
    """J = mean(a^2) / 2 over the maps of a layer, or over one of them.

    Parameters
    ----------
    network : DMAGNet
        Goes to evaluation mode, and its weights are frozen: for their gradients, maps would be kept.
    layer : str
        One of ``LAYERS``.
    channel : int, optional
        From 0.

    Raises
    ------
    UsageError
        If there is no such layer or channel.
    """
    if layer not in WIDTHS:
        raise UsageError(f"unknown layer {layer!r}", f"choose one of {', '.join(LAYERS)}")
    if channel is not None and not 0 <= channel < WIDTHS[layer]:
        raise UsageError(f"{layer} has no channel {channel}", f"give a channel from 0 to {WIDTHS[layer] - 1}")
    network.eval().requires_grad_(False)
    channels = slice(None) if channel is None else slice(channel, channel + 1)
    return lambda x: half_mean_square(network.layer(x, layer)[:, channels])


def class_objective(network: DMAGNet, number: int) -> Objective:
    """J = the logit of a class.

    Parameters
    ----------
    network : DMAGNet
        Goes to evaluation mode, and its weights are frozen.
    number : int
        Of the class, from 0.

    Raises
    ------
    UsageError
        If there is no such class.
    """
    classes = network.head.fc.out_features
    if not 0 <= number < classes:
        raise UsageError(f"there is no class {number}", f"give a class from 0 to {classes - 1}")
    network.eval().requires_grad_(False)
    return lambda x: network(x)[0, number]


def valid_range(pixels: Pixels) -> Bounds:
    """What display values 0 and 1 become in normalised units, each (3, 1, 1)."""
    return -pixels.mean / pixels.std, (1 - pixels.mean) / pixels.std


def resized(image: Tensor, size: int, bounds: Bounds) -> Tensor:
    """Image (C, H, W) as (C, size, size), bicubic; overshoot beyond the bounds is cut."""
    return _bicubic(image, size).clamp(*bounds)


def dream(
    objective: Objective, image: Tensor, bounds: Bounds, settings: DreamSettings, progress: Progress | None = None
) -> Dream:
    """Dream of one image at every size.

    Parameters
    ----------
    objective : callable
        What is to grow: `layer_objective`, `class_objective`.
    image : Tensor (C, S, S), float32
        Network input in normalised units, on the device of the network.
    bounds : tuple of two Tensors (C, 1, 1)
        `valid_range`, on the same device.
    settings : DreamSettings
    progress : callable, optional
        Called after each step.

    Returns
    -------
    Dream
        On the CPU the same bits for the same seed and number of threads.

    Raises
    ------
    ValueError
        If the image is not a square.
    """
    if image.ndim != 3 or image.shape[1] != image.shape[2]:
        raise ValueError(f"an image (C, S, S) is needed, not {tuple(image.shape)}")
    ascent = _Ascent(objective, bounds, settings, progress)
    images, trace = {}, {}
    for size in settings.kept:
        image, trace[size] = ascent.at_size(resized(image, size, bounds))
        images[size] = image.cpu().numpy()
    return Dream(images, trace)


class _Ascent:
    """The steps of one dream: what they share, and how many were made."""

    def __init__(
        self, objective: Objective, bounds: Bounds, settings: DreamSettings, progress: Progress | None
    ) -> None:  # fmt: skip
        self.objective, self.bounds, self.settings, self.progress = objective, bounds, settings, progress
        self.draw = seeds.generator(settings.seed)
        self.done, self.total = 0, 2 * settings.steps * len(settings.kept)

    def at_size(self, base: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
        """Dream on a smaller copy of an image, carry over what this added, dream on; J before each step (2, T)."""
        size = base.shape[-1]
        small = resized(base, round(size * SCALE), self.bounds)
        dreamt, first = self._climb(small, size)
        detail = _bicubic(dreamt - small, size)
        image, second = self._climb((base + detail).clamp(*self.bounds), size)
        return image, np.array([first, second])

    def _climb(self, x: Tensor, size: int) -> tuple[Tensor, list[float]]:
        """All steps on one copy of an image."""
        values = []
        for step in range(self.settings.steps):
            x, value = self._step(x, step)
            values.append(value)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total, size, value)
        return x, values

    def _step(self, x: Tensor, step: int) -> tuple[Tensor, float]:
        """One step, and J before it."""
        far = self.settings.jitter
        down, right = torch.randint(-far, far + 1, (2,), generator=self.draw).tolist()
        rolled = x.roll((down, right), (1, 2))
        value, slope = gradient(self.objective, rolled)
        slope = smoothed(slope, step, self.settings.steps)
        slope = slope / (slope.std() + _EPSILON)
        moved = (rolled + self.settings.rate * slope).clamp(*self.bounds)
        return moved.roll((-down, -right), (1, 2)), value


def gradient(objective: Objective, x: Tensor) -> tuple[float, Tensor]:
    """J of an image (C, H, W), and how it changes with each pixel; nothing of the graph is kept."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        value = objective(leaf[None])
        (slope,) = torch.autograd.grad(value, leaf)
    return value.item(), slope


def widths(step: int, steps: int) -> tuple[float, ...]:
    """Widths [px] of the three blurs in a step, counted from 0: {0.5, 1, 2} (0.5 + 2 t / T)."""
    return tuple(sigma * (0.5 + 2 * step / steps) for sigma in SIGMAS)


def kernel(sigma: float) -> Tensor:
    """Gaussian of a width [px], sampled at whole pixels up to four widths from its centre; its sum is 1."""
    reach = math.ceil(_REACH * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma).square())
    return (weights / weights.sum()).float()


def smoothed(slope: Tensor, step: int, steps: int) -> Tensor:
    """Mean of three blurs of a gradient (C, H, W)."""
    return torch.stack([_blur(slope, kernel(sigma).to(slope.device)) for sigma in widths(step, steps)]).mean(0)


def _blur(image: Tensor, weights: Tensor) -> Tensor:
    # Opposite borders of a rolled image were neighbours before: the blur runs around it.
    reach = len(weights) // 2
    around = functional.pad(image[:, None], (reach,) * 4, mode="circular")
    return functional.conv2d(functional.conv2d(around, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]


def _bicubic(image: Tensor, size: int) -> Tensor:
    return functional.interpolate(image[None], (size, size), mode="bicubic", align_corners=False, antialias=True)[0]
