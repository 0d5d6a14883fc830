"""Light distributions on a pixel grid: the few primitives that every mock galaxy is made of.

All maps are in units of the component's total flux per pixel, so that normalisation stays in one place. Cusps are
softened by a fraction of a pixel and the light this removes is put back at the centre, so flux is exact without
oversampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SOFT = 0.4
"""Softening of cuspy profiles, pixels (well below any survey's PSF)."""


@dataclass(frozen=True)
class Grid:
    """A square canvas in sky coordinates (tangent plane, arcsec).

    Columns run to the west: `east` decreases with the column; rows run to the north.
    """

    side: int
    pixscale: float
    device: torch.device

    @property
    def east(self) -> Tensor:
        """East offset of the columns from the canvas centre, (P,) arcsec."""
        return -self.north

    @property
    def north(self) -> Tensor:
        """North offset of the rows from the canvas centre, (P,) arcsec."""
        return (torch.arange(self.side, device=self.device) - 0.5 * (self.side - 1)) * self.pixscale

    @property
    def half(self) -> float:
        """Half the side, arcsec."""
        return 0.5 * self.side * self.pixscale


def axes(grid: Grid, pa: Tensor, q: Tensor, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates along the major axis and, stretched by 1/q, along the minor axis.

    Parameters
    ----------
    grid : Grid
    pa : Tensor
        (n,) position angle of the major axis, radians east of north.
    q : Tensor
        (n,) axis ratio.
    dx, dy : Tensor
        (n,) centre, arcsec east and north of the canvas centre.

    Returns
    -------
    a, b : Tensor
        (n, P, P) arcsec; a**2 + b**2 is the squared elliptical radius.
    """
    sin, cos = torch.sin(pa)[:, None], torch.cos(pa)[:, None]
    e, n = grid.east[None] - dx[:, None], grid.north[None] - dy[:, None]
    a = (e * sin)[:, None, :] + (n * cos)[:, :, None]
    b = (e * cos / q[:, None])[:, None, :] - (n * sin / q[:, None])[:, :, None]
    return a, b


def window(r2: Tensor, half: float) -> Tensor:
    """Smooth weight (1 - (r/half)^8)^3, zero outside: flat where galaxies are, and sums with it converge on a grid.

    A pixel sum of `window * profile` has an exact counterpart in one dimension (`windowed_fraction`), which gives the
    normalisation of a profile even where its wings leave the canvas.
    """
    u = torch.square(r2 * (1.0 / (half * half)))
    u = u.square_().neg_().add_(1.0).clamp_(min=0.0)
    return u * u * u


def sersic_b(n: Tensor) -> Tensor:
    """Sersic b_n (Ciotti & Bertin 1999, A&A 352, 447, eq. 18)."""
    return 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n) + 46.0 / (25515.0 * n * n)


def windowed_fraction(re: Tensor, n: Tensor, half: float) -> Tensor:
    """Fraction of a Sersic profile's flux under `window`, (n,), by quadrature in x = b (r/re)^(1/n)."""
    b = sersic_b(n)[:, None]
    top = 2.0 * n[:, None] + 14.0 * torch.sqrt(2.0 * n[:, None]) + 10.0
    x = top * (torch.arange(192, device=re.device) + 0.5)[None] / 192.0
    weight = torch.exp((2.0 * n[:, None] - 1.0) * torch.log(x) - x)
    r = re[:, None] * (x / b) ** n[:, None]
    return (weight * window(r * r, half)).sum(1) / weight.sum(1)


def sersic(grid: Grid, re: Tensor, n: Tensor, q: Tensor, pa: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Sersic profiles of unit total flux.

    Parameters
    ----------
    grid : Grid
    re : Tensor
        (n,) half-light radius along the major axis, arcsec.
    n, q, pa : Tensor
        (n,) index, axis ratio, position angle [rad].
    dx, dy : Tensor
        (n,) centre, arcsec east and north.

    Returns
    -------
    Tensor
        (n, P, P) flux per pixel; the light lost to softening sits in a central blob.
    """
    a, b = axes(grid, pa, q, dx, dy)
    raw = a.square_().add_(b.square_())
    weight = window(raw, grid.half)
    bn = sersic_b(n)
    soft2 = (SOFT * grid.pixscale) ** 2
    x = raw.add_(soft2).log_().sub_(2.0 * torch.log(re)[:, None, None]).mul_((0.5 / n)[:, None, None]).exp_()
    log_total = torch.log(2.0 * math.pi * n * q * re * re) + torch.lgamma(2.0 * n) - 2.0 * n * torch.log(bn)
    norm = 2.0 * math.log(grid.pixscale) - log_total
    image = x.mul_(-bn[:, None, None]).add_(norm[:, None, None]).exp_()
    lost = windowed_fraction(re, n, grid.half) - (weight * image).sum((1, 2))
    width = torch.full_like(re, SOFT * grid.pixscale)
    return image.add_(blobs(grid, dx[:, None], dy[:, None], width[:, None], lost[:, None]))


def _profile(edges: Tensor, centre: Tensor, sigma: Tensor) -> Tensor:
    """Pixel-integrated normal densities, (n, K, P)."""
    z = (edges[None, None, :] - centre[:, :, None]) * (math.sqrt(0.5) / sigma)[:, :, None]
    cdf = torch.erf(z)
    return 0.5 * (cdf[:, :, 1:] - cdf[:, :, :-1])


def blobs(grid: Grid, dx: Tensor, dy: Tensor, sigma: Tensor, flux: Tensor) -> Tensor:
    """Sum of round Gaussians, integrated over pixels: one small matrix product per object.

    Parameters
    ----------
    grid : Grid
    dx, dy, sigma : Tensor
        (n, K) centres (arcsec east, north) and widths (arcsec).
    flux : Tensor
        (n, K) or (n, B, K).

    Returns
    -------
    Tensor
        (n, P, P) or (n, B, P, P).
    """
    edges = (torch.arange(grid.side + 1, device=grid.device) - 0.5 * grid.side) * grid.pixscale
    gy = _profile(edges, dy, sigma)
    gx = _profile(edges, -dx, sigma)
    if flux.ndim == 2:
        return torch.bmm((gy * flux[:, :, None]).transpose(1, 2), gx)
    n, bands, _ = flux.shape
    left = (gy.transpose(1, 2)[:, None] * flux[:, :, None, :]).reshape(n, bands * grid.side, -1)
    return torch.bmm(left, gx).view(n, bands, grid.side, grid.side)


def points(grid: Grid, dx: Tensor, dy: Tensor, flux: Tensor) -> Tensor:
    """Fourier transform of point sources on the half plane of `torch.fft.rfft2`.

    Parameters
    ----------
    grid : Grid
    dx, dy : Tensor
        (n, K) arcsec east and north of the canvas centre.
    flux : Tensor
        (n, B, K).

    Returns
    -------
    Tensor
        (n, B, P, P // 2 + 1) complex.
    """
    n, bands, _ = flux.shape
    centre = 0.5 * (grid.side - 1)
    ky = torch.fft.fftfreq(grid.side, device=grid.device)
    kx = torch.fft.rfftfreq(grid.side, device=grid.device)
    ay = -2.0 * math.pi * (dy / grid.pixscale + centre)[:, :, None] * ky
    ax = -2.0 * math.pi * (-dx / grid.pixscale + centre)[:, :, None] * kx
    one = torch.ones((), device=grid.device)
    left = torch.polar(one.expand_as(ay), ay).transpose(1, 2)[:, None] * flux[:, :, None, :]
    product = torch.bmm(left.reshape(n, bands * grid.side, -1), torch.polar(one.expand_as(ax), ax))
    return product.view(n, bands, grid.side, grid.side // 2 + 1)
