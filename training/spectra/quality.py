"""How well spectra are predicted: relative residuals, equivalent widths, the 4000 Angstrom break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.training.spectra.grid import Floats
from galcli.training.spectra.measure import LINES, Break, EquivalentWidth

Spectra = NDArray[np.floating]


def line_widths(flux: Spectra) -> dict[str, Floats]:
    """Equivalent widths [Angstrom] of every line of ``measure.LINES`` in spectra (N, 1000), each (N,)."""
    spectra = torch.from_numpy(np.ascontiguousarray(flux, np.float32))
    return {name: EquivalentWidth(line)(spectra).numpy().astype(np.float64) for name, line in LINES.items()}


def breaks(flux: Spectra) -> Floats:
    """The narrow 4000 Angstrom break (N,) of spectra (N, 1000)."""
    values: Floats = Break()(torch.from_numpy(np.ascontiguousarray(flux, np.float32))).numpy().astype(np.float64)
    return values


def relative_residuals(predicted: Spectra, reference: Spectra, good: NDArray[np.bool_] | None = None) -> Floats:
    """|predicted - reference| / |reference| of every pixel with data, (P,)."""
    ratio = np.abs(np.asarray(predicted, np.float64) - reference) / np.maximum(np.abs(reference), 1e-9)
    return ratio.ravel() if good is None else ratio[good]


def figures(
    predicted: Spectra, reference: Spectra, good: NDArray[np.bool_] | None = None
) -> Iterator[tuple[str, float, str | None]]:
    """Name, value and unit of what tells how well spectra are predicted.

    Parameters
    ----------
    predicted, reference : ndarray (N, 1000)
        Normalised alike.
    good : ndarray (N, 1000), bool, optional
        Where the reference has data; everywhere without it.

    Yields
    ------
    Median and 90 % relative residual over all pixels of all spectra; bias, RMSE and sigma_MAD of the equivalent
    widths and of the break.
    """
    residual = relative_residuals(predicted, reference, good)
    yield "SPEC_FLUX median relative residual", float(np.median(residual)), None
    yield "SPEC_FLUX 90 % relative residual", float(np.percentile(residual, 90)), None
    truth = line_widths(reference)
    for name, width in line_widths(predicted).items():
        for what, value in scatter(width - truth[name]).items():
            yield f"SPEC_EW_{name} {what}", value, "Angstrom"
    for what, value in scatter(breaks(predicted) - breaks(reference)).items():
        yield f"SPEC_D4000 {what}", value, None


def scatter(residual: Floats) -> dict[str, float]:
    """RMSE, bias and sigma_MAD of residuals (N,); those that are not finite are left out."""
    good = residual[np.isfinite(residual)]
    return {
        "rmse": float(np.sqrt(np.mean(good**2))),
        "bias": float(good.mean()),
        "sigma_mad": float(1.4826 * np.median(np.abs(good - np.median(good)))),
    }


def metrics(found: Iterator[tuple[str, float, str | None]], **common: Any) -> list[dict[str, Any]]:
    """Entries of a model card, five digits each."""
    return [common | {"name": name, "value": float(f"{value:.5g}"), "unit": unit} for name, value, unit in found]
