"""The sky around a target: foreground stars, neighbouring galaxies, background gradients, masks and artefacts.

Counts follow the sky at high Galactic latitude, so that a wider or deeper stamp holds more neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

STARS_PER_ARCMIN2 = 1.3
"""Mean number of stars with 14 < r < 22.5; differs from field to field by a factor of about two."""

GALAXIES_PER_ARCMIN2 = 20.0
"""Galaxies brighter than r = 24, counts rising as 10^(0.36 r) (Yasuda et al. 2001, AJ 122, 1104, and deeper work)."""

STAR_RANGE, STAR_SLOPE = (14.0, 22.5), 0.16
GALAXY_BRIGHT, GALAXY_SLOPE = 17.0, 0.36

# An exponential disc as two Gaussians (widths in half-light radii, shares), each a row of five along the major axis.
_WIDTHS, _SHARES = (0.42, 1.15), (0.42, 0.58)
_NODES, _WEIGHTS = (-2.857, -1.356, 0.0, 1.356, 2.857), (0.01126, 0.22208, 0.53333, 0.22208, 0.01126)


@dataclass(frozen=True)
class Field:
    """Everything in the sky but the target.

    Attributes
    ----------
    x, y, size : Tensor
        (n, K) Gaussians that make the neighbours: arcsec east and north of the stamp's centre, width in arcsec.
    flux : Tensor
        (n, B, K) nanomaggies.
    star_x, star_y : Tensor
        (n, S) arcsec.
    star_flux : Tensor
        (n, B, S) nanomaggies.
    """

    x: Tensor
    y: Tensor
    size: Tensor
    flux: Tensor
    star_x: Tensor
    star_y: Tensor
    star_flux: Tensor

    def rows(self, index: slice | Tensor) -> Field:
        """Return the field of some rows."""
        return Field(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device) -> Field:
        """Return the same field on a device."""
        return Field(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def draw_field(n: int, bands: str, side: float, depth: float, generator: torch.Generator) -> Field:
    """Draw stars and neighbours around n targets.

    Parameters
    ----------
    n : int
    bands : str
        Bands out of ugrizy.
    side : float
        Side of the stamp, arcsec.
    depth : float
        5 sigma point-source depth in r: neighbours 0.5 mag fainter than this are left out.
    generator : torch.Generator

    Returns
    -------
    Field
    """
    neighbours = _neighbours(n, bands, side, depth, generator)
    stars = _stars(n, bands, side, generator)
    return Field(*neighbours, *stars)


def _capacity(mean: float) -> int:
    """Slots that hold a Poisson number of this mean in all but rare cases."""
    return math.ceil(mean + 3.0 * math.sqrt(mean) + 1.0)


def _magnitudes(u: Tensor, bright: float, faint: float, slope: float) -> Tensor:
    """Magnitudes with counts rising as 10^(slope m)."""
    low = 10.0 ** (slope * (bright - faint))
    return faint + torch.log10(low + (1.0 - low) * u) / slope


def _flux(r: Tensor, colours: dict[str, Tensor], bands: str) -> Tensor:
    """Nanomaggies (n, B, K) from r magnitudes and the colours (band - r)."""
    return torch.stack([10.0 ** (0.4 * (22.5 - r - colours[band])) for band in bands], 1)


def _neighbours(n: int, bands: str, side: float, depth: float, generator: torch.Generator) -> list[Tensor]:
    device = generator.device
    faint = min(depth + 0.5, 24.5)
    area = (side / 60.0) ** 2
    mean = GALAXIES_PER_ARCMIN2 * 10.0 ** (GALAXY_SLOPE * (faint - 24.0)) * area
    slots = _capacity(mean)
    u = torch.rand(n, slots, 10, generator=generator, device=device)
    normal = torch.randn(n, slots, 2, generator=generator, device=device)
    r = _magnitudes(u[..., 0], GALAXY_BRIGHT, faint, GALAXY_SLOPE)
    number = torch.poisson(torch.full((n, 1), mean, device=device), generator=generator)
    used = torch.arange(slots, device=device)[None] < number
    red = u[..., 1] < 0.35
    gr = torch.where(red, 0.95 + 0.35 * u[..., 2], 0.25 + 0.7 * u[..., 2] * u[..., 3])
    ri = 0.12 + 0.32 * gr + 0.25 * red * u[..., 4]
    iz = 0.05 + 0.5 * ri
    colours = {"u": gr + 0.9 + 0.7 * gr, "g": gr, "r": 0.0 * gr, "i": -ri, "z": -ri - iz, "y": -ri - 1.3 * iz}
    flux = _flux(r, colours, bands) * used[:, None]
    re = (0.55 * 10.0 ** (0.12 * (22.5 - r) + 0.18 * normal[..., 0])).clamp(0.15, 4.0)
    q = 0.35 + 0.65 * u[..., 5]
    angle = math.pi * u[..., 6]
    x, y = (u[..., 7] - 0.5) * side * 1.04, (u[..., 8] - 0.5) * side * 1.04
    return _discs(x, y, re, q, angle, flux)


def _discs(x: Tensor, y: Tensor, re: Tensor, q: Tensor, angle: Tensor, flux: Tensor) -> list[Tensor]:
    """Elliptical discs as rows of round Gaussians: Gauss-Hermite nodes of the excess along the major axis."""
    node = torch.tensor(_NODES, device=x.device)
    weight = torch.tensor(_WEIGHTS, device=x.device)
    parts: list[list[Tensor]] = []
    for width, share in zip(_WIDTHS, _SHARES, strict=True):
        minor = (width * re * q)[..., None].expand(*x.shape, 5)
        along = (width * re * torch.sqrt(1.0 - q * q))[..., None] * node
        px = x[..., None] + along * torch.sin(angle)[..., None]
        py = y[..., None] + along * torch.cos(angle)[..., None]
        parts.append([px, py, minor, share * flux[..., None] * weight])
    return [torch.cat(column, -1).flatten(-2) for column in zip(*parts, strict=True)]


def _stars(n: int, bands: str, side: float, generator: torch.Generator) -> list[Tensor]:
    """Stars on a simple locus: blue turn-off and halo stars, red dwarfs that dominate when faint."""
    device = generator.device
    area = (side / 60.0) ** 2
    slots = _capacity(2.0 * STARS_PER_ARCMIN2 * area)
    u = torch.rand(n, slots, 6, generator=generator, device=device)
    rich = torch.exp(0.5 * torch.randn(n, 1, generator=generator, device=device))
    number = torch.poisson(STARS_PER_ARCMIN2 * area * rich, generator=generator)
    used = torch.arange(slots, device=device)[None] < number
    r = _magnitudes(u[..., 0], *STAR_RANGE, STAR_SLOPE)
    dwarf = u[..., 1] < (0.25 + 0.06 * (r - 16.0)).clamp(0.1, 0.65)
    gr = torch.where(dwarf, 1.35 + 0.15 * u[..., 2], 0.25 + 0.7 * u[..., 2] ** 1.5)
    ri = torch.where(dwarf, 0.6 + 0.8 * u[..., 3] ** 1.5, 0.05 + 0.38 * (gr - 0.2))
    iz = 0.55 * ri
    colours = {"u": gr + 0.8 + 1.1 * gr, "g": gr, "r": 0.0 * gr, "i": -ri, "z": -ri - iz, "y": -ri - 1.4 * iz}
    x, y = (u[..., 4] - 0.5) * side * 1.03, (u[..., 5] - 0.5) * side * 1.03
    return [x, y, _flux(r, colours, bands) * used[:, None]]


def background(sigma: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Residual sky: a small offset and slope everywhere, strong scattered light in 5 per cent of the stamps.

    Parameters
    ----------
    sigma : Tensor
        (n, B) noise per pixel.
    side : int
        Stamp side, pixels.
    generator : torch.Generator

    Returns
    -------
    Tensor
        (n, B, side, side), in the units of `sigma`.
    """
    n, bands = sigma.shape
    device = generator.device
    plane = 0.06 * torch.randn(n, bands, 3, generator=generator, device=device)
    common = torch.randn(n, 1, 3, generator=generator, device=device)
    u = torch.rand(n, 2, generator=generator, device=device)
    strong = (u[:, :1] < 0.05)[:, :, None] * (0.2 + 0.9 * u[:, 1:, None])
    # Scattered light and airglow are stronger in red bands.
    red = torch.linspace(0.3, 1.3, bands, device=device)[None, :, None]
    plane = (plane + strong * red * common * torch.tensor([0.6, 0.7, 0.7], device=device)).to(sigma.device)
    axis = torch.linspace(-1.0, 1.0, side, device=sigma.device)
    plane = plane * sigma[:, :, None]
    rows = plane[:, :, :1] + plane[:, :, 1:2] * axis
    return rows[:, :, :, None] + (plane[:, :, 2:3] * axis)[:, :, None, :]


def spoil(image: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mask 1 per cent of the stamps in part and put artefacts on 0.2 per cent, in place.

    Parameters
    ----------
    image : Tensor
        (n, B, H, W).
    sigma : Tensor
        (n, B) noise per pixel.
    generator : torch.Generator

    Returns
    -------
    masked, artefact : Tensor
        (n,) bool. Masked pixels are NaN; three in ten blank regions are 0 instead, as in coadds beyond their edge.
    """
    n, bands, height, width = image.shape
    device = generator.device
    u = torch.rand(n, 6, generator=generator, device=device).to(image.device)
    masked, artefact = u[:, 0] < 0.01, u[:, 1] < 0.002
    for row in torch.nonzero(masked)[:, 0].tolist():
        start = int(u[row, 2] * width)
        if u[row, 3] < 0.5:
            image[row, int(u[row, 4] * bands), :, start : start + 1 + int(4 * u[row, 5])] = torch.nan
        else:
            value = torch.nan if u[row, 4] < 0.7 else 0.0
            depth = int((0.05 + 0.4 * u[row, 5]) * width)
            image[row, :, :, :depth] = value
    for row in torch.nonzero(artefact)[:, 0].tolist():
        band = int(u[row, 4] * bands)
        if u[row, 3] < 0.6:
            image[row, band] += _trail(height, width, u[row], image.device) * sigma[row, band]
        else:
            column = int(u[row, 2] * width)
            image[row, band, :, column : column + 2] += 60.0 * sigma[row, band]
    return masked, artefact


def _trail(height: int, width: int, u: Tensor, device: torch.device) -> Tensor:
    """A satellite trail in units of sigma, (H, W)."""
    angle = math.pi * float(u[2])
    y = torch.arange(height, device=device)[:, None] - height * float(u[5])
    x = torch.arange(width, device=device)[None] - width * 0.5
    distance = x * math.cos(angle) + y * math.sin(angle)
    return (8.0 + 30.0 * u[4]) * torch.exp(-0.5 * (distance / 1.8) ** 2)
