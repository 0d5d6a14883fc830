"""Networks for the stellar mass from photometry, and the estimator of its posterior (models.md 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Slope of leaky ReLUs below 0, that of the published framework.
SLOPE = 0.2
#: Width and number of hidden layers of encoder and decoder of photometry.
WIDTH, ENCODER_LAYERS, DECODER_LAYERS = 128, 20, 19
#: Biases begin here.
BIAS = 0.1
#: Posterior: bins of equal width from `LOWEST` on, log10 of solar masses.
BINS, LOWEST, STEP = 520, 6.0, 0.0125


def initialise(module: nn.Module) -> nn.Module:
    """Glorot-uniform weights and biases of `BIAS`, in place."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight)
            assert part.bias is not None
            nn.init.constant_(part.bias, BIAS)
    return module


def _hidden(inputs: int, layers: int) -> nn.Sequential:
    """Layers of `WIDTH` with leaky ReLUs."""
    parts: list[nn.Module] = []
    for number in range(layers):
        parts += [nn.Linear(WIDTH if number else inputs, WIDTH), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*parts)


class PhotometryEncoder(nn.Module):
    """Latents of a row of numbers.

    Parameters
    ----------
    inputs : int
        Numbers per galaxy, extras among them.
    latents : int
        m + e.
    """

    def __init__(self, inputs: int, latents: int) -> None:
        super().__init__()
        self.hidden, self.latents = _hidden(inputs, ENCODER_LAYERS), nn.Linear(WIDTH, latents)

    def features(self, numbers: Tensor) -> Tensor:
        """What the latents are read from, (N, 128), of numbers (N, inputs)."""
        features: Tensor = self.hidden(numbers)
        return features

    def forward(self, numbers: Tensor) -> Tensor:
        """Latents (N, m + e) of numbers (N, inputs)."""
        latents: Tensor = self.latents(self.features(numbers))
        return latents


class PhotometryDecoder(nn.Module):
    """Photometry out of latents.

    Parameters
    ----------
    latents : int
        m + e.
    outputs : int
        Numbers of the photometry, without extras.
    """

    def __init__(self, latents: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_hidden(latents, DECODER_LAYERS), nn.Linear(WIDTH, outputs))

    def forward(self, latents: Tensor) -> Tensor:
        """Photometry (N, outputs) of latents (N, m + e)."""
        made: Tensor = self.layers(latents)
        return made


class Estimator(nn.Module):
    """Logits of the bins of log M* from the first m latents.

    Parameters
    ----------
    latents : int
        m.
    images : bool
        As for images: 1024 wide with ReLU; else 128 with leaky ReLU.
    """

    def __init__(self, latents: int, images: bool) -> None:
        super().__init__()
        width = 1024 if images else WIDTH
        self.latents = latents
        self.layers = nn.Sequential(
            nn.Linear(latents, width), nn.ReLU() if images else nn.LeakyReLU(SLOPE), nn.Linear(width, BINS)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Logits (N, 520) of latents (N, >= m)."""
        logits: Tensor = self.layers(latents[:, : self.latents])
        return logits

    @property
    def last(self) -> nn.Linear:
        """The layer of the logits."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer


def bin_of(logm: Tensor) -> Tensor:
    """Bin (N,), int64, of each log M* (N,); those outside of the range are in the first or last one."""
    return ((logm.double() - LOWEST) / STEP).floor().long().clamp(0, BINS - 1)


def centres() -> Tensor:
    """Middle (520,) of each bin, log10 of solar masses, float64."""
    return LOWEST + STEP * (torch.arange(BINS, dtype=torch.float64) + 0.5)
