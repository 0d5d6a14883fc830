"""Pictures of the dreams of a DMAGNet: the images, how their objectives grew, and on which scales they changed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from galcli.tables.atomic import atomic_write
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.dmagnet_dreams import Wish
from galcli.training.interpret.dream import Bounds, Dream, resized
from galcli.training.interpret.pages import DPI
from galcli.training.interpret.radial import Radial, ratio
from galcli.training.interpret.style import FAINT, INK

Colours = NDArray[np.uint8]
#: Folder of the dreams as pictures in full size.
FOLDER = "dream-images"
#: Pixels of an image on the page; larger ones are averaged.
THUMB = 224
#: Pixels of the centre of an image that is shown as it is: five side by side are not wider than the page.
CENTRE = 208
#: Pixels of the names beside and above the centres, and between these.
_SIDE, _TOP, _GAP = 52, 28, 4
#: Colours of classes, in their order.
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


@dataclass(frozen=True)
class Gathered:
    """What the plots show of all dreams.

    Attributes
    ----------
    inputs : dict of int to ndarray (T, T, 3), uint8
        Class -> the image that its dreams began with.
    images : dict of (Wish, int) to ndarray (T, T, 3), uint8
        Dream and size -> image, at most 224 pixels wide.
    centres : dict of Wish to ndarray (T, T, 3), uint8
        Dream -> the centre of its largest image, pixel by pixel, at most 208 wide.
    files : dict of Wish to Path
        Dream -> PNG of its largest image.
    traces : dict of (Wish, int) to ndarray (2, steps), float64
        J before each step.
    ratios : dict of (Wish, int) to Radial
        Power of the dream over that of its input of the same size.
    """

    inputs: dict[int, Colours]
    images: dict[tuple[Wish, int], Colours]
    centres: dict[Wish, Colours]
    files: dict[Wish, Path]
    traces: dict[tuple[Wish, int], NDArray[np.float64]]
    ratios: dict[tuple[Wish, int], Radial]


def gather(
    dreams: Iterable[tuple[Wish, Dream]], inputs: Mapping[int, Tensor], bounds: Bounds, folder: Path, told: str
) -> Gathered:
    """Take from each dream what is shown of it: all of them together would fill the memory.

    The largest image of each is written as a picture of its own, pixel by pixel, north up.

    Parameters
    ----------
    dreams : iterable of (Wish, Dream)
        Of `dream_all`.
    inputs : mapping of int to Tensor (3, S, S)
        Class -> what its dreams began with.
    bounds : tuple of two Tensors
        `valid_range`, on the device of the inputs.
    folder : Path
        For the pictures.
    told : str
        What their files say of themselves besides class and target.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    low, high = (bound.cpu().numpy() for bound in bounds)
    begun = {number: _thumbnail(_colours(image.cpu().numpy(), low, high)) for number, image in inputs.items()}
    found = Gathered(begun, {}, {}, {}, {}, {})
    for wish, made in dreams:
        for size, image in made.images.items():
            before = resized(inputs[wish.number], size, bounds).cpu().numpy()
            found.images[wish, size] = _thumbnail(_colours(image, low, high))
            found.traces[wish, size] = made.trace[size]
            found.ratios[wish, size] = ratio(image, before)
        largest = _colours(made.images[max(made.images)], low, high)
        found.centres[wish] = _centre(largest)
        found.files[wish] = folder / f"{wish.stem}.png"
        _write(found.files[wish], largest, f"{NAMES[wish.number]}, {wish.target}. {told}")
    return found


def _colours(image: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> Colours:
    """Normalised image (3, R, R), blue to red, as red, green, blue (R, R, 3) from 0 to 255."""
    shown = np.clip((image - low) / (high - low), 0, 1)[::-1]
    colours: Colours = np.rint(255 * np.moveaxis(shown, 0, -1)).astype(np.uint8)
    return colours


def _thumbnail(colours: Colours) -> Colours:
    """An image not wider than the page shows it: larger ones are averaged."""
    if len(colours) <= THUMB:
        return colours
    return np.asarray(Image.fromarray(colours).resize((THUMB, THUMB), Image.Resampling.BOX))


def _centre(colours: Colours) -> Colours:
    """The centre of an image, or all of a smaller one."""
    first = max(0, (len(colours) - CENTRE) // 2)
    return colours[first : first + CENTRE, first : first + CENTRE].copy()


def _write(path: Path, colours: Colours, description: str) -> None:
    """Write an image whose row 0 is south as a PNG, north up."""
    about, buffer = PngInfo(), io.BytesIO()
    about.add_text("Description", description)
    Image.fromarray(np.ascontiguousarray(colours[::-1])).save(buffer, "png", pnginfo=about)
    atomic_write(path, buffer.getvalue())


def grid_figure(found: Gathered, targets: Sequence[str], size: int, figure: Figure | SubFigure) -> None:
    """A line per class: what its dreams began with, and the dream of each target at one size."""
    panels = figure.subplots(len(found.inputs), 1 + len(targets), squeeze=False)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
    for axes, title in zip(panels[0], ("input", *targets), strict=True):
        axes.set_title(title)
    for line, (number, image) in zip(panels, found.inputs.items(), strict=True):
        line[0].set_ylabel(_in_lines(number), fontsize=10, weight="bold")
        for axes, picture in zip(
            line, (image, *(found.images[Wish(number, target), size] for target in targets)), strict=True
        ):
            axes.imshow(picture, origin="lower", interpolation="antialiased")


def _in_lines(number: int) -> str:
    return NAMES[number].replace(" ", "\n", 1)


def centres_size(found: Gathered, targets: Sequence[str]) -> tuple[float, float]:
    """Width and height in inches of `centres_figure`; the notice above it fits, too."""
    step = len(next(iter(found.centres.values()))) + _GAP
    # Half a pixel more: what falls short of a whole pixel would be cut.
    return max(3.2, (_SIDE + step * len(targets) + 0.5) / DPI), (_TOP + step * len(found.inputs) + 0.5) / DPI


def centres_figure(found: Gathered, targets: Sequence[str], figure: Figure | SubFigure) -> None:
    """A line per class: the centre of the largest dream of each target; a pixel of it is one of the picture.

    Parameters
    ----------
    found : Gathered
    targets : sequence of str
    figure : Figure or SubFigure
        Of the size `centres_size`, at the bottom of its picture.
    """
    whole = figure.figure  # pixels are counted from the corner of the picture
    step = len(next(iter(found.centres.values()))) + _GAP
    top = step * len(found.inputs)
    style: dict[str, Any] = {"transform": IdentityTransform(), "ha": "center", "va": "center"}
    for column, target in enumerate(targets):
        whole.text(_SIDE + step * (column + 0.5), top + _TOP / 2, target, fontsize=12, **style)
    for line, number in enumerate(found.inputs, 1):
        y = top - step * line
        whole.text(_SIDE / 2, y + step / 2, _in_lines(number), fontsize=10, weight="bold", rotation=90, **style)
        for column, target in enumerate(targets):
            whole.figimage(found.centres[Wish(number, target)], _SIDE + step * column, y, origin="lower")


def curves_size(targets: Sequence[str], lines: int) -> tuple[float, float]:
    """Width and height in inches of plots with a panel per target, in some lines, and the classes beside them."""
    return 3.4 + max(3.4, 2.2 * len(targets)), 1.4 + 2.4 * lines


def traces_figure(found: Gathered, targets: Sequence[str], figure: Figure | SubFigure) -> None:
    """J against steps: a panel per target, a line per class, broken where a copy of another size begins."""
    sizes = sorted({size for _, size in found.traces})
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    for target, axes in zip(targets, panels, strict=True):
        for number in found.inputs:
            start = 0
            for size in sizes:
                for values in found.traces[Wish(number, target), size]:
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
        axes.set(title=target, xlabel="step", xlim=(0, start))
    panels[0].set_ylabel("J")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")


def _mark_sizes(axes: Axes, sizes: Sequence[int], steps: int) -> None:
    for number, size in enumerate(sizes):
        if number:
            axes.axvline(number * steps, color=FAINT, lw=0.8, ls=":")
        axes.text((number + 0.5) / len(sizes), 0.01, f"{size} px", transform=axes.transAxes, ha="center", va="bottom",
                  color=FAINT, fontsize=8.5)  # fmt: skip


def spectra_figure(
    ratios: Mapping[str, Mapping[str, Mapping[str, Any]]], side: int, figure: Figure | SubFigure
) -> None:
    """Power of the dreams over that of their inputs: a column per target, a panel per size, a line per class.

    Parameters
    ----------
    ratios : mapping
        Target -> size -> ``frequency``, ``median``, and ``classes`` as a mapping of class names.
    side : int
        Pixels of the network's own grid along a side: beyond half a cycle of these, an enlarged input has no detail.
    figure : Figure or SubFigure
    """
    sizes = list(next(iter(ratios.values())))
    panels = figure.subplots(len(sizes), len(ratios), squeeze=False, sharex=True, sharey=True)
    for column, (target, one) in zip(panels.T, ratios.items(), strict=True):
        column[0].set_title(target)
        for size, axes in zip(sizes, column, strict=True):
            frequency = one[size]["frequency"]
            for name, power in one[size]["classes"].items():
                axes.plot(frequency, power, color=_CLASSES[NAMES.index(name)], lw=0.8, label=name)
            axes.plot(frequency, one[size]["median"], color=INK, lw=2.2, label="median")
            axes.axhline(1, color=FAINT, lw=0.8)
            if side < int(size):
                axes.axvline(0.5 * side / int(size), color=FAINT, lw=1, ls="--")
            axes.set(xscale="log", yscale="log")
            axes.text(0.04, 0.95, f"{size} px", transform=axes.transAxes, va="top")
        column[-1].set_xlabel("cycles per pixel")
    for axes in panels[:, 0]:
        axes.set_ylabel("power of the dream /\npower of its input")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
