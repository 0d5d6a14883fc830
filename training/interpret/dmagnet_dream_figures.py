"""Plots of the dreams of a DMAGNet: the images, how their objectives grew, and on which scales they changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.dmagnet_dreams import Wish
from galcli.training.interpret.dream import Bounds, Dream, resized
from galcli.training.interpret.radial import Radial, ratio
from galcli.training.interpret.style import FAINT

Colours = NDArray[np.uint8]
#: Pixels of an image on the page; larger ones are averaged.
THUMB = 224
#: Colours of classes, in their order, and of layers from the image upwards.
_CLASSES = (
    "#cc79a7",
    "#882255",
    "#222222",
    "#8a8a8a",
    "#b8860b",
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#e69f00",
    "#d55e00",
)
_LAYERS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00")


@dataclass(frozen=True)
class Gathered:
    """What the plots show of all dreams.

    Attributes
    ----------
    inputs : dict of int to ndarray (T, T, 3), uint8
        Class -> the image that its dreams began with.
    images : dict of (Wish, int) to ndarray (T, T, 3), uint8
        Dream and size -> image, at most 224 pixels wide.
    traces : dict of (Wish, int) to ndarray (2, steps), float64
        J before each step.
    ratios : dict of (Wish, int) to Radial
        Power of the dream over that of its input of the same size.
    """

    inputs: dict[int, Colours]
    images: dict[tuple[Wish, int], Colours]
    traces: dict[tuple[Wish, int], NDArray[np.float64]]
    ratios: dict[tuple[Wish, int], Radial]


def gather(dreams: Iterable[tuple[Wish, Dream]], inputs: Mapping[int, Tensor], bounds: Bounds) -> Gathered:
    """Take from each dream what is shown of it: all of them together would fill the memory.

    Parameters
    ----------
    dreams : iterable of (Wish, Dream)
        Of `dream_all`.
    inputs : mapping of int to Tensor (3, S, S)
        Class -> what its dreams began with.
    bounds : tuple of two Tensors
        `valid_range`, on the device of the inputs.
    """
    low, high = (bound.cpu().numpy() for bound in bounds)
    found = Gathered(
        {number: _thumbnail(image.cpu().numpy(), low, high) for number, image in inputs.items()}, {}, {}, {}
    )
    for wish, made in dreams:
        for size, image in made.images.items():
            before = resized(inputs[wish.number], size, bounds).cpu().numpy()
            found.images[wish, size] = _thumbnail(image, low, high)
            found.traces[wish, size] = made.trace[size]
            found.ratios[wish, size] = ratio(image, before)
    return found


def _thumbnail(image: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> Colours:
    """Normalised image (3, R, R), blue to red, as red, green, blue from 0 to 255, not wider than the page shows."""
    shown = np.clip((image - low) / (high - low), 0, 1)[::-1]
    picture = Image.fromarray(np.rint(255 * np.moveaxis(shown, 0, -1)).astype(np.uint8))
    if picture.width > THUMB:
        picture = picture.resize((THUMB, THUMB), Image.Resampling.BOX)
    return np.asarray(picture)


def grid_figure(found: Gathered, layers: Sequence[str], size: int, figure: Figure | SubFigure) -> None:
    """A line per class: what its dreams began with, and the dream of each layer at one size."""
    panels = figure.subplots(len(found.inputs), 1 + len(layers), squeeze=False)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
    for axes, title in zip(panels[0], ("input", *layers), strict=True):
        axes.set_title(title)
    for line, (number, image) in zip(panels, found.inputs.items(), strict=True):
        line[0].set_ylabel(NAMES[number].replace(" ", "\n", 1), fontsize=10, weight="bold")
        for axes, picture in zip(
            line, (image, *(found.images[Wish(number, layer), size] for layer in layers)), strict=True
        ):
            axes.imshow(picture, origin="lower", interpolation="antialiased")


def traces_figure(found: Gathered, layers: Sequence[str], figure: Figure | SubFigure) -> None:
    """J against steps: a panel per layer, a line per class, broken where a copy of another size begins."""
    sizes = sorted({size for _, size in found.traces})
    panels = figure.subplots(1, len(layers), squeeze=False)[0]
    for layer, axes in zip(layers, panels, strict=True):
        for number in found.inputs:
            start = 0
            for size in sizes:
                for values in found.traces[Wish(number, layer), size]:
                    label = NAMES[number] if start == 0 else None
                    axes.plot(
                        np.arange(start, start + len(values)), values, color=_CLASSES[number], lw=1.3, label=label
                    )
                    start += len(values)
        if all((values > 0).all() for values in found.traces.values()):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        _mark_sizes(axes, sizes, start // len(sizes))
        axes.set(title=layer, xlabel="step", xlim=(0, start))
    panels[0].set_ylabel("J")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


def _mark_sizes(axes: Axes, sizes: Sequence[int], steps: int) -> None:
    for number, size in enumerate(sizes):
        if number:
            axes.axvline(number * steps, color=FAINT, lw=0.8, ls=":")
        axes.text((number + 0.5) / len(sizes), 0.01, f"{size} px", transform=axes.transAxes, ha="center", va="bottom",
                  color=FAINT, fontsize=8.5)  # fmt: skip


def spectra_figure(
    ratios: Mapping[str, Mapping[str, Mapping[str, Any]]], side: int, figure: Figure | SubFigure
) -> None:
    """Power of the dreams over that of their inputs: a panel per size, a line per layer with the range of the classes.

    Parameters
    ----------
    ratios : mapping
        Layer -> size -> ``frequency``, ``median``, ``low``, ``high``.
    side : int
        Pixels of the network's own grid along a side: beyond half a cycle of these, an enlarged input has no detail.
    figure : Figure or SubFigure
    """
    sizes = list(next(iter(ratios.values())))
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for size, axes in zip(sizes, panels, strict=True):
        for (layer, one), colour in zip(ratios.items(), _LAYERS, strict=False):
            x = one[size]["frequency"]
            axes.plot(x, one[size]["median"], color=colour, lw=1.6, label=layer)
            axes.fill_between(x, one[size]["low"], one[size]["high"], color=colour, alpha=0.13, lw=0)
        axes.axhline(1, color=FAINT, lw=0.8)
        if side < int(size):
            axes.axvline(0.5 * side / int(size), color=FAINT, lw=1, ls="--")
        axes.set(xscale="log", yscale="log", title=f"{size} px", xlabel="cycles per pixel")
    panels[0].set_ylabel("power of the dream / power of its input")
    panels[0].legend(loc="upper left")
