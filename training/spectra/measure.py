"""What is measured on a spectrum of the grid: equivalent widths of emission lines, and the 4000 Angstrom break."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from galcli.training.spectra.grid import POINTS, Floats, edges, wavelengths

#: Half of the window of a line [Angstrom]: three sigma of its width, and clear of [N II] beside H alpha.
HALF_WINDOW = 9.0
#: Pixels summed for a line: a full register, so that a sum does not depend on where in a batch a row stands.
_SPAN = 16


@dataclass(frozen=True)
class Line:
    """An emission line and the continuum on both sides of it, vacuum Angstrom."""

    centre: float
    blue: tuple[float, float]
    red: tuple[float, float]


LINES = {
    "OII": Line(3728.8, (3660.0, 3705.0), (3750.0, 3790.0)),
    "HB": Line(4862.7, (4810.0, 4845.0), (4880.0, 4930.0)),
    "OIII": Line(5008.2, (4978.0, 4995.0), (5022.0, 5060.0)),
    "HA": Line(6564.6, (6490.0, 6535.0), (6600.0, 6650.0)),
    "NII": Line(6585.3, (6490.0, 6535.0), (6600.0, 6650.0)),
}
#: Narrow break of Balogh et al. (1999, ApJ 527, 54), Angstrom.
BREAK = ((3850.0, 3950.0), (4000.0, 4100.0))


def _shares(low: float, high: float) -> Floats:
    """Wavelength [Angstrom] that each pixel of the grid has between two limits, (1000,)."""
    borders = edges()
    return np.asarray(np.clip(np.minimum(borders[1:], high) - np.maximum(borders[:-1], low), 0, None))


def _mean(low: float, high: float, by: Floats | float = 1.0) -> Floats:
    """Weights (1000,) of the mean over a range of wavelength."""
    share = _shares(low, high)
    return np.asarray(share * by / share.sum())


class EquivalentWidth(nn.Module):
    """Equivalent width of an emission line [Angstrom], positive in emission.

    The flux over a straight continuum between the means of two side bands, integrated over the window.

    Parameters
    ----------
    line : Line
    """

    sides: Tensor
    window: Tensor
    along: Tensor

    def __init__(self, line: Line) -> None:
        super().__init__()
        window = _shares(line.centre - HALF_WINDOW, line.centre + HALF_WINDOW)
        inside = np.flatnonzero(window)
        self.first = int(np.clip((inside[0] + inside[-1] - _SPAN) // 2, 0, POINTS - _SPAN))
        span = slice(self.first, self.first + _SPAN)
        centres = np.mean(line.blue), np.mean(line.red)
        along = (wavelengths()[span] - centres[0]) / (centres[1] - centres[0])
        self.register_buffer("sides", _tensor(np.stack([_mean(*line.blue), _mean(*line.red)], axis=1)))
        self.register_buffer("window", _tensor(window[span]))
        self.register_buffer("along", _tensor(along))

    def forward(self, flux: Tensor) -> Tensor:
        """Widths (N,) of spectra (N, 1000) in any unit."""
        sides = flux @ self.sides
        blue, red = sides[:, :1], sides[:, 1:]
        continuum: Tensor = blue + (red - blue) * self.along
        part = flux[:, self.first : self.first + _SPAN]
        width: Tensor = ((part / continuum - 1) * self.window).sum(1)
        return width


class Break(nn.Module):
    """Mean f_nu in 4000-4100 over that in 3850-3950 Angstrom, the narrow 4000 Angstrom break."""

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        per_nu = (wavelengths() / 4000.0) ** 2
        self.register_buffer("bands", _tensor(np.stack([_mean(*band, by=per_nu) for band in BREAK], axis=1)))

    def forward(self, flux: Tensor) -> Tensor:
        """Breaks (N,) of spectra (N, 1000), f_lambda in any unit."""
        means: Tensor = flux @ self.bands
        return means[:, 1] / means[:, 0]


def _tensor(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
