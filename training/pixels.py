"""From pixels on the model's grid to the network's input, in torch, so that it is exported with the network.

One model serves linear flux in g r i (SDSS), linear flux in g r z (Legacy Surveys) and display images (JPEG): each
way in is a *front*, chosen per row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galcli.training.viewer import VIEWER_PIXEL_SCALE, VIEWERS, Q, Viewer

__all__ = ["DISPLAY", "FRONTS", "VIEWERS", "VIEWER_PIXEL_SCALE", "Pixels", "viewer_rgb"]

DISPLAY = "display"
#: Fronts of the shipped models, in the order of the graph's ``front`` input.
FRONTS = ("flux:gri", "flux:grz", DISPLAY)


def viewer_rgb(flux: Tensor, scales: Tensor | Sequence[float], m: Tensor | float, q: float = Q) -> Tensor:
    """Colour mapping of the Legacy Surveys viewer (models.md 0.4).

    Parameters
    ----------
    flux : Tensor (..., 3, H, W)
        Nanomaggies per pixel, blue to red.
    scales : sequence of 3 floats, or Tensor that broadcasts to ``flux``
        Factor per band.
    m : float, or Tensor that broadcasts to ``flux``
        Pedestal.
    q : float, default 20
        Softening.

    Returns
    -------
    Tensor (..., 3, H, W)
        0 to 1, in the order of the bands (blue to red).
    """
    if not isinstance(scales, Tensor):
        scales = flux.new_tensor(list(scales)).view(3, 1, 1)
    if not isinstance(m, Tensor):
        m = flux.new_tensor(m)
    u = torch.addcmul(m, flux, scales)
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
    pixel_scale : float
        Arcsec per pixel of the model's grid.
    """

    mean: Tensor
    std: Tensor
    _scales: Tensor
    _m: Tensor
    _shown: Tensor

    def __init__(
        self, fronts: Sequence[str], mean: Sequence[float], std: Sequence[float],
        pixel_scale: float = VIEWER_PIXEL_SCALE,
    ) -> None:  # fmt: skip
        super().__init__()
        unknown = set(fronts) - set(VIEWERS) - {DISPLAY}
        if unknown or not fronts:
            raise ValueError(f"unknown fronts {sorted(unknown)}; known: {sorted(VIEWERS)} and {DISPLAY}")
        self.fronts = tuple(fronts)
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(3, 1, 1))
        # One mapping serves all rows of a batch: each row gathers the constants of its front.
        idle = Viewer(("g", "r", "i"), (0.0, 0.0, 0.0), 1.0)
        viewers = [VIEWERS.get(name, idle) for name in fronts]
        scales = torch.tensor([[scale * v.brightness(pixel_scale) for scale in v.scales] for v in viewers])
        self.register_buffer("_scales", scales.view(-1, 3, 1, 1), persistent=False)
        self.register_buffer("_m", torch.tensor([v.m for v in viewers]).view(-1, 1, 1, 1), persistent=False)
        shown = torch.tensor([name == DISPLAY for name in fronts])
        self.register_buffer("_shown", shown.view(-1, 1, 1, 1), persistent=False)

    def rgb(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Display image of every row, before normalisation.

        Parameters
        ----------
        pixels : Tensor (N, 3, H, W), float32
            Nanomaggies per pixel of the grid, or 0 to 1 for the display front; 0 where there is no data.
        valid : Tensor (N, 1, H, W), float32
            1 where there is data, 0 where not.
        front : Tensor (N,), int64
            Position in ``fronts``.

        Returns
        -------
        Tensor (N, 3, H, W)
            0 to 1, blue to red; blank sky where there is no data.
        """
        mapped = viewer_rgb(pixels, self._scales[front], self._m[front])  # zero flux is blank sky
        # A display image does not say which mapping made it: its blank sky is that of the published SDSS images.
        filled = torch.where(valid > 0.5, pixels, VIEWERS["flux:gri"].sky)
        return torch.where(self._shown[front], filled, mapped)

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Tensor:
        """Normalised network input (N, 3, H, W); the arguments are those of ``rgb``."""
        return torch.addcmul(-self.mean / self.std, self.rgb(pixels, valid, front), 1 / self.std)
