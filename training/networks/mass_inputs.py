"""From catalogue columns and fluxes to the inputs of the networks for stellar mass, exported with these."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: A missing value becomes this many standard deviations from the mean. Measured ones end at `LOWEST_KNOWN`: the brightest
#: galaxies of the sky are further from the mean of a deep sample.
MISSING = -8.0
LOWEST_KNOWN = -5.0
#: Magnitude of one nanomaggy.
_ZEROPOINT = 22.5


class StandardColumns(nn.Module):
    """Columns of zero mean and unit variance, missing ones at `MISSING`.

    Parameters
    ----------
    mean, std : sequence of K floats
        Of the values that are there; 0 and 1 for columns as they are, as published.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))

    def forward(self, columns: Tensor) -> Tensor:
        """Network input (N, K) of columns (N, K); NaN is a missing value."""
        missing = torch.isnan(columns)
        known = torch.where(missing, self.mean, columns)
        scaled = ((known - self.mean) / self.std).clamp(min=LOWEST_KNOWN)
        return torch.where(missing, torch.full_like(known, MISSING), scaled)


class ClosedGaps(nn.Module):
    """Columns of which groups are missing, never parts of groups: a network is asked nothing that it has not learned.

    A network that knows a band to be missing with its error, or all errors together, answers at random where one error is
    missing.

    Parameters
    ----------
    names : tuple of K str
        Columns.
    groups : tuple of tuple of str
        Those that go together. A value that is missing, and in no group that is missing as a whole, takes with it the last
        group that it is of.
    """

    groups: Tensor
    along: Tensor

    def __init__(self, names: tuple[str, ...], groups: Sequence[Sequence[str]]) -> None:
        super().__init__()
        held = torch.tensor([[name in group for name in names] for group in groups])
        along = torch.eye(len(names), dtype=torch.bool)
        for group in held[held.any(1)]:
            along[group] = group
        self.register_buffer("groups", held[held.any(1)], persistent=False)
        self.register_buffer("along", along, persistent=False)

    def forward(self, columns: Tensor) -> Tensor:
        """Columns (N, K) with NaN for whole groups, of columns (N, K) with NaN for missing values."""
        if not len(self.groups):
            return columns
        missing = torch.isnan(columns)
        whole = (missing[:, None] | ~self.groups).all(2)
        alone = missing & ~(whole[:, :, None] & self.groups).any(1)
        return torch.where(missing | (alone[:, :, None] & self.along).any(1), torch.nan, columns)


class MassPixels(nn.Module):
    """sign(x) ln(1 + |x|) of fluxes over a softening, of zero mean and unit variance per band; 0 where there is no data.

    Parameters
    ----------
    softening : sequence of B floats
        Nanomaggies per pixel (of normalised images: parts of the galaxy's flux) at which the mapping turns from linear
        to logarithmic; 1 as published.
    mean, std : sequence of B floats
        Of the mapped training pixels; 0 and 1 as published.
    least : sequence of B floats, optional
        Least flux [nanomaggies] that images are divided by; without it they are not.
    """

    softening: Tensor
    mean: Tensor
    std: Tensor
    least: Tensor

    def __init__(
        self, softening: Sequence[float], mean: Sequence[float], std: Sequence[float],
        least: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalised = least is not None
        for name, values in (("softening", softening), ("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(list(values), dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("least", torch.tensor(list(least or [1.0] * len(mean)), dtype=torch.float32))

    def mapped(self, pixels: Tensor, valid: Tensor, magnitudes: Tensor | None) -> Tensor:
        """What is standardised: pixels (N, B, H, W) with 0 where ``valid`` (N, 1, H, W) is not 1.

        Parameters
        ----------
        pixels, valid : Tensor
        magnitudes : Tensor (N, B) or None
            Petrosian magnitudes (AB) of the same bands, NaN where missing; None: images are not normalised.
        """
        filled = torch.where(valid > 0.5, pixels, torch.zeros_like(pixels))
        if magnitudes is not None:
            flux = 10 ** (0.4 * (_ZEROPOINT - magnitudes))
            filled = filled / torch.where(flux > self.least, flux, self.least)[:, :, None, None]  # NaN is not larger
        scaled = filled / self.softening
        return scaled.sign() * (1 + scaled.abs()).log()

    def forward(self, pixels: Tensor, valid: Tensor, magnitudes: Tensor | None = None) -> Tensor:
        """Network input (N, B, H, W); the arguments are those of ``mapped``."""
        return (self.mapped(pixels, valid, magnitudes if self.normalised else None) - self.mean) / self.std
