"""The BPT diagram of a predictions table, beside that of the measured lines (models.md 1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from galcli.training.interpret.predictions import Columns, Predictions, read_columns, read_predictions
from galcli.training.interpret.style import COLOURS, FAINT, INK, look
from galcli.training.mock import lines

Floats = NDArray[np.float64]

#: Limits of the diagram.
X, Y = (-1.55, 0.55), (-1.05, 1.3)
#: Range of 12+log(O/H) that the colours span.
OH = (8.4, 9.2)
#: Lines need this signal to noise to count as measured.
MIN_SNR = 3.0
LINES = ("nii_6584", "h_alpha", "oiii_5007", "h_beta")


@dataclass(frozen=True)
class Ratios:
    """Points of a BPT diagram.

    Attributes
    ----------
    nii_ha, oiii_hb : ndarray (N,)
        log10 of the line ratios; NaN where unknown.
    oh : ndarray (N,)
        12+log(O/H); NaN where unknown.
    """

    nii_ha: Floats
    oiii_hb: Floats
    oh: Floats


def bpt_figure(predictions: Path, catalog: Path | None = None) -> Figure:
    """Draw predicted line ratios, coloured by predicted metallicity.

    Parameters
    ----------
    predictions : Path
        Table of `galcli predict` with the columns LOG_NII_HA, LOG_OIII_HB and, for the colour, Z_GAS.
    catalog : Path, optional
        The catalogue that was predicted. If it has measured lines (MPA-JHU names) they are drawn beside, and galaxies
        without measured lines become faint.

    Returns
    -------
    Figure
    """
    table = read_predictions(predictions)
    predicted = _predicted(table)
    measured = None if catalog is None else measured_ratios(catalog)
    with look():
        figure = Figure(figsize=(11.6 if measured else 6.4, 5.6), layout="constrained")
        axes = figure.subplots(1, 2 if measured else 1, sharex=True, sharey=True, squeeze=False)[0]
        detected = np.ones(len(predicted.oh), bool)
        if measured:
            detected = np.isfinite(measured.nii_ha + measured.oiii_hb)[: len(predicted.oh)]
            _panel(axes[0], measured, detected, "measured in the spectrum")
            # The same galaxy has the same symbol in both panels.
            predicted.oh[~np.isfinite(measured.oh[: len(predicted.oh)])] = np.nan
        _panel(axes[-1], predicted, detected, "predicted from the image")
        _error_bar(axes[-1], table.columns)
        axes[0].set_ylabel(r"log [O III] $\lambda$5007 / H$\beta$")
        colours = ScalarMappable(Normalize(*OH), COLOURS)
        figure.colorbar(colours, ax=axes.tolist(), pad=0.012, aspect=32, extend="both", label="12 + log (O/H)")
    return figure


def measured_ratios(catalog: Path) -> Ratios | None:
    """Line ratios of a catalogue with MPA-JHU columns; None where it has none.

    Parameters
    ----------
    catalog : Path

    Returns
    -------
    Ratios or None
        NaN where a line has a signal to noise of 3 or less.
    """
    names = [f"{line}_flux" for line in LINES]
    columns = read_columns(catalog, [*names, *(f"{name}_err" for name in names), "oh_p50"])
    if not set(names) <= set(columns):
        return None
    logs = []
    for name in names:
        flux = columns[name].astype(np.float64)
        error = columns.get(f"{name}_err", np.zeros_like(flux))
        detected = (flux > 0) & (flux > MIN_SNR * error)
        logs.append(np.log10(np.where(detected, flux, np.nan)))
    oh = columns.get("oh_p50", np.full(len(logs[0]), np.nan)).astype(np.float64)
    return Ratios(logs[0] - logs[1], logs[2] - logs[3], np.where(oh > 0, oh, np.nan))


def draw_borders(axes: Axes, *, names: bool = True) -> None:
    """Draw both borders and set the limits of the diagram."""
    for border, end, style, label in (
        (lines.kauffmann, 0.05, "--", "Kauffmann et al. 2003"),
        (lines.kewley, 0.47, "-", "Kewley et al. 2001"),
    ):
        x = torch.linspace(X[0], end - 0.02, 400)
        axes.plot(x.numpy(), border(x).numpy(), style, color=INK, lw=1.1, zorder=1, label=label if names else None)
    axes.set(xlim=X, ylim=Y, xlabel=r"log [N II] $\lambda$6584 / H$\alpha$")


def _predicted(table: Predictions) -> Ratios:
    columns = table.columns
    oh = columns.get("Z_GAS", np.full(len(columns["STATUS"]), np.nan))
    return Ratios(*(np.asarray(v, np.float64) for v in (columns["LOG_NII_HA"], columns["LOG_OIII_HB"], oh)))


def _panel(axes: Axes, points: Ratios, strong: NDArray[np.bool_], title: str) -> None:
    draw_borders(axes)
    drawn = np.isfinite(points.nii_ha + points.oiii_hb)
    faint, plain = drawn & ~strong, drawn & strong & ~np.isfinite(points.oh)
    coloured = drawn & strong & np.isfinite(points.oh)
    if faint.any():
        axes.scatter(points.nii_ha[faint], points.oiii_hb[faint], s=14, c="#c9c9c9", lw=0, zorder=2,
                     label="no lines measured")  # fmt: skip
    if plain.any():
        axes.scatter(points.nii_ha[plain], points.oiii_hb[plain], s=34, fc="none", ec=FAINT, lw=1, zorder=3,
                     label="not star-forming")  # fmt: skip
    axes.scatter(points.nii_ha[coloured], points.oiii_hb[coloured], s=46, c=points.oh[coloured], cmap=COLOURS,
                 norm=Normalize(*OH), ec=INK, lw=0.5, zorder=4)  # fmt: skip
    axes.set_title(title)
    axes.legend(loc="lower left", handlelength=1.8)


def _error_bar(axes: Axes, columns: Columns) -> None:
    """The typical 68 % interval, in a free corner."""
    if not {"LOG_NII_HA_ERR", "LOG_OIII_HB_ERR"} <= set(columns):
        return
    dx, dy = (float(np.nanmedian(columns[name])) for name in ("LOG_NII_HA_ERR", "LOG_OIII_HB_ERR"))
    x, y = X[1] - 0.12 - dx, Y[1] - 0.12 - dy
    axes.errorbar(x, y, dy, dx, color=INK, lw=1, capsize=2)
    axes.annotate("typical error", (x, y - dy), (0, -5), textcoords="offset points", ha="center", va="top", fontsize=9)
