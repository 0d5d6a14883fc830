"""Plots of dependence given a representation: all pairs, distributions over galaxies, strata, and the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from galcli.training.interpret.causal_graph import Discovered
from galcli.training.interpret.causal_numbers import LEVEL, MASS, Result, excess
from galcli.training.interpret.causal_variables import NONE, Choice, Variable
from galcli.training.interpret.style import FAINT, INK, OTHER, PREDICTED
from galcli.training.recipes.mass_plan import REDSHIFT

AnyFigure = Figure | SubFigure
#: Pairs of one query with each of some conditions; None: it would be its own.
Row = Sequence[Result | None]
_AXES = {MASS: "log M* [Msun]", REDSHIFT: "redshift"}
#: Cells without a test: white is zero.
_UNKNOWN = "0.75"
#: Colour and marker of the lines of conditions (Okabe and Ito 2008).
_CONDITIONS = ((INK, "o"), ("#0072b2", "s"), ("#d55e00", "^"), ("#009e73", "v"), ("#cc79a7", "D"), ("#e69f00", "P"))
_OUTLINE = [withStroke(linewidth=3.0, foreground="white")]


def word_of(condition: Variable | None) -> str:
    """What a condition is called."""
    return NONE if condition is None else condition.name


def matrix_figure(tested: Sequence[Result], choice: Choice, figure: AnyFigure) -> None:
    """Queries by conditions: median r, and what r squared and efficiency have above their nulls; rings: significant."""
    panels = figure.subplots(1, 3, sharey=True)
    whole: tuple[tuple[str, Callable[[Result], float], Callable[[Result], float] | None], ...] = (
        ("median r", lambda one: one.whole.r_median, None),
        (r"mean $r^2$ above its null", lambda one: excess(one.whole.dependence.r), lambda one: one.p_r),
        ("efficiency above its null", lambda one: excess(one.whole.dependence.efficiency), lambda one: one.p_efficiency),
    )  # fmt: skip
    for axes, (title, value, p) in zip(panels, whole, strict=True):
        cells, ringed = np.full((2, len(choice.queries), len(choice.conditions)), np.nan)
        for one in tested:
            at = choice.queries.index(one.query), choice.conditions.index(one.condition)
            cells[at] = value(one)
            ringed[at] = p is not None and p(one) <= LEVEL
        top = max(float(np.nanmax(np.abs(cells), initial=0)), 1e-3)
        norm = Normalize(-top, top) if p is None else PowerNorm(0.5, 0, top, clip=True)  # weak ones are seen too
        drawn = axes.imshow(cells, "PuOr_r" if p is None else "YlGnBu", norm, aspect="auto", interpolation="nearest")
        rows, columns = np.nonzero(ringed == 1)
        axes.plot(columns, rows, "o", mfc="none", mec=PREDICTED, ms=9, mew=1.6, ls="none", path_effects=_OUTLINE)
        names = [word_of(one) for one in choice.conditions]
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=9)
        axes.set_yticks(range(len(choice.queries)), [one.name for one in choice.queries], fontsize=9)
        axes.minorticks_off()
        axes.tick_params(which="both", top=False, right=False, bottom=False, left=False)
        axes.set(xlabel="given s and", facecolor=_UNKNOWN)
        figure.colorbar(drawn, ax=axes, orientation="horizontal", location="top", label=title, pad=0.02, aspect=25, format="%g",
                        ticks=MaxNLocator(4, steps=[1, 2, 5, 10]) if p is None else _ticks(top))  # fmt: skip
    panels[0].set_ylabel("query")


def _ticks(top: float) -> list[float]:
    """Ends and middle of a scale by square roots."""
    digit = 10 ** np.floor(np.log10(top))
    last = float(np.floor(top / digit) * digit)
    return [0.0, last / 4, last]


def histograms_figure(rows: Sequence[Row], figure: AnyFigure) -> None:
    """Distribution of r over galaxies beside the permuted ones: a row of panels per query, a column per condition."""
    panels = figure.subplots(len(rows), len(rows[0]), sharex=True, squeeze=False)
    bins = np.linspace(-1, 1, 51)
    for line, several in zip(panels, rows, strict=True):
        for axes, one in zip(line, several, strict=True):
            if one is None:
                axes.set_axis_off()
                continue
            r, permuted = (values[np.isfinite(values)] for values in (one.tests.r, one.tests.r_permuted.ravel()))
            if len(r) and len(permuted):
                axes.hist(permuted, bins, density=True, color=FAINT, alpha=0.6, label="mass permuted")
                axes.hist(r, bins, density=True, histtype="step", color=PREDICTED, lw=1.6, label="galaxies")
            axes.axvline(0, color=INK, lw=0.6)
            axes.set_title(f"{one.query.name}\n{_given(one.condition)}", fontsize=9.5)
            axes.set(yticks=[], xlim=(-1, 1))
    for axes in panels[-1]:
        axes.set_xlabel("r of query and log M*")
    for axes in panels[:, 0]:
        axes.set_ylabel("part of the galaxies", fontsize=8)
    _legend(figure, panels)


def strata_figure(rows: Sequence[Row], figure: AnyFigure) -> None:
    """Mean r squared above its null in strata: a row of panels per query, a column per variable, a line per condition."""
    first = next(one for one in rows[0] if one is not None)
    variables = list(dict.fromkeys(line.stratum.variable for line in first.lines[1:]))
    panels = figure.subplots(len(rows), len(variables), sharex="col", sharey="row", squeeze=False)
    for several, across in zip(rows, panels, strict=True):
        for variable, axes in zip(variables, across, strict=True):
            for number, one in enumerate(several):
                if one is not None:
                    _strata(axes, one, variable, number, len(several))
            axes.axhline(0, color=INK, lw=0.8)
        name = next(one.query.name for one in several if one is not None)
        across[0].set_ylabel(f"{name}\n$r^2$ above its null", fontsize=9.5)
    for variable, axes in zip(variables, panels[-1], strict=True):
        axes.set_xlabel(_AXES.get(variable, variable))
    _legend(figure, panels)


def _strata(axes: Axes, one: Result, variable: str, number: int, of: int) -> None:
    colour, marker = _CONDITIONS[number % len(_CONDITIONS)]
    lines = [line for line in one.lines if line.stratum.variable == variable]
    low, high = (np.array([getattr(line.stratum, end) for line in lines]) for end in ("low", "high"))
    # Beside each other, where conditions would hide each other's bars.
    x = low + (high - low) * (0.5 + 0.3 * (number - (of - 1) / 2) / max(of, 1))
    scores = [line.dependence.r for line in lines]
    axes.errorbar(x, [excess(each) for each in scores], [each.null_spread for each in scores], fmt=f"{marker}-",
                  color=colour, ms=4.5, lw=1.2, capsize=2, label=_given(one.condition))  # fmt: skip


def graph_figure(found: Discovered, tested: Sequence[Result], figure: AnyFigure) -> None:
    """The graph of the PC algorithm, and beside it what each query has left given s."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_graph(found, left)
    alone = [one for one in tested if one.condition is None][::-1]
    place = np.arange(len(alone))
    values = np.array([one.whole.dependence.r.statistic for one in alone])
    nulls = np.array([one.whole.dependence.r.null_mean for one in alone])
    joined = [found.between(one.query.name, MASS) is not None for one in alone]
    for level, value, null, one, near in zip(place, values, nulls, alone, joined, strict=True):
        colour = PREDICTED if near else OTHER
        right.plot([null, value], [level, level], "-", color=colour, lw=1.2)
        right.plot(null, level, "|", color=FAINT, ms=11, mew=1.8)
        right.plot(value, level, "o", color=colour, mfc=colour if one.p_r <= LEVEL else "white", ms=7)
    right.set_yticks(place, [one.query.name for one in alone], fontsize=9.5)
    right.tick_params(axis="y", which="both", left=False, right=False)
    right.set(xlabel=r"mean $r^2$ with log M* given s", ylim=(-0.7, len(alone) - 0.3))
    if (np.concatenate([values, nulls]) > 0).any():
        right.set_xscale("log")


def draw_graph(found: Discovered, axes: Axes) -> None:
    """Variables on a circle, the mass on top; lines and arrows as the graph has them, those of the mass in colour."""
    count = len(found.names)
    first = found.names.index(MASS) if MASS in found.names else 0
    angle = np.pi / 2 - 2 * np.pi * (np.arange(count) - first) / count
    x, y = np.cos(angle), np.sin(angle)
    for link in found.links:
        near = first in (link.first, link.second)
        style = {"->": "-|>", "--": "-", "<->": "<|-|>"}[link.kind]
        axes.add_patch(FancyArrowPatch(
            (x[link.first], y[link.first]), (x[link.second], y[link.second]), arrowstyle=style, mutation_scale=16,
            shrinkA=9, shrinkB=9, color=PREDICTED if near else INK, lw=1.8 if near else 1.1, zorder=1,
        ))  # fmt: skip
    axes.scatter(x, y, 110, color=[PREDICTED if place == first else OTHER for place in range(count)], zorder=2)
    for place, name in enumerate(found.names):
        across, up = x[place], y[place]
        axes.text(1.1 * across, 1.1 * up, name.replace("/", "/\n"), fontsize=9, zorder=3,
                  ha="center" if abs(across) < 0.2 else "left" if across > 0 else "right",
                  va="bottom" if up > 0.9 else "top" if up < -0.9 else "center")  # fmt: skip
    axes.set(xlim=(-1.9, 1.9), ylim=(-1.4, 1.4), aspect="equal")
    axes.set_axis_off()


def _given(condition: Variable | None) -> str:
    return "given s alone" if condition is None else f"given s, {condition.name}"


def _legend(figure: AnyFigure, panels: Any) -> None:
    """Names of colours below the drawing, where no line is."""
    named: dict[str, Artist] = {}
    entries = sorted((axes.get_legend_handles_labels() for axes in panels.flat), key=lambda told: -len(told[1]))
    for handle, words in (entry for told in entries for entry in zip(*told, strict=True)):
        named.setdefault(words, handle)
    if named:
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4, fontsize=9.5)
