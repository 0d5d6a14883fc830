"""From pixels on the model's grid to the network's input, in torch, so that it is exported with the network.

One model serves linear flux in g r i (SDSS), linear flux in g r z (Legacy Surveys) and display images (JPEG): each
way in is a *front*, chosen per row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Softening of the viewer mapping.
Q = 20.0


@dataclass(frozen=True)
class Viewer:
    """Constants of one layer of the Legacy Surveys viewer (models.md 0.4).

    Attributes
    ----------
    bands : tuple of str
        Bands blue to red.
    scales : tuple of float
        Factor per band.
    m : float
        Pedestal added to every scaled band.
    flux_scale : float
        Factor on flux-conserved nanomaggies per (0.262 arcsec) pixel before the mapping.
    """

    bands: tuple[str, str, str]
    scales: tuple[float, float, float]
    m: float
    flux_scale: float = 1.0

    @property
    def sky(self) -> float:
        """Display value of blank sky."""
        return math.asinh(Q * self.m) / math.sqrt(Q)


#: Mapping of each flux front. The viewer's SDSS layer interpolates *values* from 0.396 to 0.262 arcsec, so
#: flux-conserved pixels are multiplied by the ratio of pixel areas (models.md 8f).
VIEWERS = {
    "flux:gri": Viewer(("g", "r", "i"), (2.5, 1.5, 1.0), 0.02, (0.396 / 0.262) ** 2),
    "flux:grz": Viewer(("g", "r", "z"), (6.0, 3.4, 2.2), 0.03),
}
DISPLAY = "display"
#: Fronts of the shipped models, in the order of the graph's ``front`` input.
FRONTS = ("flux:gri", "flux:grz", DISPLAY)
#: Pixel scale [arcsec] for which the viewer's constants are meant.
VIEWER_PIXEL_SCALE = 0.262


def viewer_rgb(flux: Tensor, scales: Sequence[float], m: float, q: float = Q) -> Tensor:
    """Colour mapping of the Legacy Surveys viewer (models.md 0.4).

    Parameters
    ----------
    flux : Tensor (..., 3, H, W)
        Nanomaggies per pixel, blue to red.
    scales : sequence of 3 floats
        Factor per band.
    m : float
        Pedestal.
    q : float, default 20
        Softening.

    Returns
    -------
    Tensor (..., 3, H, W)
        0 to 1, in the order of the bands (blue to red).
    """
    u = flux * flux.new_tensor(list(scales)).view(3, 1, 1) + m
    intensity = u.clamp(min=0).mean(-3, keepdim=True)
    intensity = torch.where(intensity == 0, torch.full_like(intensity, 1e-6), intensity)
    return (u * (torch.asinh(q * intensity) / (math.sqrt(q) * intensity))).clamp(0, 1)


class Pixels(nn.Module):
    """Network input from pixels, through the front of each row.

    Parameters
    ----------
    fronts : sequence of str
        Names in the order of the ``front`` input: keys of ``VIEWERS`` and ``display``.
    mean, std : sequence of 3 floats
        Mean and standard deviation per channel of the mapped training images, blue to red.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, fronts: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        unknown = set(fronts) - set(VIEWERS) - {DISPLAY}
        if unknown or not fronts:
            raise ValueError(f"unknown fronts {sorted(unknown)}; known: {sorted(VIEWERS)} and {DISPLAY}")
        self.fronts = tuple(fronts)
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(3, 1, 1))

    def rgb(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Display image of every row, before normalisation.

        Parameters
        ----------
        pixels : Tensor (N, 3, H, W), float32
            Nanomaggies per 0.262 arcsec pixel, or 0 to 1 for the display front; NaN already replaced by 0.
        valid : Tensor (N, 1, H, W), float32
            1 where there is data, 0 where not; between, the fraction of the pixel that is covered.
        front : Tensor (N,), int64
            Position in ``fronts``.

        Returns
        -------
        Tensor (N, 3, H, W)
            0 to 1, blue to red; blank sky where there is no data.
        """
        good = valid > 0.5
        flux = torch.where(good, pixels, torch.zeros_like(pixels))
        front = front.view(-1, 1, 1, 1)
        # A display image does not say which mapping made it: its blank sky is that of the published SDSS images.
        image = torch.where(good, pixels, torch.full_like(pixels, VIEWERS["flux:gri"].sky))
        for number, name in enumerate(self.fronts):
            if name != DISPLAY:
                viewer = VIEWERS[name]
                mapped = viewer_rgb(flux * viewer.flux_scale, viewer.scales, viewer.m)
                image = torch.where(front == number, mapped, image)
        return image

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Normalised network input (N, 3, H, W); the arguments are those of ``rgb``."""
        return (self.rgb(pixels, valid, front) - self.mean) / self.std
