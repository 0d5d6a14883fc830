"""Curves of several seeds: their mean, and the range between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from galcli.training.interpret.style import FAINT, OTHER, PREDICTED

#: Colour-blind-safe colours (Okabe and Ito 2008) of models that stand side by side.
COLOURS = (OTHER, "#009e73", PREDICTED, "#cc79a7")


def curves(
    axes: Axes, x: Sequence[float], rows: Sequence[Sequence[float]], colour: str, label: str, style: str = "-"
) -> None:
    """Draw the mean of the rows (one per seed), and their range as a shade."""
    values = np.asarray(rows)
    axes.plot(x, values.mean(0), style, color=colour, label=label)
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def level(axes: Axes, value: float, words: str) -> None:
    """Draw a line at what a criterion asks for."""
    axes.axhline(value, color=FAINT, linestyle=":", linewidth=1)
    axes.annotate(
        words, (0.99, value), xycoords=("axes fraction", "data"), color=FAINT, ha="right", va="bottom", fontsize=9
    )
