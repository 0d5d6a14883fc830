"""Plots of what a DMAGNet says and looks at: examples, use of kernels, confusion, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.confusion import draw_confusion
from galcli.training.interpret.dmagnet_seen import SHOWN, Looks, Singles, Verdicts
from galcli.training.interpret.style import FAINT, PREDICTED
from galcli.training.networks.dmagnet import BRANCHES
from galcli.training.networks.resnet import cell_centers

#: Colours and marks of small, medium and large kernels (Okabe and Ito 2008).
KERNELS = (("#0072b2", "o"), ("#e69f00", "s"), ("#d55e00", "D"))
#: Tints of pooling and of local attention, and how much of the image they cover where they are strongest.
_TINTS, _COVER = ("#ff7f0e", "#37a6ff"), 0.55
#: Gap between two galaxies of a line, in widths of an image.
_GAP = 0.12
#: Vertical distance of the marks of one class.
_STEP = 0.22
_TITLES = ("image", "attention pooling", "local attention (LAM)")


@dataclass(frozen=True)
class Example:
    """A galaxy with what the network looked at.

    Attributes
    ----------
    number : int
        Predicted class.
    place : int
        Position among the galaxies that were looked at.
    title : str
    wrong : bool
        Whether it is known to be of another class.
    """

    number: int
    place: int
    title: str
    wrong: bool


def examples_of(verdicts: Verdicts, looks: Looks) -> list[Example]:
    """The surest galaxies of each predicted class, class by class."""
    found = []
    for number in range(len(NAMES)):
        for row in verdicts.surest(number)[:SHOWN]:
            truth = int(verdicts.truth[row])
            title = f"{100 * verdicts.probability[row, number]:.0f} %"
            if truth >= 0 and truth != number:
                title += f"\ntruly {NAMES[truth]}"
            found += [Example(number, int(place), title, 0 <= truth != number) for place in looks.at(np.array([row]))]
    return found


def centroid(attention: Singles, size: int) -> tuple[float, float]:
    """Centroid of a map of pooling weights (h, w), as column and row in pixels of the image."""
    centers = np.array(cell_centers(size))
    return float(attention.sum(0) @ centers), float(attention.sum(1) @ centers)


def examples_figure(examples: Sequence[Example], looks: Looks, figure: Figure | SubFigure) -> None:
    """Image, weights of the pooling and local attention of each example; a line per class."""
    lines = sorted({one.number for one in examples})
    widths = [1, 1, 1, *[_GAP, 1, 1, 1] * (SHOWN - 1)]
    panels = figure.subplots(len(lines), len(widths), squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
    values = looks.lam[[one.place for one in examples]]
    for line, number in zip(panels, lines, strict=True):
        for slot, example in enumerate(one for one in examples if one.number == number):
            trio = line[4 * slot : 4 * slot + 3]
            _draw_example(trio, example, looks, (float(values.min()), float(values.max())))
            if number == lines[0]:
                for axes, title in zip(trio, _TITLES, strict=True):
                    axes.set_title(title, fontsize=10)
        line[0].text(-0.06, 0.5, NAMES[number].replace(" ", "\n", 1), transform=line[0].transAxes, rotation=90, ha="right",
                     va="center", ma="center", weight="bold", fontsize=10)  # fmt: skip


def _draw_example(trio: NDArray[Any], example: Example, looks: Looks, limits: tuple[float, float]) -> None:
    """Image, pooling and local attention of a galaxy, the last between the limits given."""
    image, attention, lam = (values[example.place] for values in (looks.images, looks.attention, looks.lam))
    size = image.shape[0]
    outline: list[Any] = [withStroke(linewidth=1.8, foreground="black")]
    colour = "#ffb27a" if example.wrong else "white"
    trio[0].imshow(image, origin="lower", interpolation="nearest")
    text = trio[0].text(0.04, 0.96, example.title, transform=trio[0].transAxes, color=colour, fontsize=8.5, va="top",
                        path_effects=outline)  # fmt: skip
    text.set_in_layout(False)
    low, high = limits
    strengths = attention / attention.max(), (lam - low) / max(high - low, 1e-9)
    for axes, strength, tint in zip(trio[1:], strengths, _TINTS, strict=True):
        axes.imshow(image.mean(-1), cmap="gray", origin="lower", vmin=0, vmax=1, interpolation="nearest")
        cover = np.empty((size, size, 4), np.float32)
        cover[..., :3], cover[..., 3] = to_rgb(tint), _COVER * spread(strength, size)
        axes.imshow(cover, origin="lower", interpolation="nearest")
    trio[1].plot(*centroid(attention, size), "+", color="white", ms=11, mew=1.8, path_effects=outline)
    for axes in trio:
        axes.set(xlim=(-0.5, size - 0.5), ylim=(-0.5, size - 0.5))


def spread(values: Singles, size: int) -> Singles:
    """A map (h, w) on the pixels of the image: each pixel gets the value of the cell whose centre is nearest."""
    centers = np.array(cell_centers(size))
    nearest = np.abs(np.arange(size)[:, None] - centers).argmin(1)
    spreaded: Singles = values[np.ix_(nearest, nearest)]
    return spreaded


def branches_figure(use: Mapping[str, Mapping[str, Any]], figure: Figure | SubFigure) -> None:
    """Shares of the kernel sizes in each stage, class by class.

    Parameters
    ----------
    use : mapping of str to mapping
        Class -> ``objects``, and ``mean`` and ``scatter`` as lists (stage, size).
    figure : Figure or SubFigure
    """
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    place = np.arange(len(use))
    mean, scatter = (np.array([one[name] for one in use.values()]) for name in ("mean", "scatter"))
    for stage, axes in enumerate(panels):
        for size, (colour, marker) in enumerate(KERNELS):
            axes.errorbar(mean[:, stage, size], place + _STEP * (size - 1), xerr=scatter[:, stage, size], fmt=marker,
                          color=colour, ms=5.5, lw=1.2, label=BRANCHES[size])  # fmt: skip
        axes.axvline(1 / 3, color=FAINT, lw=0.9, ls=":")
        for boundary in place[1:] - 0.5:
            axes.axhline(boundary, color=FAINT, lw=0.35)
        axes.set(title=f"stage {stage + 1}", xlabel="share of the kernels", ylim=(len(use) - 0.5, -0.5))
        axes.tick_params(axis="y", which="minor", left=False, right=False)
    panels[0].set_yticks(place, [f"{name} ({one['objects']})" for name, one in use.items()])
    panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=3, title="kernels", alignment="left")


def confusion_figure(matrix: NDArray[np.int64], figure: Figure | SubFigure) -> None:
    """Confusion matrix (rows true): colours are shares of the true class, numbers are galaxies."""
    axes = figure.subplots()
    drawn = draw_confusion(axes, matrix)
    figure.colorbar(drawn, ax=axes, label="share of the true class", pad=0.02, aspect=30)


def reliability_figure(bins: Sequence[Mapping[str, float]], figure: Figure | SubFigure) -> None:
    """How often the class is right against how sure the network was, and how many galaxies were that sure.

    Parameters
    ----------
    bins : sequence of mapping
        ``low``, ``high``, ``confidence``, ``accuracy``, ``least``, ``most``, ``objects`` of bins that hold galaxies.
    figure : Figure or SubFigure
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    x, y, least, most = (np.array([one[name] for one in bins]) for name in ("confidence", "accuracy", "least", "most"))
    upper.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--", label="as often right as it says")
    upper.errorbar(x, y, (y - least, most - y), fmt="o", color=PREDICTED, capsize=2, lw=1.2, label="this sample")
    upper.set(ylabel="part that is right", xlim=(0, 1), ylim=(-0.04, 1.04))
    upper.legend(loc="upper left")
    _histogram(lower, bins)


def _histogram(axes: Axes, bins: Sequence[Mapping[str, float]]) -> None:
    low, high, count = (np.array([one[name] for one in bins]) for name in ("low", "high", "objects"))
    axes.bar(low, count, high - low, align="edge", color=PREDICTED, alpha=0.55, ec="white")
    axes.set(xlabel="probability of the predicted class", ylabel="galaxies")
