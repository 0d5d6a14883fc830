"""Plots of concepts: how good and how much used they are, what each looks like, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from galcli.training.interpret.sae_concepts import Shown
from galcli.training.interpret.sae_frames import Picture
from galcli.training.interpret.sae_numbers import CHANCE, SHUFFLES, USED, Matches, Together, Usage
from galcli.training.interpret.style import FAINT, INK, OTHER, PREDICTED

AnyFigure = Figure | SubFigure
#: Parts of a map's largest value at which its contours are drawn.
CONTOURS = (0.25, 0.5, 0.75)
#: Maps with no more cells along a side are drawn as frames of cells, not as contours; part of a cell's side that a
#: frame has, and part of the largest value below which a cell has none.
_COARSE, _INSET, _LEAST = 16, 0.86, 0.05
#: Colour of contours over galaxies, none of which is green; contours around less of a map than this are hard to see.
_OVER, _SMALL = "#39ff14", 1e-3
#: Channels of inner maps that are shown for a concept, and lines of the graph that each concept may have drawn.
CHANNELS, LINES = 16, 3
#: Coefficients that are not defined: white is zero.
_UNKNOWN = "0.6"
_OUTLINE: list[Any] = [withStroke(linewidth=1.8, foreground="black")]


def quality_figure(fvu: NDArray[Any], active: NDArray[Any], told: dict[str, float], figure: AnyFigure) -> None:
    """Distributions of the unexplained variance and of the number of active concepts.

    Parameters
    ----------
    fvu, active : ndarray (N,)
    told : dict of str to float
        Means of the card, ``fvu`` and ``l0``, where it tells them.
    figure : Figure or SubFigure
    """
    left, right = figure.subplots(1, 2)
    top = 1.05 * max(float(np.quantile(fvu, 0.995)), float(fvu.mean()), told.get("fvu", 0.0), 1e-6)
    left.hist(np.minimum(fvu, top), np.linspace(0, top, 41), color=OTHER, alpha=0.8)
    left.set(xlabel="variance left unexplained (SAE_FVU)", ylabel="galaxies", xlim=(0, top))
    most, least = int(active.max()), int(active.min())
    step = max(1, -(-(most - least + 1) // 40))
    right.hist(active, np.arange(least - 0.5, most + step + 0.5, step), color=OTHER, alpha=0.8)
    right.set(xlabel="active concepts (SAE_L0)", ylabel="galaxies")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes, values, name in ((left, fvu, "fvu"), (right, active, "l0")):
        axes.axvline(values.mean(), color=INK, lw=1.4, label="mean here")
        if name in told:
            axes.axvline(told[name], color=PREDICTED, lw=1.4, ls="--", label="mean in the card")
        axes.legend()


def utilisation_figure(usage: Usage, figure: AnyFigure) -> None:
    """Part of the galaxies in which each concept is active, and that use it, concepts sorted."""
    axes = figure.subplots()
    rank = np.arange(1, len(usage.used) + 1)
    for values, colour, style, title in (
        (usage.active, FAINT, "--", "active"),
        (usage.used, OTHER, "-", f"used: more than {USED:.0%} of the galaxy's energy"),
    ):
        ordered = np.sort(values)[::-1]
        area = f"{title} (area {ordered.mean():.3f})"
        axes.plot(rank, ordered, style, color=colour, lw=1.8, label=area, drawstyle="steps-mid")
    axes.set(
        xlabel="concepts, those of most galaxies first",
        ylabel="part of the galaxies",
        ylim=(0, 1.04),
        xlim=(0.5, len(rank) + 0.5),
    )
    if len(rank) > 300:
        axes.set_xscale("log")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # curves of any shape stay free


def concept_figure(shown: Shown, figure: AnyFigure) -> None:
    """Galaxies in which a concept is strongest, its mean map, and what it adds to the data."""
    parts = figure.subfigures(1, 3, width_ratios=(4.1, 3.3, 5.2), wspace=0.02, squeeze=False)
    galaxies, middle, right = parts[0]
    panels = galaxies.subplots(3, 3, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, example in zip(panels.flat, shown.examples, strict=False):
        _draw_galaxy(axes, example.image, example.maps[shown.concept])
    _draw_mean(middle.subplots(), shown)
    if shown.kernel.shape[1:] == (1, 1):
        _draw_channels(right.subplots(), shown.kernel[:, 0, 0])
    else:
        _draw_kernel(right, shown)


def _draw_galaxy(axes: Axes, image: Picture, codes: Picture) -> None:
    axes.imshow(image.values, origin="lower", extent=image.frame.extent, interpolation="nearest")
    if max(codes.values.shape) > _COARSE:
        draw_contours(axes, codes, _OVER)
        _ring_peaks(axes, codes)
    else:
        _draw_cells(axes, codes)
    east, west, south, north = image.frame.extent
    axes.set(xlim=(east, west), ylim=(south, north))


def _ring_peaks(axes: Axes, codes: Picture) -> None:
    """Rings around the cells within the middle contour, where contours alone would be specks."""
    top = float(codes.values.max())
    if top <= 0 or np.mean(codes.values >= CONTOURS[0] * top) > _SMALL:
        return
    rows, columns = np.nonzero(codes.values >= CONTOURS[1] * top)
    x, y = codes.frame.centres(codes.values.shape)
    axes.plot(x[columns], y[rows], "o", mfc="none", mec=_OVER, ms=9, mew=0.9)


def _draw_cells(axes: Axes, codes: Picture) -> None:
    """A frame in each cell that is active, brighter where it is more; the galaxy in it stays as it is."""
    part = codes.values / max(float(codes.values.max()), 1e-12)
    rows, columns = np.nonzero(part > _LEAST)
    across, along = codes.frame.centres(part.shape)
    east, west, south, north = codes.frame.extent
    width, height = (
        _INSET * abs(side) / count for side, count in zip((east - west, north - south), part.shape[::-1], strict=True)
    )
    cells = [
        Rectangle((across[x] - width / 2, along[y] - height / 2), width, height)
        for y, x in zip(rows, columns, strict=True)
    ]
    colours = np.insert(np.ones((len(cells), 3)), 3, part[rows, columns].clip(0, 1), axis=1)
    axes.add_collection(PatchCollection(cells, facecolor="none", edgecolor=colours, linewidths=0.9))


def draw_contours(axes: Axes, codes: Picture, colour: str) -> None:
    """Contours of a map at `CONTOURS` of its largest value; it need not cover the same cells as what is below."""
    top = float(codes.values.max())
    if top <= 0:
        return
    # A cell at the edge has its contour closed around it.
    values = np.pad(codes.values, 1)
    x, y = codes.frame.centres(codes.values.shape)
    across, along = (_beyond(values) for values in (x, y))
    levels = [top * part for part in CONTOURS]
    axes.contour(across, along, values, levels, colors=colour, linewidths=(0.6, 0.9, 1.2), alpha=0.9)


def _beyond(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres of cells with one more at each end."""
    step = centres[1] - centres[0] if len(centres) > 1 else 1.0
    return np.concatenate([[centres[0] - step], centres, [centres[-1] + step]])


def _draw_mean(axes: Axes, shown: Shown) -> None:
    values, frame = shown.mean
    drawn = axes.imshow(values, origin="lower", extent=frame.extent, cmap="magma", vmin=0, interpolation="nearest")
    axes.plot(0, 0, "+", color="white", ms=9, mew=1.4, path_effects=_OUTLINE)
    axes.set(
        xlabel=f"east [{shown.unit}]", ylabel=f"north [{shown.unit}]", title=f"mean of {shown.averaged:,} galaxies"
    )
    axes.figure.colorbar(drawn, ax=axes, shrink=0.5, pad=0.03, label="activation")


def _draw_kernel(figure: SubFigure, shown: Shown) -> None:
    """A kernel, band by band on one scale; at most four of them, the strongest where there are more."""
    bands = (
        np.argsort(-np.abs(shown.kernel).max((1, 2)), kind="stable")[:4]
        if len(shown.kernel) > 4
        else range(len(shown.kernel))
    )
    top = max(float(np.abs(shown.kernel).max()), 1e-12)
    panels = figure.subplots(1, len(bands), squeeze=False)[0]
    for axes, band in zip(panels, bands, strict=True):
        drawn = axes.imshow(
            shown.kernel[band], origin="lower", cmap="PuOr_r", vmin=-top, vmax=top, interpolation="nearest"
        )
        axes.set(title=shown.bands[band] if shown.bands else f"channel {band}", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=list(panels), shrink=0.36, pad=0.02)


def _draw_channels(axes: Axes, vector: NDArray[np.float32]) -> None:
    """The strongest channels of a concept's vector, strongest on top."""
    order = np.argsort(-np.abs(vector), kind="stable")[:CHANNELS][::-1]
    colours = [PREDICTED if vector[channel] > 0 else OTHER for channel in order]
    axes.barh(np.arange(len(order)), vector[order], color=colours, alpha=0.85)
    axes.set_yticks(np.arange(len(order)), [str(channel) for channel in order], fontsize=9)
    axes.tick_params(axis="y", which="both", left=False, right=False)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set(xlabel="weight in the concept's vector (norm 1)", ylabel="channel of the inner maps")


def matches_figure(matches: Matches, shown: Sequence[int], features: Sequence[int], figure: AnyFigure) -> None:
    """Correlations of the shown concepts with features, and how strong the best matches of all are beside chance."""
    left, right = figure.subplots(1, 2, width_ratios=(2.1, 1))
    r = matches.r[np.ix_(shown, features)]
    top = max(0.3, float(np.nanmax(np.abs(r), initial=0)))
    drawn = left.imshow(r, cmap="PuOr_r", vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
    left.set_xticks(range(len(features)), [str(feature) for feature in features], rotation=90, fontsize=9)
    left.set_yticks(range(len(shown)), [str(concept) for concept in shown], fontsize=9)
    left.tick_params(which="both", top=False, right=False, bottom=False, left=False)
    left.set(xlabel="SFNet feature", ylabel="concept", facecolor=_UNKNOWN)
    for row, concept in enumerate(shown):
        if matches.beyond[concept]:
            left.plot(
                list(features).index(int(matches.feature[concept])),
                row,
                "o",
                mfc="none",
                mec="white",
                ms=8,
                path_effects=_OUTLINE,
            )
    figure.colorbar(drawn, ax=left, label="correlation", pad=0.02, aspect=30)
    known = np.isfinite(matches.best)
    bins = np.linspace(0, 1, 41)
    right.hist(np.abs(matches.best[known]), bins, color=OTHER, alpha=0.75, label="best match")
    right.hist(
        matches.null[known], bins, histtype="step", color=PREDICTED, lw=1.6, label=f"best of {SHUFFLES} shuffles"
    )
    right.set(xlabel="|correlation|", ylabel="concepts", xlim=(0, 1))
    right.legend()


def graph_figure(found: Together, usage: Usage, figure: AnyFigure) -> None:
    """Concepts on a circle with lines between those used together, and all coefficients beside it."""
    left, right = figure.subplots(1, 2)
    order = _clustered(found.phi)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    angle = np.pi / 2 - 2 * np.pi * place / len(order)
    x, y = np.cos(angle), np.sin(angle)
    colours = ScalarMappable(Normalize(0, 1), "YlOrRd")
    for first, second in found.closest(LINES)[::-1]:
        phi = float(found.phi[first, second])
        left.add_patch(
            _chord((x[first], y[first]), (x[second], y[second]), colours.to_rgba(np.array(phi)), 0.5 + 3 * phi)
        )
    left.scatter(x, y, 15 + 160 * usage.used[found.concepts], color=OTHER, zorder=3, ec="white", lw=0.6)
    for number, concept in enumerate(found.concepts):
        turn = np.degrees(angle[number])
        flipped = np.cos(angle[number]) < -1e-9
        left.text(1.07 * x[number], 1.07 * y[number], str(concept), fontsize=8, rotation=turn + 180 * flipped,
                  rotation_mode="anchor", ha="right" if flipped else "left", va="center")  # fmt: skip
    left.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    left.set_axis_off()
    figure.colorbar(
        colours, ax=left, orientation="horizontal", shrink=0.55, pad=0.02, label=f"phi of lines (chance < {CHANCE:g})"
    )
    drawn = right.imshow(found.phi[np.ix_(order, order)], cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")
    ticks = range(0, len(order), max(1, len(order) // 30))
    right.set_xticks(ticks, [str(found.concepts[order[at]]) for at in ticks], rotation=90, fontsize=8)
    right.set_yticks(ticks, [str(found.concepts[order[at]]) for at in ticks], fontsize=8)
    right.tick_params(which="both", top=False, right=False, bottom=False, left=False)
    right.set_facecolor(_UNKNOWN)
    figure.colorbar(drawn, ax=right, orientation="horizontal", shrink=0.7, pad=0.02, label="phi")


def _chord(first: tuple[float, float], second: tuple[float, float], colour: Any, width: float) -> Any:
    """A curve between two points of the circle, bent to its middle."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    middle = (0.35 * (first[0] + second[0]) / 2, 0.35 * (first[1] + second[1]) / 2)
    path = Path([first, middle, second], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    return PathPatch(path, fill=False, ec=colour, lw=width, alpha=0.85)


def _clustered(phi: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order in which concepts that go together stand together."""
    if len(phi) < 3:
        return np.arange(len(phi))
    distance = 1 - np.nan_to_num(phi)
    np.fill_diagonal(distance, 0)
    distance = (distance + distance.T) / 2
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")), np.int64)
