"""The random detail of a galaxy that no catalogue lists: textures, knots, tidal tails and shells.

Everything is drawn for the whole batch at once, in a fixed order, so that painting it later is deterministic and
independent of how the batch is cut into chunks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

KNOTS = 40
TAIL = 48
RADII, ANGLES = 24, 64
INNER, OUTER = math.log(0.15), math.log(7.0)
"""The texture covers these log radii in units of the disc scale length."""

Blobs = tuple[Tensor, Tensor, Tensor, Tensor]
"""East, north, width (arcsec) and flux of Gaussians, (n, K) each."""


@dataclass(frozen=True)
class Details:
    """Random detail of n galaxies; offsets in arcsec (east, north) from the galaxy.

    Attributes
    ----------
    texture : Tensor
        (n, 1, RADII, ANGLES + 1) zero mean, unit variance, periodic along the last axis.
    knot_x, knot_y, knot_size, knot_flux : Tensor
        (n, KNOTS) HII knots; fluxes sum to one (or are all zero).
    tail_x, tail_y, tail_size, tail_flux : Tensor
        (n, TAIL) tidal tails of mergers or shells of disturbed galaxies; fluxes sum to the fraction of the disc's
        light that they hold.
    width : Tensor
        (n,) concentration of the arms in phase (1.2 broad, 3.5 narrow).
    clumpy : Tensor
        (n,) amplitude of the texture in young light.
    bar_width : Tensor
        (n,) width of the bar over its length.
    wave : Tensor
        (n, 4) phases of the warp of disturbed galaxies.
    """

    texture: Tensor
    knot_x: Tensor
    knot_y: Tensor
    knot_size: Tensor
    knot_flux: Tensor
    tail_x: Tensor
    tail_y: Tensor
    tail_size: Tensor
    tail_flux: Tensor
    width: Tensor
    clumpy: Tensor
    bar_width: Tensor
    wave: Tensor

    def rows(self, index: slice | Tensor) -> Details:
        """Return the detail of some rows."""
        return Details(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device) -> Details:
        """Return the same detail on a device."""
        return Details(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def apparent_ratio(cos_i: Tensor, thickness: Tensor) -> Tensor:
    """Apparent axis ratio of an oblate disc (Hubble 1926): q^2 = cos^2 i + q0^2 sin^2 i."""
    return torch.sqrt(cos_i**2 + thickness**2 * (1.0 - cos_i**2))


def on_sky(radius: Tensor, theta: Tensor, q: Tensor, pa: Tensor) -> tuple[Tensor, Tensor]:
    """Project disc-plane polar coordinates (n, K) to arcsec east and north."""
    a, b = radius * torch.cos(theta), radius * torch.sin(theta) * q[:, None]
    sin, cos = torch.sin(pa)[:, None], torch.cos(pa)[:, None]
    return a * sin + b * cos, a * cos - b * sin


def draw(pop: Mapping[str, Tensor], generator: torch.Generator) -> Details:
    """Draw the detail of a population.

    Parameters
    ----------
    pop : mapping of Tensor
        The population of the contract, (n,) each, on the generator's device.
    generator : torch.Generator

    Returns
    -------
    Details
    """
    n, device = len(pop["z"]), generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator, device=device)

    texture = _texture(n, generator)
    knots = _knots(pop, uniform(KNOTS, 5), generator)
    tails = _tails(pop, uniform(6))
    shells = _shells(pop, uniform(9))
    merger = pop["merger"][:, None]
    x, y, size, flux = (torch.where(merger, t, s) for t, s in zip(tails, shells, strict=True))
    young = (pop["f_young"] / 0.3).clamp(0.0, 1.0)
    clumpy = (0.15 + 0.65 * young) * (0.6 + 0.8 * uniform()) + 0.4 * pop["disturbance"]
    width, bar_width, wave = 1.2 + 2.3 * uniform(), 0.22 + 0.2 * uniform(), 2.0 * math.pi * uniform(4)
    return Details(texture, *knots, x, y, size, flux, width, clumpy.clamp(max=1.1), bar_width, wave)


def _texture(n: int, generator: torch.Generator) -> Tensor:
    """Two-scale smooth noise in (log radius, angle)."""

    def smooth(rows: int, cols: int) -> Tensor:
        x = torch.randn(n, 1, rows, cols, generator=generator, device=generator.device)
        x = 0.5 * x + 0.25 * (x.roll(1, 3) + x.roll(-1, 3))
        x = torch.nn.functional.pad(x, (2, 2, 0, 0), mode="circular")
        size = (RADII, ANGLES * (cols + 4) // cols)
        x = torch.nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
        edge = (size[1] - ANGLES) // 2
        return x[..., edge : edge + ANGLES]

    x = 0.8 * smooth(6, 16) + 0.6 * smooth(RADII, ANGLES)
    x = x - x.mean((2, 3), keepdim=True)
    x = x / x.std((2, 3), keepdim=True)
    return torch.cat([x, x[..., :1]], 3)


def _knots(pop: Mapping[str, Tensor], u: Tensor, generator: torch.Generator) -> Blobs:
    """HII knots strung along the arms, or anywhere in the disc where there are none."""
    h = pop["h_disc"][:, None]
    radius = (-torch.log(u[..., 0] * u[..., 1] + 1e-6)).clamp(max=5.0) * 0.8 * h
    arms = pop["n_arms"][:, None].to(radius.dtype)
    log_r = torch.log(radius / h)
    cot = (pop["handedness"] / torch.tan(pop["pitch"].clamp(min=0.05)))[:, None]
    spread = 0.22 * torch.randn(radius.shape, generator=generator, device=generator.device)
    number = torch.floor(u[..., 2] * arms.clamp(min=1.0))
    along = (2.0 * math.pi * number - pop["arm_phase"][:, None]) / arms.clamp(min=1.0) + cot * log_r + spread
    theta = torch.where(arms > 0, along, 2.0 * math.pi * u[..., 2])
    x, y = on_sky(radius, theta, apparent_ratio(pop["cos_i"], 0.5 * pop["thickness"]), pop["pa"])
    size = (0.06 + 0.18 * u[..., 3]) / pop["kpc_arcsec"][:, None]
    used = torch.arange(KNOTS, device=u.device)[None] < pop["n_knots"][:, None]
    flux = used * u[..., 4].clamp(min=0.01) ** -0.5  # a steep luminosity function
    flux = flux / flux.sum(1, keepdim=True).clamp(min=1e-9)
    return x, y, size, flux


def _tails(pop: Mapping[str, Tensor], u: Tensor) -> Blobs:
    """Two tidal arms of a merger: a bridge that bends to the companion and a counter-tail on the far side."""
    half = TAIL // 2
    t = (torch.arange(half, device=u.device) + 0.5)[None] / half
    r50 = pop["r50"][:, None]
    distance = torch.hypot(pop["companion_dx"], pop["companion_dy"])[:, None]
    angle = torch.atan2(pop["companion_dx"], pop["companion_dy"])[:, None]
    turn = torch.where(u[:, :1] < 0.5, -1.0, 1.0) * (0.5 + 1.2 * u[:, 1:2])
    near_r = 0.5 * r50 + t * (distance - 0.5 * r50).clamp(min=0.0)
    near_a = angle + turn * (1.0 - t)
    far_r = r50 * (0.9 + (1.5 + 2.5 * u[:, 2:3]) * t)
    far_a = angle + math.pi - turn * t * (0.8 + u[:, 3:4])
    radius, theta = torch.cat([near_r, far_r], 1), torch.cat([near_a, far_a], 1)
    size = r50 * (0.16 + 0.14 * u[:, 4:5] + 0.12 * torch.cat([t, t], 1))
    share = torch.cat([(1.0 - 0.4 * t), 1.3 * (1.0 - t) ** 0.7], 1)
    flux = 0.35 * (pop["merger"] * pop["tidal"])[:, None] * share / share.sum(1, keepdim=True)
    return radius * torch.sin(theta), radius * torch.cos(theta), size, flux


def _shells(pop: Mapping[str, Tensor], u: Tensor) -> Blobs:
    """A thin broken arc and a fading one-sided tail around a disturbed galaxy."""
    half = TAIL // 2
    t = (torch.arange(half, device=u.device) + 0.5)[None] / half
    r50 = pop["r50"][:, None]
    side = torch.where(u[:, 3:4] < 0.5, -1.0, 1.0)
    arc_r = r50 * (1.4 + 1.3 * u[:, :1]) * (1.0 + 0.3 * (u[:, 4:5] - 0.5) * (t - 0.5))
    arc_a = 2.0 * math.pi * u[:, 1:2] + (0.8 + 1.2 * u[:, 2:3]) * (t - 0.5)
    tail_r = r50 * (0.7 + (1.2 + 1.8 * u[:, 5:6]) * t)
    tail_a = 2.0 * math.pi * u[:, 6:7] + side * (0.6 + u[:, 7:8]) * t
    radius, theta = torch.cat([arc_r, tail_r], 1), torch.cat([arc_a, tail_a], 1)
    size = torch.cat([(0.10 + 0.05 * u[:, 8:9]) * arc_r / 1.5, r50 * (0.15 + 0.25 * t)], 1)
    share = torch.cat([0.6 * (t * (1.0 - t)) ** 0.7, (1.0 - t) ** 0.7], 1)
    strength = 0.18 * pop["disturbance"] * (pop["disturbance"] > 0.25)
    flux = strength[:, None] * share / share.sum(1, keepdim=True)
    return radius * torch.sin(theta), radius * torch.cos(theta), size, flux
