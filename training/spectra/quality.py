"""How well spectra are predicted: relative residuals, equivalent widths, the 4000 Angstrom break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.training.spectra.grid import Floats, wavelengths
from galcli.training.spectra.measure import BREAK, LINES, Break, EquivalentWidth

Spectra = NDArray[np.floating]
Bools = NDArray[np.bool_]

#: Part of the pixels of a line with its side bands, or of the break, that must hold data for a measurement.
COVERED = 0.9


class Figure(NamedTuple):
    """A figure of merit: what it is, its value and unit, and of how many spectra."""

    name: str
    value: float
    unit: str | None
    objects: int


def line_widths(flux: Spectra) -> dict[str, Floats]:
    """Equivalent widths [Angstrom] of every line of ``measure.LINES`` in spectra (N, 1000), each (N,)."""
    spectra = torch.from_numpy(np.ascontiguousarray(flux, np.float32))
    return {name: EquivalentWidth(line)(spectra).numpy().astype(np.float64) for name, line in LINES.items()}


def breaks(flux: Spectra) -> Floats:
    """The narrow 4000 Angstrom break (N,) of spectra (N, 1000)."""
    values: Floats = Break()(torch.from_numpy(np.ascontiguousarray(flux, np.float32))).numpy().astype(np.float64)
    return values


def covers_line(good: Bools, name: str) -> Bools:
    """Spectra (N,) whose data, where ``good`` (N, 1000), are enough to measure a line of ``measure.LINES``."""
    return _covers(good, LINES[name].blue[0], LINES[name].red[1])


def covers_break(good: Bools) -> Bools:
    """Spectra (N,) whose data are enough to measure the break."""
    return _covers(good, BREAK[0][0], BREAK[1][1])


def _covers(good: Bools, low: float, high: float) -> Bools:
    wave = wavelengths()
    return np.asarray(good[:, (wave >= low) & (wave <= high)].mean(1) >= COVERED)


def relative_residuals(predicted: Spectra, reference: Spectra, good: Bools | None = None) -> Floats:
    """|predicted - reference| / |reference| of every pixel with data, (P,)."""
    ratio = np.abs(np.asarray(predicted, np.float64) - reference) / np.maximum(np.abs(reference), 1e-9)
    return ratio.ravel() if good is None else ratio[good]


def figures(predicted: Spectra, reference: Spectra, good: Bools | None = None) -> Iterator[Figure]:
    """What tells how well spectra are predicted.

    Parameters
    ----------
    predicted, reference : ndarray (N, 1000)
        Normalised alike.
    good : ndarray (N, 1000), bool, optional
        Where the reference has data; everywhere without it.

    Yields
    ------
    Median and 90 % relative residual over all pixels of all spectra; bias, RMSE and sigma_MAD of the equivalent
    widths and of the break, each over the spectra whose reference has data there.
    """
    if good is None:
        good = np.ones(reference.shape, np.bool_)
    residual, count = relative_residuals(predicted, reference, good), int(good.any(1).sum())
    yield Figure("SPEC_FLUX median relative residual", float(np.median(residual)), None, count)
    yield Figure("SPEC_FLUX 90 % relative residual", float(np.percentile(residual, 90)), None, count)
    truth = line_widths(reference)
    for name, width in line_widths(predicted).items():
        yield from _scatter(f"SPEC_EW_{name}", (width - truth[name])[covers_line(good, name)], "Angstrom")
    yield from _scatter("SPEC_D4000", (breaks(predicted) - breaks(reference))[covers_break(good)], None)


def _scatter(name: str, residual: Floats, unit: str | None) -> Iterator[Figure]:
    count = int(np.isfinite(residual).sum())
    if count:
        for what, value in scatter(residual).items():
            yield Figure(f"{name} {what}", value, unit, count)


def scatter(residual: Floats) -> dict[str, float]:
    """RMSE, bias and sigma_MAD of residuals (N,); those that are not finite are left out."""
    good = residual[np.isfinite(residual)]
    return {
        "rmse": float(np.sqrt(np.mean(good**2))),
        "bias": float(good.mean()),
        "sigma_mad": float(1.4826 * np.median(np.abs(good - np.median(good)))),
    }


def metrics(found: Iterator[Figure], **common: Any) -> list[dict[str, Any]]:
    """Entries of a model card, five digits each."""
    return [common | one._asdict() | {"value": float(f"{one.value:.5g}")} for one in found]
