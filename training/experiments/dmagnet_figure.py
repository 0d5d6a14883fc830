"""The tables of the paper of DMAGNet as a figure: F1 of each class, and where the galaxies of each class go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galcli.training.experiments.dmagnet_measure import Outcome
from galcli.training.experiments.dmagnet_published import published
from galcli.training.experiments.dmagnet_report import OURS, averaged, caveats, describe_sample, main_front
from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.confusion import draw_confusion
from galcli.training.interpret.style import FAINT, INK, look

_COLOURS, _MARKERS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7"), "osD^"
#: Distance of the marks of one class.
_STEP = 0.18


def draw(settings: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Figure:
    """Draw it.

    Parameters
    ----------
    settings : mapping
        Of the experiment.
    outcomes : mapping of str to Outcome
        By network.

    Returns
    -------
    Figure
    """
    front, mean = main_front(outcomes), averaged(outcomes)
    with look():
        figure = Figure(figsize=(15, 7.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        _classes(left, outcomes, front)
        draw_confusion(right, np.rint(outcomes[OURS].fronts[front].confusion).astype(np.int64))
        right.set_title(f"{OURS}: whole galaxies, {mean};\ncolours are shares of the true class")
        figure.suptitle(f"{describe_sample(settings)}\nfront {front}; {mean}", color=INK)
        figure.supxlabel("\n".join(caveats(settings)), color=FAINT, fontsize=10)
    return figure


def _classes(axes: Axes, outcomes: Mapping[str, Outcome], front: str) -> None:
    """F1 of every class, ours and the published one; bars are standard deviations of several trainings."""
    place = np.arange(len(NAMES))
    for number, (network, one) in enumerate(outcomes.items()):
        figures, deviation = one.fronts[front].mean.scores, one.fronts[front].deviation
        shifted = place + _STEP * (number - (len(outcomes) - 1) / 2)
        label, scatter = f"{network}: macro F1 {figures.macro[2]:.3f}", None
        if deviation is not None:
            label, scatter = f"{label} +-{deviation.scores.macro[2]:.3f}", deviation.scores.f1
        axes.errorbar(figures.f1, shifted, xerr=scatter, fmt=_MARKERS[number], color=_COLOURS[number], label=label)
    paper = published()
    label = f"paper, corrected (Galaxy10): macro F1 {paper.macro[2]:.3f}"
    axes.plot(paper.f1, place, "|", color=INK, markersize=22, label=label)
    for boundary in place[1:] - 0.5:
        axes.axhline(boundary, color=FAINT, linewidth=0.4)
    axes.set_yticks(place, NAMES)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(NAMES) - 0.5, -0.5), xlabel="F1")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, markerscale=0.6)
