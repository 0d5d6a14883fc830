"""Encoder and decoder of galaxy images for the stellar mass: inception blocks (models.md 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from galcli.training.networks.mass import SLOPE

#: Pixels along a side of an image.
SIDE = 64
#: Channels of the stem, of the branches with large kernels, and of the narrow branches: 0.65 and 0.7 times as many.
STEM, WIDE = 96, 156
REDUCED, PLAIN = 101, 109
#: Numbers that the last maps hold, and width of the layer that reads them.
_FLAT, _DENSE = 4 * STEM, 1024
#: Channels and side of the maps that a decoder begins with, and channels of its convolutions.
_SEED, _SEED_SIDE, _DECODED = 16, 8, 32


def mean_of_four(x: Tensor) -> Tensor:
    """Mean over 2 x 2 cells, stride 1, as large as before; cells beyond the right and lower edge do not count.

    Even kernels pad there alone in the published framework.
    """
    padded = functional.pad(x, (0, 1, 0, 1))
    total = padded[..., :-1, :-1] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., 1:, 1:]
    return total * _weights(x.shape[-2], x).view(-1, 1) * _weights(x.shape[-1], x)


def _weights(length: int, like: Tensor) -> Tensor:
    """One over the number of cells along an axis: 2, at the edge 1."""
    weights = torch.full((length,), 0.5, dtype=like.dtype, device=like.device)
    weights[-1] = 1.0
    return weights


class Inception(nn.Module):
    """Four branches, each after a 1 x 1 convolution: 5 x 5, 3 x 3, a mean of 2 x 2, and nothing more.

    Parameters
    ----------
    channels : int
        Of the input; the output has 522.
    """

    channels_out = 2 * WIDE + REDUCED + PLAIN

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before5, self.conv5 = nn.Conv2d(channels, REDUCED, 1), nn.Conv2d(REDUCED, WIDE, 5, padding=2)
        self.before3, self.conv3 = nn.Conv2d(channels, REDUCED, 1), nn.Conv2d(REDUCED, WIDE, 3, padding=1)
        self.before_mean, self.plain = nn.Conv2d(channels, REDUCED, 1), nn.Conv2d(channels, PLAIN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 522, H, W) of maps (N, C, H, W)."""
        parts = (
            self.conv5(self.before5(x).relu()).relu(),
            self.conv3(self.before3(x).relu()).relu(),
            mean_of_four(self.before_mean(x).relu()),
            self.plain(x).relu(),
        )
        return torch.cat(parts, 1)


class ImageEncoder(nn.Module):
    """Latents of images with numbers beside them.

    Parameters
    ----------
    bands : int
    extras : int
        Numbers per galaxy: E(B-V), and photometry that is not in the images.
    latents : int
        m + e.
    """

    def __init__(self, bands: int, extras: int, latents: int) -> None:
        super().__init__()
        self.stem, self.extras = nn.Conv2d(bands, STEM, 5, padding=2), nn.Linear(extras, STEM)
        self.second = nn.Conv2d(STEM, STEM, 3, padding=1)
        wide = Inception.channels_out
        self.fine = nn.Sequential(Inception(STEM), Inception(wide), Inception(wide))
        self.middle = nn.Sequential(Inception(wide), Inception(wide))
        self.coarse = Inception(wide)
        self.last = nn.ModuleList(nn.Conv2d(wide if number == 0 else STEM, STEM, 3) for number in range(3))
        self.dense, self.latents = nn.Linear(_FLAT, _DENSE), nn.Linear(_DENSE, latents)

    def features(self, images: Tensor, extras: Tensor) -> Tensor:
        """What the latents are read from, (N, 1024), of images (N, bands, 64, 64) and extras (N, extras)."""
        # Not as a matrix product, which mixed precision does in bfloat16: that holds magnitudes to 0.06 mag only.
        beside = (self.extras.weight * extras[:, None]).sum(2) + self.extras.bias
        x = (self.stem(images) + beside[:, :, None, None]).relu()
        x = functional.avg_pool2d(self.second(x).tanh(), 2)
        x = functional.avg_pool2d(self.fine(x), 2)
        x = self.coarse(functional.avg_pool2d(self.middle(x), 2))
        for layer in self.last:
            x = layer(x).relu()
        features: Tensor = self.dense(mean_of_four(x).flatten(1)).relu()
        return features

    def forward(self, images: Tensor, extras: Tensor) -> Tensor:
        """Latents (N, m + e); arguments as for ``features``."""
        latents: Tensor = self.latents(self.features(images, extras))
        return latents


class ImageDecoder(nn.Module):
    """Images out of latents.

    Parameters
    ----------
    latents : int
        m + e.
    bands : int
    """

    def __init__(self, latents: int, bands: int) -> None:
        super().__init__()
        self.dense = nn.Linear(latents, _SEED * _SEED_SIDE**2)
        sizes = [(_SEED, _DECODED), (_DECODED, _DECODED), (_DECODED, _DECODED)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(first, second, 3, padding=1), nn.LeakyReLU(SLOPE),
                nn.Conv2d(second, second, 3, padding=1), nn.LeakyReLU(SLOPE),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            )
            for first, second in sizes
        )  # fmt: skip
        self.end = nn.Sequential(
            nn.Conv2d(_DECODED, _DECODED, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(_DECODED, bands, 3, padding=1)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images (N, bands, 64, 64) of latents (N, m + e)."""
        x = functional.leaky_relu(self.dense(latents), SLOPE).view(-1, _SEED, _SEED_SIDE, _SEED_SIDE)
        for stage in self.stages:
            x = stage(x)
        made: Tensor = self.end(x)
        return made
