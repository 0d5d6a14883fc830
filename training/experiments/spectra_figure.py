"""Table 1 of Wu & Peek (2020) as a figure: validation loss against epoch, and at the end beside the published ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galcli.training.experiments.spectra_claims import NOTEBOOK, PUBLISHED, PUBLISHED_EPOCHS, SIMPLE_DECONV, Scores
from galcli.training.experiments.spectra_report import describe_sample
from galcli.training.experiments.statistics import mean_over_seeds
from galcli.training.interpret.style import FAINT, INK, look

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
#: Distance of the marks of one network.
_STEP = 0.18
#: Top of the figure, over the loss of predicting the mean; what lies above is written at the edge.
_TOP = 1.5


def draw(settings: dict[str, Any], scores: Scores) -> Figure:
    """Draw it.

    Parameters
    ----------
    settings : dict
        Of the experiment.
    scores : Scores

    Returns
    -------
    Figure
    """
    with look():
        figure = Figure(figsize=(14, 5), layout="constrained")
        left, middle, right = figure.subplots(1, 3, sharey=True)
        top = _TOP * settings["predict_the_mean"]
        for axes, epochs in zip((left, middle), scores.epochs, strict=True):
            _curves(axes, scores, epochs, top)
            axes.axhline(settings["predict_the_mean"], color=FAINT, linestyle=":")
        left.set_ylabel("validation loss (RMSE of the latents)")
        left.annotate(
            "predict the mean", (0.98, settings["predict_the_mean"]), xycoords=("axes fraction", "data"), color=FAINT,
            ha="right", va="bottom", fontsize=9,
        )  # fmt: skip
        _ends(right, scores, top)
        left.set_ylim(top=top)
        figure.suptitle(f"Five networks on {describe_sample(settings)}", color=INK)
    return figure


def _curves(axes: Axes, scores: Scores, epochs: int, top: float) -> None:
    """Mean and range over the seeds."""
    for network, colour in zip(PUBLISHED, _COLOURS, strict=True):
        if (network, epochs) not in scores.metrics:
            continue
        curves = scores.curves(network, epochs)
        number = np.arange(1, curves.shape[1] + 1)
        above = " (off the scale)" if curves.mean(0).min() > top else ""
        axes.plot(number, curves.mean(0), color=colour, label=network + above)
        axes.fill_between(number, curves.min(0), curves.max(0), color=colour, alpha=0.2, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", title=f"trained for {epochs} epochs; shaded: range of the seeds")
    axes.legend(loc="upper right")


def _ends(axes: Axes, scores: Scores, top: float) -> None:
    """Final losses with their errors, beside the published ones."""
    for place, (network, published) in enumerate(PUBLISHED.items()):
        for column, epochs in enumerate(scores.epochs):
            x = place + _STEP * (2 * column - 1.5)
            if (network, epochs) in scores.metrics:
                mean = mean_over_seeds(scores.loss(network, epochs))
                axes.errorbar(
                    x, mean.value, mean.error or 0, color=_COLOURS[place], marker="os"[column], capsize=3, markersize=6
                )
                if mean.value > top:
                    axes.annotate(
                        f"{mean.value:.2f} ↑", (x, top), color=_COLOURS[place], rotation=90, ha="center", va="top"
                    )
            if (value := published[column]) is not None:
                axes.plot(x + _STEP, value, marker="os"[column], color=INK, mfc="none", linestyle="none")
    axes.plot(list(PUBLISHED).index(SIMPLE_DECONV) - _STEP / 2, NOTEBOOK, "x", color=INK)
    for column, marker in enumerate("os"):
        axes.plot([], [], marker, color=FAINT, label=f"here, {scores.epochs[column]} epochs")
        axes.plot([], [], marker, color=INK, mfc="none", label=f"paper, {PUBLISHED_EPOCHS[column]} epochs")
    axes.plot([], [], "x", color=INK, label="authors' notebook, 10 epochs")
    axes.set_xticks(range(len(PUBLISHED)), [name.replace("xresnet18", "xresnet18\n") for name in PUBLISHED], fontsize=9)
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.set_title("at the end; bars: standard error of the mean")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.85))  # below what is written at the edge
