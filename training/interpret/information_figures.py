"""Plots of decomposed information: bars of pairs, and profiles over mass and redshift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from galcli.training.interpret.information import Profile
from galcli.training.interpret.information_numbers import MASS, RULES, Decomposed
from galcli.training.interpret.style import FAINT, INK
from galcli.training.recipes.mass_plan import REDSHIFT

AnyFigure = Figure | SubFigure
#: Parts by name, colour-blind-safe colour (Okabe and Ito 2008) and marker.
PARTS = {
    "R": ("redundant R", "#0072b2", "o"), "U1": ("unique to {0} U1", "#e69f00", "^"),
    "U2": ("unique to {1} U2", "#009e73", "v"), "S": ("synergistic S", "#d55e00", "s"),
}  # fmt: skip
#: Where one legend holds for several pairs.
_ORDER = ("the first", "the second")
_WHOLE = {"I1": ("first I1", "#e69f00", "^"), "I2": ("second I2", "#009e73", "v"), "I12": ("both I12", INK, "D")}
_TITLES = {"pointwise": "minimum in each galaxy (as published)", "population": "minimum of the means"}
_AXES = {MASS: "log M* [Msun]", REDSHIFT: "redshift"}
#: Inches of a picture of bars: each pair, and all else.
_EACH, _REST = 0.72, 1.75


def bars_size(pairs: int) -> tuple[float, float]:
    """Width and height in inches of the bars of some pairs."""
    return 13.0, _REST + _EACH * pairs


def bars_figure(found: Sequence[Decomposed], figure: AnyFigure) -> None:
    """Information of each pair, and its parts by both rules, with error bars of galaxies and seeds together."""
    whole, *parts = figure.subplots(1, 1 + len(RULES), sharey=True, width_ratios=(0.8, 1, 1))
    place = np.arange(len(found), dtype=np.float64)
    for number, (name, (words, colour, marker)) in enumerate(_WHOLE.items()):
        told = [one.rules[RULES[0]][name] for one in found]
        whole.errorbar(
            [one.mean for one in told], place + 0.2 * (number - 1), xerr=[one.bar for one in told], fmt=marker,
            color=colour, ms=6, lw=1.2, label=words,
        )  # fmt: skip
    whole.set(xlabel="information about the mass [nat]")
    whole.set_yticks(place, [_wrapped(one) for one in found], fontsize=9.5)
    whole.set_ylim(len(found) - 0.45, -0.55)
    height, learned = 0.8 / len(PARTS), np.array([not one.unlearned for one in found])
    for axes, rule in zip(parts, RULES, strict=True):
        for number, (name, (words, colour, _)) in enumerate(PARTS.items()):
            told = [one.rules[rule][name] for one in found if not one.unlearned]
            axes.barh(
                place[learned] + height * (number - 1.5), [one.mean for one in told], height, color=colour,
                label=words.format(*_ORDER), xerr=[one.bar for one in told],
                error_kw={"ecolor": INK, "lw": 1.0, "capsize": 1.5},
            )  # fmt: skip
        for level in place[~learned]:
            axes.text(0.5, level, "information below 0: no parts", transform=axes.get_yaxis_transform(),
                      fontsize=9, color=INK, ha="center", va="center")  # fmt: skip
        axes.set(xlabel="part of it [nat]", title=_TITLES[rule])
    for axes in (whole, *parts):
        axes.axvline(0, color=INK, lw=0.8)
        axes.tick_params(axis="y", which="both", left=False, right=False)
        for line in place[1:] - 0.5:
            axes.axhline(line, color=FAINT, lw=0.5, alpha=0.6)
    _share_range(parts)
    _legend(figure, 7, whole, parts[0])


def _wrapped(one: Decomposed) -> str:
    """First input over second one."""
    return f"{one.pair.names[0]}\nand {one.pair.names[1]}"


def _share_range(panels: Sequence[Axes]) -> None:
    """The same scale for both rules."""
    ranges = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in ranges), max(high for _, high in ranges))


def _legend(figure: AnyFigure, columns: int, *panels: Axes) -> None:
    """Names of colours below the drawing, where no bar is."""
    entries = [entry for axes in panels for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    figure.legend(
        [handle for handle, _ in entries], [words for _, words in entries], loc="outside lower center", ncols=columns,
        fontsize=9, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def profiles_figure(found: Decomposed, figure: AnyFigure) -> None:
    """Parts of the information (minimum in each galaxy) over each variable, bands of one standard error."""
    panels = figure.subplots(1, len(found.profiles), sharey=True, squeeze=False)[0]
    for axes, (name, one) in zip(panels, found.profiles.items(), strict=True):
        _lines(axes, one, found.pair.names)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(xlabel=_AXES[name], xlim=(one.edges[0], one.edges[-1]))
    panels[0].set_ylabel("information [nat]")
    _legend(figure, 3, panels[0])


def _lines(axes: Axes, one: Profile, names: tuple[str, str]) -> None:
    known = one.count > 0
    axes.plot(one.middle[known], one.mean["I12"][known], "--D", color=INK, lw=1.2, ms=4, label="both I12")
    for name, (words, colour, marker) in PARTS.items():
        mean, error = one.mean[name][known], np.nan_to_num(one.error[name][known])
        axes.plot(one.middle[known], mean, "-" + marker, color=colour, lw=1.6, ms=5, label=words.format(*names))
        axes.fill_between(one.middle[known], mean - error, mean + error, color=colour, alpha=0.2, lw=0)
