"""From fluxes on the model's grid to the network's input, exported with the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FluxPixels(nn.Module):
    """Fluxes, compressed or as they are, of zero mean and unit variance per band; 0 where there is no data.

    Parameters
    ----------
    mean, std : sequence of B floats
        Of the (compressed) training pixels.
    softening : sequence of B floats, optional
        Nanomaggies per pixel at which asinh(flux / softening) turns from linear to logarithmic; without it fluxes stay
        linear, as published.
    """

    shift: Tensor
    factor: Tensor
    softening: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], softening: Sequence[float] | None = None) -> None:
        super().__init__()
        center, width = _bands(mean), _bands(std)
        self.register_buffer("shift", -center / width)
        self.register_buffer("factor", 1 / width)
        self.compressed = softening is not None
        self.register_buffer("softening", _bands(softening or [1.0] * len(mean)))

    def compress(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """What is normalised: pixels (N, B, H, W) with 0 where ``valid`` (N, 1, H, W) is not 1."""
        filled = torch.where(valid > 0.5, pixels, torch.zeros_like(pixels))
        return torch.asinh(filled / self.softening) if self.compressed else filled

    def forward(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Network input (N, B, H, W) from nanomaggies per pixel; the arguments are those of ``compress``."""
        return torch.addcmul(self.shift, self.compress(pixels, valid), self.factor)


def _bands(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1)
