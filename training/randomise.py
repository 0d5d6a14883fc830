"""Domain randomisation: training galaxies as other telescopes, nights and neighbourhoods would show them.

A network that learns from one (simulated) survey meets real ones only if what differs between surveys varied while it
learned (Tobin et al. 2017, arXiv:1703.06907): seeing, depth, scale, colour, background, neighbours. What display
images go through besides (mapping, field of view, JPEG) is `galcli.training.mock.display`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from galcli.training.augment import MIXED
from galcli.training.pixels import DISPLAY, FRONTS

#: Pixels on either side of a blurred one that add to it.
_REACH = 4
#: The noise is measured on every so many rows, between pixels so far apart.
_STEP, _LAG = 4, 3
#: From a standard deviation to the median absolute deviation it is measured by.
_MAD = 1.4826


@dataclass(frozen=True)
class Variety:
    """By how much training galaxies vary beyond what their survey shows.

    Attributes
    ----------
    turn : float
        Largest angle [degrees] to either side; 45 gives, with the symmetries of the square, every angle.
    zoom : float
        Largest factor by which a galaxy grows or shrinks; its flux is conserved.
    blur : float
        Largest width [arcsec] (standard deviation) of additional Gaussian seeing.
    noise : float
        Largest additional noise, in units of the image's own; no image becomes deeper than it was.
    gain, colour : float
        Scatter (standard deviation, natural logarithm) of the flux, common to all bands and band by band.
    background : float
        Scatter of the sky level and of its slope across the image, in units of the noise.
    neighbours : float
        Probability that another galaxy of the batch shines beside this one.
    contrast : float
        Largest relative change of brightness and contrast of display images.
    """

    turn: float = 45.0
    zoom: float = 1.2
    blur: float = 0.45
    noise: float = 1.0
    gain: float = 0.25
    colour: float = 0.1
    background: float = 0.3
    neighbours: float = 0.15
    contrast: float = 0.1

    def on_sky(
        self, pixels: Tensor, valid: Tensor, front: Tensor, pixel_scale: float, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Vary images before they are mapped to colours.

        Parameters
        ----------
        pixels : Tensor (N, B, S, S), float32
            0 where there is no data.
        valid : Tensor (N, 1, S, S), float32
        front : Tensor (N,), int64
            Position in ``pixels.FRONTS``; rows that are display images already are turned and zoomed alone.
        pixel_scale : float
            Arcsec per pixel.
        random : torch.Generator

        Returns
        -------
        pixels, valid : Tensor
            As before.
        """
        count, bands = pixels.shape[:2]
        shown = front == FRONTS.index(DISPLAY)
        flux = (~shown).float().view(-1, 1, 1, 1)
        sky = sky_noise(pixels)
        pixels = pixels + flux * self._beside(pixels, front, random)
        pixels, valid = self._turned(pixels, valid, shown, random)
        common, each = torch.randn(count, 1, generator=random), torch.randn(count, bands, generator=random)
        factor = torch.exp(self.gain * common + self.colour * each)[..., None, None]
        pixels = pixels * torch.where(shown.view(-1, 1, 1, 1), 1.0, factor)
        width = self.blur * torch.rand(count, generator=random).sqrt() / pixel_scale
        pixels = blurred(pixels, torch.where(shown, 0.0, width))
        # Interpolation and blur took noise away, which worse seeing does not: it is brought back before more is added.
        more = (self.noise * torch.rand(count, 1, generator=random)).square()
        missing = (sky.square() * (1 + more) - sky_noise(pixels).square()).clamp(min=0).sqrt()[..., None, None]
        added = missing * torch.randn(pixels.shape, generator=random)
        level = self.background * sky[..., None] * torch.randn(count, bands, 3, generator=random)
        across = torch.linspace(-1, 1, pixels.shape[-1])
        slopes = level[..., 1, None, None] * across + level[..., 2, None, None] * across[:, None]
        return (pixels + flux * (added + level[..., 0, None, None] + slopes)) * valid, valid

    def on_screen(self, pixels: Tensor, front: Tensor, random: torch.Generator) -> Tensor:
        """Change brightness and contrast of display images (N, B, S, S); fluxes stay as they are."""
        change = 1 + self.contrast * (2 * torch.rand(2, len(pixels), 1, 1, 1, generator=random) - 1)
        mean = pixels.mean((1, 2, 3), keepdim=True)
        varied = ((pixels - mean) * change[0] + mean * change[1]).clamp(0, 1)
        return torch.where((front == FRONTS.index(DISPLAY)).view(-1, 1, 1, 1), varied, pixels)

    def _turned(
        self, pixels: Tensor, valid: Tensor, shown: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Turn and zoom about the centre; what comes in from outside is reflected, so that no corner is empty."""
        count = len(pixels)
        angle = torch.deg2rad(self.turn * (2 * torch.rand(count, generator=random) - 1))
        zoom = torch.exp(math.log(self.zoom) * (2 * torch.rand(count, generator=random) - 1))
        cos, sin, none = angle.cos() / zoom, angle.sin() / zoom, torch.zeros(count)
        matrix = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
        grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
        both = torch.cat([pixels, valid], 1)
        seen = functional.grid_sample(both, grid, "bilinear", "reflection", align_corners=False)
        conserved = torch.where(shown, 1.0, zoom.square().reciprocal())
        return seen[:, :-1] * conserved.view(-1, 1, 1, 1), (seen[:, -1:] > 1 - MIXED).float()

    def _beside(self, pixels: Tensor, front: Tensor, random: torch.Generator) -> Tensor:
        """For a part of the flux images: the middle of another one, seen through the same front, in the outskirts."""
        count, size = len(pixels), pixels.shape[-1]
        distance = 0.5 * size * (0.45 + 0.5 * torch.rand(count, generator=random))
        angle = 2 * torch.pi * torch.rand(count, generator=random)
        chosen = torch.rand(count, generator=random) < self.neighbours
        beside, window = torch.zeros_like(pixels), _window(size)
        for number in range(len(FRONTS)):
            rows = torch.nonzero(front == number)[:, 0]
            others = rows[torch.randperm(len(rows), generator=random)]
            if number == FRONTS.index(DISPLAY):
                continue
            for row, other in zip(rows.tolist(), others.tolist(), strict=True):
                if chosen[row] and row != other:
                    dx, dy = (round(float(distance[row] * part)) for part in (angle[row].cos(), angle[row].sin()))
                    to, of = zip(*(_overlap(shift, size) for shift in (dy, dx)), strict=True)
                    beside[row][:, to[0], to[1]] = (pixels[other] * window)[:, of[0], of[1]]
        return beside


def _window(size: int) -> Tensor:
    """1 in the middle of an image, 0 from half-way to its border on: the noise beside a galaxy has no edge."""
    axis = (torch.arange(size) - (size - 1) / 2) / (size / 2)
    radius = torch.hypot(axis, axis[:, None])
    return torch.cos(0.5 * torch.pi * ((radius - 0.25) / 0.25).clamp(0, 1)).square()


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where a moved image lands along an axis, and what part of it."""
    if shift >= 0:
        return slice(shift, size), slice(0, size - shift)
    return slice(0, size + shift), slice(-shift, size)


def blurred(pixels: Tensor, width: Tensor) -> Tensor:
    """Images (N, B, S, S) seen through Gaussians of widths (N,) px (standard deviation); 0 leaves them as they are."""
    count, bands, size = pixels.shape[:3]
    offset = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offset / width.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(bands, 0)[:, None]
    flat = functional.pad(pixels.reshape(1, count * bands, size, size), [_REACH] * 4, mode="replicate")
    flat = functional.conv2d(flat, kernel[:, :, None, :], groups=count * bands)
    return functional.conv2d(flat, kernel[..., None], groups=count * bands).reshape(pixels.shape)


def sky_noise(pixels: Tensor) -> Tensor:
    """Robust standard deviation (N, B) of the noise in images (N, B, S, S).

    Measured on differences of pixels that are too far apart for correlated noise and too near for galaxies to matter.
    """
    rows = pixels[..., ::_STEP, :]
    flat = (rows[..., _LAG:] - rows[..., :-_LAG]).flatten(2)
    return _MAD * flat.abs().median(2).values / math.sqrt(2)
