"""The filters with which a model looks at its pixels first, out of its own file (models.md 3.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from matplotlib.figure import Figure
from numpy.typing import NDArray
from onnx import numpy_helper

from galcli.errors import ModelError
from galcli.models.library import ModelFile
from galcli.training.interpret.style import BANDS, FAINT, INK, look

Floats = NDArray[np.float64]

#: Filters in a line of the picture, and spatial frequencies of the response.
_COLUMNS, _FREQUENCIES = 16, 33


@dataclass(frozen=True)
class Stem:
    """The first convolution of a model, with whatever whitening or normalisation was folded into it.

    Attributes
    ----------
    weights : ndarray (F, B, k, k)
        Sorted by descending norm; row 0 as in the pixels (south).
    bands : tuple of str
        Blue to red.
    """

    weights: Floats
    bands: tuple[str, ...]

    @property
    def centre_surround(self) -> Floats:
        """Cosine between each filter in each band and the pattern of 1 in the centre and -1/8 around it, (F, B).

        With c the weight of the centre and s the mean of its n neighbours: (c - s) / (|w| sqrt(1 + 1/n)). 1: a bright
        centre on a dark surround; -1: a dark centre; near 0: edges, and flat filters.
        """
        middle = self.weights.shape[-1] // 2
        neighbours = self.weights[0, 0].size - 1
        centre = self.weights[:, :, middle, middle]
        around = (self.weights.sum((2, 3)) - centre) / neighbours
        length = np.sqrt(np.square(self.weights).sum((2, 3)) * (1 + 1 / neighbours))
        return np.asarray((centre - around) / np.maximum(length, np.finfo(float).tiny))

    @property
    def index(self) -> Floats:
        """The centre-surround index of each filter in its strongest band, (F,)."""
        strongest = np.square(self.weights).sum((2, 3)).argmax(1)
        return np.asarray(self.centre_surround[np.arange(len(strongest)), strongest])

    def response(self) -> tuple[Floats, Floats]:
        """How strongly all filters together answer to waves of each band.

        Returns
        -------
        frequency : ndarray (33,)
            Cycles per pixel of the model's grid, 0 to 0.5, along rows.
        amplitude : ndarray (B, 33)
            Root of the summed squares over the filters; mean of both axes of the image.
        """
        frequency = np.linspace(0, 0.5, _FREQUENCIES)
        wave = np.exp(-2j * np.pi * frequency[:, None] * np.arange(self.weights.shape[-1]))
        power = [np.square(np.abs(self.weights.sum(axis) @ wave.T)).sum(0) for axis in (2, 3)]
        return frequency, np.sqrt(np.mean(power, axis=0))


def read_stem(model: ModelFile) -> Stem:
    """The first convolution on the path from pixels to outputs.

    Raises
    ------
    ModelError
        If the graph has no convolution with stored weights.
    """
    graph = onnx.load(str(model.path)).graph
    stored = {constant.name: constant for constant in graph.initializer}
    # Weights are stored in half precision, with a cast behind each.
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        name = casts.get(node.input[1], node.input[1]) if node.op_type == "Conv" else ""
        if name in stored:
            weights = numpy_helper.to_array(stored[name]).astype(np.float64)
            break
    else:
        raise ModelError(f"{model.path}: its graph has no convolution", "give a model of `galcli train spectra`")
    bands = model.card.fronts[0].bands
    if weights.shape[1] != len(bands):
        raise ModelError(
            f"{model.path}: its first convolution reads {weights.shape[1]} channels, not the {len(bands)} bands",
            "give a model of `galcli train spectra`",
        )
    order = np.argsort(-np.square(weights).sum((1, 2, 3)), kind="stable")
    return Stem(weights[order], tuple(bands))


def filters_figure(stem: Stem, figure: Figure) -> None:
    """Draw every filter in every band, strongest first: lines of bands, columns of filters."""
    count, bands, size = stem.weights.shape[:3]
    columns = min(count, _COLUMNS)
    with look():
        panels = figure.subplots(-(-count // columns), 1, squeeze=False)[:, 0]
        for block, axes in enumerate(panels):
            rows = range(block * columns, min((block + 1) * columns, count))
            axes.imshow(_mosaic(stem.weights[rows.start : rows.stop], columns), origin="upper", cmap="PuOr_r",
                        vmin=-1, vmax=1, interpolation="nearest")  # fmt: skip
            axes.set_axis_off()
            for band, name in enumerate(stem.bands[:bands]):
                axes.text(-1.2, band * (size + 1) + (size - 1) / 2, name, ha="right", va="center")
            for column, number in enumerate(rows):
                index = f"{stem.index[number]:+.2f}".replace("-", "\N{MINUS SIGN}")
                axes.text(column * (size + 1) + (size - 1) / 2, -0.8, index, fontsize=9.5, ha="center", va="bottom")


def _mosaic(weights: Floats, columns: int) -> Floats:
    """Filters (n, B, k, k) over their largest weights as one image, bands below each other, north up, gaps NaN."""
    size, bands = weights.shape[-1], weights.shape[1]
    image = np.full((bands, size + 1, columns, size + 1), np.nan)
    scaled = weights / np.maximum(np.abs(weights).max((1, 2, 3), keepdims=True), np.finfo(float).tiny)
    image[:, :size, : len(weights), :size] = scaled[:, :, ::-1].transpose(1, 2, 0, 3)
    return image.reshape(bands * (size + 1), -1)[:-1, :-1]


def response_figure(stem: Stem, figure: Figure, pixel_scale: float) -> None:
    """Draw the centre-surround indices as a histogram, and the response to waves."""
    with look():
        left, right = figure.subplots(1, 2)
        left.hist(stem.index, np.linspace(-1, 1, 17), color=FAINT, edgecolor="white")
        left.axvline(0, color=INK, lw=0.8)
        left.set(xlim=(-1.05, 1.05), xlabel="centre-surround index, strongest band", ylabel="filters",
                 title="dark centres (< 0) and bright centres (> 0)")  # fmt: skip
        frequency, amplitude = stem.response()
        for band, line in zip(stem.bands, amplitude, strict=True):
            colour, dash = BANDS.get(band, (INK, "-"))
            right.plot(frequency, line, dash, color=colour, lw=1.8, label=band)
        right.set(xlim=(0, 0.5), ylim=(0, None), xlabel=f"cycles per pixel of {pixel_scale:g} arcsec",
                  ylabel="response of all filters [1 / pixel value]", title="response to waves")  # fmt: skip
        right.legend(ncols=5, loc="best", handlelength=1.6)
