"""Discs: exponential light with spiral arms, bar, flocculence, lopsidedness, knots and dust.

Works in polar coordinates of the disc plane. Arms are logarithmic spirals; their fine structure is a random texture
wound up by the same spiral, so that it looks flocculent rather than clumpy at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from galcli.training.mock.details import INNER, OUTER, Details, apparent_ratio
from galcli.training.mock.shapes import Grid, axes, blobs, window

TRUNCATION = 4.5
"""Discs fade beyond this many scale lengths (van der Kruit 1979, A&AS 38, 15)."""

ARM_SHARE = (0.35, 0.8, 1.0)
"""How strongly old, intermediate and young light follow the arms."""

ARM_DUST, LANE_DUST = 0.5, 7.0
"""Optical depth in V of the lanes along arms and of an edge-on midplane, at unit strength."""


@dataclass(frozen=True)
class Disc:
    """Painted discs.

    Attributes
    ----------
    maps : Tensor
        (n, 3, P, P) old, intermediate and young disc light, each of unit total flux.
    tau : Tensor
        (n, P, P) optical depth in V of dust lanes.
    """

    maps: Tensor
    tau: Tensor


def windowed_disc(h: Tensor, half: float) -> Tensor:
    """Fraction of a truncated exponential's flux under `window`, (n,)."""
    u = 8.0 * (torch.arange(256, device=h.device) + 0.5)[None] / 256.0
    weight = u * torch.exp(-u) / (1.0 + (u / TRUNCATION) ** 12)
    radius = u * h[:, None]
    held: Tensor = (weight * window(radius * radius, half)).sum(1) / weight.sum(1)
    return held


def _swirl(pop: Mapping[str, Tensor], theta: Tensor, log_r: Tensor) -> Tensor:
    """Angle unwound by the spiral, constant along an arm, (n, P, P)."""
    cot = pop["handedness"] / torch.tan(pop["pitch"].clamp(min=0.08))
    wound = torch.where(pop["n_arms"] > 0, cot.clamp(-8.0, 8.0), 0.5 * cot.clamp(-2.0, 2.0))
    return theta.addcmul(wound[:, None, None], log_r, value=-1.0)


def _texture(random: Details, swirl: Tensor, log_r: Tensor) -> Tensor:
    """Look the random texture up in wound coordinates, (n, P, P)."""
    turn = swirl * (0.5 / math.pi)
    across = turn.sub_(torch.floor(turn)).mul_(2.0).sub_(1.0)
    along = ((log_r - INNER) * (2.0 / (OUTER - INNER))).sub_(1.0)
    where = torch.stack([across, along], -1)
    return torch.nn.functional.grid_sample(
        random.texture, where, mode="bilinear", padding_mode="border", align_corners=True
    )[:, 0]


def _warp(pop: Mapping[str, Tensor], random: Details, a: Tensor, b: Tensor) -> None:
    """Bend the coordinates of disturbed galaxies in place (a few galaxies of a batch)."""
    rows = torch.nonzero(pop["disturbance"] > 0.05)[:, 0]
    if len(rows) == 0:
        return
    h = pop["h_disc"][rows, None, None]
    strength = 0.35 * pop["disturbance"][rows, None, None] * h
    phase = random.wave[rows][:, :, None, None]
    x, y = a[rows], b[rows]
    bend = strength * (torch.sin(0.9 * y / h + phase[:, 0]) + 0.6 * torch.sin(1.9 * y / h + phase[:, 1]))
    a[rows] = x + bend
    b[rows] = y + strength * (torch.sin(0.8 * x / h + phase[:, 2]) + 0.6 * torch.sin(1.7 * x / h + phase[:, 3]))


def _bar(grid: Grid, pop: Mapping[str, Tensor], random: Details, a: Tensor, b: Tensor, rows: Tensor) -> Tensor:
    """Bars of some rows, exp(-(x/L)^4 - (y/w)^2) in the disc plane, unit sum, (m, P, P)."""
    angle = pop["bar_angle"][rows, None, None]
    length = pop["bar_length"][rows, None, None].clamp(min=grid.pixscale)
    x = (a[rows] * torch.cos(angle) + b[rows] * torch.sin(angle)) / length
    y = (b[rows] * torch.cos(angle) - a[rows] * torch.sin(angle)) / (length * random.bar_width[rows, None, None])
    light = torch.exp(-(x**4) - y**2)
    return light / light.sum((1, 2), keepdim=True)


def _lane(grid: Grid, pop: Mapping[str, Tensor], a: Tensor, b: Tensor, q: Tensor, rows: Tensor) -> Tensor:
    """Optical depth of edge-on dust lanes of some rows: a thin layer, offset to the near side, (m, P, P)."""
    h = pop["h_disc"][rows, None, None]
    height = b[rows] * q[rows, None, None]
    thick = (0.45 * pop["thickness"][rows, None, None] * h).clamp(min=0.3 * grid.pixscale)
    off = 0.35 * pop["cos_i"][rows, None, None] * h
    edge_on = ((0.38 - pop["cos_i"][rows, None, None]) / 0.25).clamp(0.0, 1.0)
    depth = LANE_DUST * edge_on * pop["dust_lane"][rows, None, None]
    return depth * torch.exp(-0.5 * ((height - off) / thick) ** 2 - 0.5 * (a[rows] / (2.0 * h)) ** 2)


def _arms(
    pop: Mapping[str, Tensor], random: Details, swirl: Tensor, texture: Tensor, u: Tensor
) -> tuple[Tensor, Tensor]:
    """Arm modulation (zero mean, >= -contrast) and optical depth of the dust along the arms, (n, P, P) each."""
    arms = pop["n_arms"].to(u.dtype)
    width = random.width[:, None, None]
    ragged = (0.55 * pop["n_arms"].clamp(max=3).to(u.dtype) / 3.0 + 0.1)[:, None, None]
    psi = (swirl * arms[:, None, None]).add_(pop["arm_phase"][:, None, None]).addcmul_(ragged, texture)
    # Arms begin outside the bar, or the bulge, and fade into strongly inclined, optically thick discs.
    start = (0.7 * pop["bar_length"] * (pop["bar"] > 0) / pop["h_disc"]).clamp(min=0.35)[:, None, None]
    u4 = (u / start) ** 4
    tilt = ((pop["cos_i"] - 0.12) / 0.25).clamp(0.0, 1.0) * (pop["n_arms"] > 0)
    fade = (u4 / (1.0 + u4)).mul_((pop["arm_contrast"] * tilt)[:, None, None])
    ridge = torch.exp(width * (torch.cos(psi) - 1.0))
    gain = (ridge / torch.special.i0e(width)).sub_(1.0).mul_(fade)
    strength = (pop["a_v"].clamp(max=1.5) * ARM_DUST)[:, None, None]
    tau = torch.exp(2.5 * (torch.cos(psi + 0.8 * pop["handedness"][:, None, None]) - 1.0))
    return gain, tau.mul_(fade).mul_(strength * torch.exp(-0.35 * u))


def paint(grid: Grid, pop: Mapping[str, Tensor], random: Details, dx: Tensor, dy: Tensor) -> Disc:
    """Paint the discs of a chunk.

    Parameters
    ----------
    grid : Grid
    pop : mapping of Tensor
        Population, (n,) per key.
    random : Details
    dx, dy : Tensor
        (n,) centre, arcsec east and north of the canvas centre.

    Returns
    -------
    Disc
    """
    h = pop["h_disc"]
    thin = (0.4 * grid.pixscale / h).clamp(max=0.8)
    q = torch.sqrt(apparent_ratio(pop["cos_i"], pop["thickness"]) ** 2 + thin**2).clamp(max=1.0)
    a, b = axes(grid, pop["pa"], q, dx, dy)
    _warp(pop, random, a, b)
    r2 = (a * a).addcmul_(b, b)
    weight = window(r2, grid.half)
    r2.add_((0.25 * grid.pixscale) ** 2)
    log_r = (0.5 * torch.log(r2)).sub_(torch.log(h)[:, None, None])
    u = torch.sqrt(r2).div_(h[:, None, None])
    swirl = _swirl(pop, torch.atan2(b, a), log_r)
    texture = _texture(random, swirl, log_r)
    gain, tau = _arms(pop, random, swirl, texture, u)
    light = torch.exp(-u) / (1.0 + (u / TRUNCATION) ** 12)
    side = (pop["lopsided"] * torch.cos(pop["lopsided_angle"]))[:, None, None] * a
    side.addcmul_((pop["lopsided"] * torch.sin(pop["lopsided_angle"]))[:, None, None], b)
    light.mul_(side.div_(h[:, None, None] * (u + 1.0)).add_(1.0))
    fluff = torch.exp(random.clumpy[:, None, None] * texture)
    maps = torch.empty(len(h), 3, grid.side, grid.side, device=h.device)
    for component, share in enumerate(ARM_SHARE):
        torch.mul(light, gain * share + 1.0, out=maps[:, component])
    maps[:, 2].mul_(fluff)
    maps[:, 1].mul_(fluff.sqrt_())
    held = windowed_disc(h, grid.half)
    sums = torch.einsum("ncyx,nyx->nc", maps, weight)
    maps.mul_((held[:, None] / sums.clamp(min=1e-20))[:, :, None, None])
    _add_bar_and_knots(grid, pop, random, maps, a, b, dx, dy)
    rows = torch.nonzero((pop["dust_lane"] > 0.02) & (pop["cos_i"] < 0.38))[:, 0]
    if len(rows) > 0:
        tau[rows] += _lane(grid, pop, a, b, q, rows)
    return Disc(maps, tau)


def _add_bar_and_knots(
    grid: Grid, pop: Mapping[str, Tensor], random: Details, maps: Tensor, a: Tensor, b: Tensor, dx: Tensor, dy: Tensor
) -> None:
    """Move part of the old light into the bar and part of the young light into knots, in place."""
    rows = torch.nonzero(pop["bar"] > 0.0)[:, 0]
    if len(rows) > 0:
        share = pop["bar"][rows, None, None]
        maps[rows, 0] = maps[rows, 0] * (1.0 - share) + share * _bar(grid, pop, random, a, b, rows)
    rows = torch.nonzero((pop["n_knots"] > 0) & (pop["knot_fraction"] > 0.0))[:, 0]
    if len(rows) > 0:
        share = pop["knot_fraction"][rows, None, None]
        x, y = dx[rows, None] + random.knot_x[rows], dy[rows, None] + random.knot_y[rows]
        knots = blobs(grid, x, y, random.knot_size[rows].clamp(min=0.2 * grid.pixscale), random.knot_flux[rows])
        maps[rows, 2] = maps[rows, 2] * (1.0 - share) + share * knots
