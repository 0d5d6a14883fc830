"""Plots of predicted against observed numbers: latents, H alpha and the break, and what a dropout ensemble says."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from galcli.training.interpret.spectra_compare import Comparison, Observed
from galcli.training.interpret.spectra_numbers import name_of
from galcli.training.interpret.style import FAINT, INK, OTHER, PREDICTED, look
from galcli.training.spectra.grid import Floats

#: Limits of a plot leave out this part of the galaxies at each end, in per cent, and show a margin beyond.
_TAIL, _MARGIN = 0.5, 0.08
#: Galaxies with error bars at most: more bars hide each other.
_BARS = 400
#: Bins of the scatter of an ensemble.
_BINS = 6


def latents_figure(comparison: Comparison, seen: Observed, numbers: dict[str, Any], figure: Figure) -> None:
    """Draw each latent as predicted against that of the observed spectrum.

    Parameters
    ----------
    comparison : Comparison
    seen : Observed
        Its observed spectra.
    numbers : dict
        Of ``metrics.json``.
    figure : Figure
    """
    value, error = (comparison.column(name, seen.rows) for name in ("SPEC_LATENT", "SPEC_LATENT_ERR"))
    count = value.shape[1]
    with look():
        panels = figure.subplots(-(-count // 3), min(count, 3), squeeze=False)
        for axes in panels.flat[count:]:
            axes.set_axis_off()
        for number, (axes, one) in enumerate(zip(panels.flat, numbers["latents"], strict=False)):
            x, y = seen.latent[:, number], value[:, number]
            _points(axes, x, y, comparison.ood[seen.rows], error[:, number])
            _text(axes, [f"RMSE {one['rmse']:.2f}", f"bias {_minus(one['bias'])}",
                         f"{100 * one['coverage']:.0f} % within error"])  # fmt: skip
            axes.set(title=name_of(number, numbers["traversals"][number]["change"]), xlabel="encoded from the observed spectrum",
                     ylabel="predicted from the image")  # fmt: skip
        _legend(panels.flat[0], comparison.ood[seen.rows])


def properties_figure(comparison: Comparison, seen: Observed, numbers: dict[str, Any], figure: Figure) -> None:
    """Draw EW(H alpha) and the 4000 Angstrom break as predicted against those measured on observed spectra."""
    with look():
        panels = figure.subplots(1, 2)
        for axes, name, truth, label in (
            (panels[0], "SPEC_EW_HA", seen.ew_ha, "EW(H$\\alpha$) [\u00c5]"),
            (panels[1], "SPEC_D4000", seen.d4000, "D4000"),
        ):
            one = numbers["properties"][name]
            if one["objects"]:
                _points(axes, truth, comparison.column(name, seen.rows), comparison.ood[seen.rows])
                _text(axes, [f"RMSE {one['rmse']:.3g}", f"bias {_minus(one['bias'])}", f"{one['objects']:,} galaxies"])
            axes.set(xlabel=f"{label}, measured on the observed spectrum", ylabel=f"{label}, predicted")
        _legend(panels[0], comparison.ood[seen.rows])


def ensemble_figure(comparison: Comparison, seen: Observed, figure: Figure) -> None:
    """Draw residuals against the scatter of the dropout ensemble, and their root mean square in bins of it."""
    spread = comparison.column("SPEC_LATENT_SCATTER", seen.rows).ravel()
    residual = np.abs(comparison.column("SPEC_LATENT", seen.rows) - seen.latent).ravel()
    order = np.argsort(spread, kind="stable")
    bins = [group for group in np.array_split(order, _BINS) if len(group)]
    with look():
        axes = figure.subplots()
        axes.scatter(spread, residual, s=9, color=OTHER, alpha=0.45, lw=0, label="a latent of a galaxy")
        middle = [float(np.median(spread[group])) for group in bins]
        axes.plot(middle, [float(np.sqrt(np.mean(residual[group] ** 2))) for group in bins], "o-", color=PREDICTED,
                  label="root mean square in bins")  # fmt: skip
        top = float(max(np.percentile(spread, 100 - _TAIL), 1e-6)) * (1 + _MARGIN)
        axes.plot([0, top], [0, top], color=INK, lw=0.9, label="1 : 1")
        axes.set(xlim=(0, top), ylim=(0, float(np.percentile(residual, 100 - _TAIL)) * (1 + _MARGIN)),
                 xlabel="SPEC_LATENT_SCATTER, scatter of the dropout ensemble", ylabel="|predicted \u2212 encoded|")  # fmt: skip
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _points(
    axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating], ood: NDArray[np.bool_],
    error: NDArray[np.floating] | None = None,
) -> None:  # fmt: skip
    """Predicted against true with the 1:1 line, on one scale."""
    if error is not None and len(x) <= _BARS:
        axes.errorbar(x, y, error, fmt="none", ecolor=FAINT, elinewidth=0.6, alpha=0.5, zorder=1)
    axes.scatter(x[~ood], y[~ood], s=13, color=OTHER, alpha=0.75, lw=0, zorder=2, label="in the model's domain")
    axes.scatter(x[ood], y[ood], s=26, facecolor="none", edgecolor=PREDICTED, marker="D", lw=1.1, zorder=3,
                 label="out of domain")  # fmt: skip
    low, high = _limits(np.concatenate([x, y]).astype(np.float64))
    axes.plot([low, high], [low, high], color=INK, lw=0.9, zorder=4)
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1)


def _limits(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values[np.isfinite(values)], (_TAIL, 100 - _TAIL))
    margin = _MARGIN * max(high - low, 1e-3)
    return float(low - margin), float(high + margin)


def _text(axes: Axes, lines: list[str]) -> None:
    axes.text(0.04, 0.96, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=9.5, zorder=5,
              bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 2})  # fmt: skip


def _legend(axes: Axes, ood: NDArray[np.bool_]) -> None:
    if ood.any():
        axes.legend(loc="lower right", frameon=True, framealpha=0.8, edgecolor="none", handletextpad=0.2)


def _minus(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")
