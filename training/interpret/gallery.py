"""A gallery of features: for each, the galaxies in which it is strongest (models.md 1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.predict.options import PredictOptions
from galcli.training.interpret.predictions import Columns, Predictions, read_predictions, seen_images
from galcli.training.interpret.style import FAINT, look

#: Galaxies per feature.
SHOWN = 9
#: Features with fewer galaxies than this make no picture.
FEWEST = 3
#: Radius of the ring around the peak of a feature, arcsec: half a cell of a ResNet's last map, 32 px of 0.262 arcsec.
RING = 4.2
#: Text on images is readable on bright galaxies too.
_OUTLINED: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=1.6, foreground="black")]}


@dataclass(frozen=True)
class Example:
    """A galaxy in which a feature is strong.

    Attributes
    ----------
    row : int
        Row of the table.
    activation : float
        Over the largest one in training.
    dx, dy : float
        Where the feature peaks: arcsec to the east and north.
    """

    row: int
    activation: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Feature:
    """A feature of a sparse network, and where it is strongest.

    Attributes
    ----------
    number : int
    frequency : float
        Part of the galaxies of this table in which it is active.
    weights : dict of str to float
        Column -> what it adds there at the largest activation of training.
    examples : list of Example
        Strongest first.
    """

    number: int
    frequency: float
    weights: dict[str, float]
    examples: list[Example]


def strongest(predictions: Predictions, prefix: str, features: int, shown: int = SHOWN) -> list[Feature]:
    """Find the most frequent features of a model and their strongest galaxies.

    Parameters
    ----------
    predictions : Predictions
    prefix : str
        Prefix of the model's columns, such as SFZ.
    features, shown : int
        Features at most; galaxies per feature at most.

    Returns
    -------
    list of Feature
        Most frequent first; features with fewer than three galaxies are left out.
    """
    columns = predictions.columns
    index, activation = columns[f"{prefix}_IDX"], columns[f"{prefix}_ACT"]
    east, north = columns[f"{prefix}_DX"], columns[f"{prefix}_DY"]
    good = predictions.good(prefix)
    used = (index >= 0) & good[:, None]
    numbers, counts = np.unique(index[used], return_counts=True)
    table = predictions.features(prefix)
    found = []
    for which in np.argsort(-counts, kind="stable")[:features]:
        number = int(numbers[which])
        rows, slots = np.nonzero(used & (index == number))
        order = np.argsort(-activation[rows, slots], kind="stable")[:shown]
        examples = [
            Example(int(r), float(activation[r, s]), float(east[r, s]), float(north[r, s]))
            for r, s in zip(rows[order], slots[order], strict=True)
        ]
        if len(examples) >= FEWEST:
            found.append(Feature(number, float(counts[which] / good.sum()), _weights(table, number), examples))
    return found


def gallery_figure(
    predictions: Path, catalog: Path, cutouts: str | None = None, prefix: str = "SFZ", features: int = 4
) -> Figure:
    """Draw the gallery of the most frequent features.

    Parameters
    ----------
    predictions : Path
        Table of `galcli predict`.
    catalog : Path
        The catalogue that was predicted.
    cutouts : str, optional
        As ``--cutouts`` of predict.
    prefix : str
        Prefix of the model's columns: SFZ or SFL.
    features : int
        Features shown at most.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If no feature is active in three galaxies.
    """
    table = read_predictions(predictions)
    card = table.model(prefix)
    found = strongest(table, prefix, features)
    if not found:
        problem = f"{predictions}: no feature of {card.name} is active in {FEWEST} galaxies"
        raise InputError(problem, "predict more galaxies")
    rows = [example.row for feature in found for example in feature.examples]
    images = seen_images(table, prefix, PredictOptions((catalog,), predictions, cutouts), rows)
    quantity = card.outputs[0].column
    values = table.columns[quantity]
    with look():
        figure = Figure(figsize=(3.55 * len(found), 4.35))
        parts = figure.subfigures(1, len(found), wspace=0.0, squeeze=False)[0]
        for part, feature in zip(parts, found, strict=True):
            _draw_feature(part, feature, images, values, card.pixel_scale or 1.0)
        _draw_bar(parts[0].axes[6], card.pixel_scale or 1.0)
        note = f"ring: where the feature peaks     number: {quantity} of the galaxy"
        figure.text(0.995, 0.012, note, ha="right", va="bottom", fontsize=9, color=FAINT)
    return figure


def _weights(table: Columns, number: int) -> dict[str, float]:
    full = float(table["ACT_MAX"][number])
    start = "WEIGHT_"
    return {name.removeprefix(start): float(table[name][number]) * full for name in table if name.startswith(start)}


def _draw_feature(
    part: SubFigure, feature: Feature, images: dict[int, NDArray[np.float32]], values: NDArray[Any], scale: float
) -> None:
    weights = ", ".join(f"{name} {weight:+.2f}" for name, weight in _named(feature.weights))
    weights = weights.replace("-", "\N{MINUS SIGN}")
    part.text(0.5, 0.985, f"feature {feature.number}", ha="center", va="top", weight="bold")
    part.text(0.5, 0.932, f"in {100 * feature.frequency:.0f} % of the galaxies", ha="center", va="top", fontsize=9.5)
    part.text(0.5, 0.888, f"at full strength: {weights}", ha="center", va="top", fontsize=9.5)
    panels = part.subplots(3, 3, gridspec_kw={"left": 0.025, "right": 0.975, "top": 0.835, "bottom": 0.06,
                                              "wspace": 0.03, "hspace": 0.03})  # fmt: skip
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, example in zip(panels.flat, feature.examples, strict=False):
        if example.row in images:
            _draw_galaxy(axes, images[example.row], example, float(values[example.row]), scale)


def _draw_galaxy(axes: Axes, image: NDArray[np.float32], example: Example, value: float, scale: float) -> None:
    """One image, north up and east to the left."""
    height, width = image.shape[:2]
    axes.imshow(image, origin="lower", interpolation="nearest")
    axes.autoscale(False)
    if np.isfinite(example.dx + example.dy):
        peak = ((width - 1) / 2 - example.dx / scale, (height - 1) / 2 + example.dy / scale)
        axes.add_patch(Circle(peak, RING / scale, fill=False, ec="white", lw=1.1, alpha=0.9))
    axes.text(0.05, 0.94, f"{value:.2f}", transform=axes.transAxes, fontsize=8.5, va="top", **_OUTLINED)


def _draw_bar(axes: Axes, scale: float) -> None:
    """A bar of 10 arcsec."""
    axes.plot([8, 8 + 10 / scale], [9, 9], lw=1.4, solid_capstyle="butt", **_OUTLINED)
    axes.text(8 + 5 / scale, 13, '10"', fontsize=8, ha="center", va="bottom", **_OUTLINED)


def _named(weights: dict[str, float]) -> list[tuple[str, float]]:
    """Weights by name; of the four lines the two ratios that the BPT diagram shows."""
    lines = ("LOG_NII_6584", "LOG_HA_6564", "LOG_OIII_5007", "LOG_HB_4861")
    if not set(lines) <= set(weights):
        return list(weights.items())
    nii, ha, oiii, hb = (weights[name] for name in lines)
    return [("[N II]/H\N{GREEK SMALL LETTER ALPHA}", nii - ha), ("[O III]/H\N{GREEK SMALL LETTER BETA}", oiii - hb)]
