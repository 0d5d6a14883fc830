"""Interpolation in tables, and the curves of growth of Sersic and exponential profiles.

Everything here is a table look-up, so that a million galaxies need no root finding.
"""

from functools import lru_cache

import torch
from torch import Tensor

SERSIC_N = (0.5, 8.0, 76)  # first, last, number of Sersic indices in the tables
LOG_X = (-3.5, 2.5, 601)  # first, last, number of log10(r / re)


def interp(x: Tensor, xp: Tensor, fp: Tensor) -> Tensor:
    """Linear interpolation, constant beyond the ends.

    Parameters
    ----------
    x : Tensor
        Where to interpolate, any shape.
    xp, fp : Tensor, shape (k,)
        Increasing abscissae and the values there.

    Returns
    -------
    Tensor
        Same shape as `x`.
    """
    right = torch.searchsorted(xp, x.contiguous()).clamp(1, len(xp) - 1)
    left = right - 1
    weight = ((x - xp[left]) / (xp[right] - xp[left]).clamp_min(1e-30)).clamp(0, 1)
    return fp[left] + weight * (fp[right] - fp[left])


def position(x: Tensor, first: float, last: float, count: int) -> tuple[Tensor, Tensor]:
    """Index of the lower neighbour and weight of the upper one in a regular grid (clamped to the ends)."""
    scaled = ((x - first) * ((count - 1) / (last - first))).clamp(0, count - 1)
    low = scaled.floor().clamp(max=count - 2)
    return low.long(), scaled - low


def sersic_b(n: Tensor) -> Tensor:
    """Sersic b(n), so that r_e holds half the light (Ciotti & Bertin 1999, eq. 18; good to 1e-4 for n > 0.5)."""
    return 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)


@lru_cache(maxsize=8)
def _sersic_tables(device: str) -> tuple[Tensor, Tensor]:
    """Curve of growth over (n, log10 r/re), and its inverse: log10 r/re over (n, fraction 0.005..0.995)."""
    n = torch.linspace(*SERSIC_N[:2], SERSIC_N[2], dtype=torch.float64)[:, None]
    log_x = torch.linspace(*LOG_X[:2], LOG_X[2], dtype=torch.float64)
    growth = torch.special.gammainc(2 * n.expand(-1, LOG_X[2]), sersic_b(n) * (10**log_x) ** (1 / n))
    fraction = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
    inverse = torch.stack([interp(fraction, row, log_x) for row in growth])
    return growth.float().to(device), inverse.float().to(device)


def _bilinear(table: Tensor, row: tuple[Tensor, Tensor], column: tuple[Tensor, Tensor]) -> Tensor:
    """Values of a 2-D table at fractional rows and columns given by `position`."""
    (i, wi), (j, wj) = row, column
    low = table[i, j] * (1 - wj) + table[i, j + 1] * wj
    return low * (1 - wi) + (table[i + 1, j] * (1 - wj) + table[i + 1, j + 1] * wj) * wi


def sersic_growth(x: Tensor, n: Tensor) -> Tensor:
    """Fraction of a Sersic profile's light inside x = r / r_e (0..1), shapes broadcast."""
    x, n = x + torch.zeros_like(n), n + torch.zeros_like(x)  # one shape
    log_x = x.clamp_min(1e-30).log10()
    return _bilinear(_sersic_tables(str(x.device))[0], position(n, *SERSIC_N), position(log_x, *LOG_X))


def sersic_radius(fraction: Tensor, n: Tensor) -> Tensor:
    """Radius r / r_e that holds `fraction` (0.005..0.995) of a Sersic profile's light."""
    fraction, n = fraction + torch.zeros_like(n), n + torch.zeros_like(fraction)  # one shape
    table = _sersic_tables(str(n.device))[1]
    return 10 ** _bilinear(table, position(n, *SERSIC_N), position(fraction, 0.005, 0.995, 199))


def disc_growth(x: Tensor) -> Tensor:
    """Fraction of an exponential disc's light inside x = r / h."""
    return 1 - (1 + x) * torch.exp(-x)


@lru_cache(maxsize=8)
def _disc_inverse(device: str) -> tuple[Tensor, Tensor]:
    x = torch.logspace(-3, 1.3, 2000, dtype=torch.float64)
    return disc_growth(x).float().to(device), x.float().to(device)


def disc_radius(fraction: Tensor) -> Tensor:
    """Radius r / h that holds `fraction` of an exponential disc's light."""
    growth, x = _disc_inverse(str(fraction.device))
    return interp(fraction, growth, x)
