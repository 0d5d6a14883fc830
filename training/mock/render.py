"""Noiseless images of galaxies from physical parameters, in batches.

Each galaxy is the sum of three stellar populations (old, intermediate, young), each with its own map: the bulge and the
bar are old, arms and knots are young, so colour and shape are tied pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from galcli.training.mock import details as detail
from galcli.training.mock import disc as discs
from galcli.training.mock.details import Details
from galcli.training.mock.psf import Psf, round_psf, transfer
from galcli.training.mock.shapes import Grid, blobs, points, sersic
from galcli.training.mock.sky import Field

MARGIN = 8
"""Pixels of sky rendered around the stamp, so that light scatters in and the convolution does not wrap."""

CHUNK = 1 << 17
"""Pixels painted at once; maps of this size stay in the caches of a CPU."""

EXTINCTION = {"u": 1.55, "g": 1.2, "r": 0.86, "i": 0.66, "z": 0.48, "y": 0.42}
"""A(band) / A(V), Cardelli, Clayton & Mathis (1989, ApJ 345, 245) with R_V = 3.1."""


def render(
    pop: Mapping[str, Tensor],
    fluxes: Tensor,
    bands: str,
    pixscale: float,
    size: int,
    generator: torch.Generator,
    psf: Psf | Tensor | None = None,
    field: Field | None = None,
    offset: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Render galaxies without noise.

    Parameters
    ----------
    pop : mapping of Tensor
        Population, (n,) per key, on the generator's device.
    fluxes : Tensor
        (n, 3, B) nanomaggies of the old, intermediate and young component.
    bands : str
        Names of the B bands, out of ugrizy (dust lanes redden).
    pixscale : float
        Arcsec per pixel.
    size : int
        Side of the stamp, pixels. North is up (row 0 = south), east is at small columns.
    generator : torch.Generator
        Draws textures, knots, tails and shells, for the whole batch at once.
    psf : Psf or Tensor, optional
        PSFs, or (n, B) FWHM in arcsec of a circular Moffat profile. Without it the image is that above the
        atmosphere, integrated over pixels.
    field : Field, optional
        Stars and neighbours to add.
    offset : Tensor, optional
        (n, 2) arcsec east and north of the galaxy from the stamp's centre ((W-1)/2, (H-1)/2).
    device : optional
        Where to render; the generator's device unless given.

    Returns
    -------
    Tensor
        (n, B, size, size) float32 nanomaggies per pixel. Summed over a stamp that holds the galaxy it gives
        ``fluxes.sum(1)``, times ``1 + companion_flux`` for mergers, to 1e-3.
    """
    random = detail.draw(pop, generator)
    where = torch.device(device) if device is not None else generator.device
    n = len(fluxes)
    side = fast_side(size + 2 * MARGIN) if psf is not None else size
    grid = Grid(side, pixscale, where)
    blur = round_psf(psf) if isinstance(psf, Tensor) else psf
    if offset is None:
        offset = torch.zeros(n, 2, device=fluxes.device)
    inside = slice((side - size) // 2, (side - size) // 2 + size)
    out = torch.empty(n, len(bands), size, size, device=where)
    step = max(1, CHUNK // (side * side))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        part = {key: value[rows].to(where) for key, value in pop.items()}
        image = _galaxies(
            grid, part, fluxes[rows].to(where), bands, random.rows(rows).to(where), offset[rows].to(where)
        )
        some = field.rows(rows).to(where) if field is not None else None
        image = _atmosphere(grid, image, blur.rows(rows).to(where) if blur is not None else None, some)
        out[rows] = image[..., inside, inside]
    return out


def fast_side(side: int) -> int:
    """Return the smallest length >= side, of the same parity, whose prime factors are 2, 3, 5 and 7."""
    while True:
        rest = side
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return side
        side += 2


def _galaxies(
    grid: Grid, pop: Mapping[str, Tensor], fluxes: Tensor, bands: str, random: Details, offset: Tensor
) -> Tensor:
    """Images (n, B, P, P) of galaxies and their companions above the atmosphere."""
    dx, dy = offset[:, 0], offset[:, 1]
    disc = discs.paint(grid, pop, random, dx, dy)
    maps = disc.maps
    rows = torch.nonzero(random.tail_flux.sum(1) > 0.0)[:, 0]
    if len(rows) > 0:
        flux = random.tail_flux[rows]
        x, y = dx[rows, None] + random.tail_x[rows], dy[rows, None] + random.tail_y[rows]
        extra = blobs(grid, x, y, random.tail_size[rows], flux)
        maps[rows] = maps[rows] * (1.0 - flux.sum(1))[:, None, None, None] + extra[:, None]
    share = pop["bulge_old"][:, None, None]
    bulge = sersic(grid, pop["re_bulge"], pop["n_bulge"], pop["q_bulge"], pop["pa"], dx, dy)
    maps[:, 0].mul_(1.0 - share).add_(bulge.mul_(share))
    image = torch.bmm(fluxes.transpose(1, 2), maps.flatten(2)).view(-1, len(bands), grid.side, grid.side)
    _redden(image, disc.tau, bands)
    return _add_companions(grid, image, pop, fluxes, offset)


def _redden(image: Tensor, tau: Tensor, bands: str) -> None:
    """Apply dust lanes in place, conserving each band's flux on the canvas: the given fluxes are already attenuated."""
    before = image.sum((2, 3))
    for number, band in enumerate(bands):
        # 1 / (1 + tau) is exp(-tau) for thin dust, saturates as dust mixed with stars does, and costs no exponential
        image[:, number].div_(torch.mul(tau, EXTINCTION[band]).add_(1.0))
    after = image.sum((2, 3))
    image.mul_((before / after.clamp(min=1e-20))[:, :, None, None])


def _add_companions(grid: Grid, image: Tensor, pop: Mapping[str, Tensor], fluxes: Tensor, offset: Tensor) -> Tensor:
    """Add the companions of mergers: the colours of the galaxy, a centrally concentrated profile."""
    rows = torch.nonzero(pop["merger"])[:, 0]
    if len(rows) == 0:
        return image
    x, y = offset[rows, 0] + pop["companion_dx"][rows], offset[rows, 1] + pop["companion_dy"][rows]
    index = torch.full_like(x, 1.8)
    light = sersic(grid, pop["companion_r50"][rows], index, pop["companion_q"][rows], pop["companion_pa"][rows], x, y)
    flux = fluxes[rows].sum(1) * pop["companion_flux"][rows, None]
    image[rows] += flux[:, :, None, None] * light[:, None]
    return image


def _atmosphere(grid: Grid, image: Tensor, psf: Psf | None, field: Field | None) -> Tensor:
    """Add the field and convolve with the PSFs; without them stars fill single Gaussians of half a pixel."""
    if field is not None:
        image = image + blobs(grid, field.x, field.y, field.size, field.flux)
    if psf is None:
        if field is not None:
            width = torch.full_like(field.star_x, 0.5 * grid.pixscale)
            image = image + blobs(grid, field.star_x, field.star_y, width, field.star_flux)
        return image
    spectrum = torch.fft.rfft2(image)
    if field is not None:
        spectrum += points(grid, field.star_x, field.star_y, field.star_flux)
    spectrum *= transfer(psf, grid.side, grid.pixscale)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=(grid.side, grid.side))
    return blurred
