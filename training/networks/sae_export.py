"""A sparse autoencoder as it is exported: from cutouts, or from another model's inner maps, to the columns of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galcli.training.networks.concepts import strength, strongest, summed
from galcli.training.networks.sae import SAE, Coded, FeedForward

#: Names of what the modules here return.
OUTPUTS = (
    "idx", "energy", "dx", "dy", "size", "fvu", "l0", "inner/strength", "inner/codes", "inner/data", "inner/before",
)  # fmt: skip


class Said(NamedTuple):
    """Outputs in the order of ``OUTPUTS``.

    Attributes
    ----------
    idx : Tensor (N, K), int32
    energy, dx, dy, size : Tensor (N, K), float32
        See ``concepts.Concepts``.
    fvu : Tensor (N,), float32
        Sum of squares that the concepts leave over, over that about the mean of the training sample.
    l0 : Tensor (N,), int16
        Active concepts.
    strength : Tensor (N, p), float32
        Root mean square of every concept's map.
    codes : Tensor (N, p, H, W)
    data : Tensor (N, C, H, W)
        What was coded.
    before : Tensor (N, p, H, W)
        What the sparsity was given.
    """

    idx: Tensor
    energy: Tensor
    dx: Tensor
    dy: Tensor
    size: Tensor
    fvu: Tensor
    l0: Tensor
    strength: Tensor
    codes: Tensor
    data: Tensor
    before: Tensor


class _Exported(nn.Module):
    """What both ways in share.

    Parameters
    ----------
    sae : SAE
        In evaluation mode.
    mean : Tensor (C,)
        Of the training data.
    listed : int
        Concepts listed per object.
    """

    mean: Tensor

    def __init__(self, sae: SAE, mean: Tensor, listed: int) -> None:
        super().__init__()
        assert isinstance(sae.encoder, FeedForward)
        self.sae, self.listed, self.sparsity = sae, listed, sae.encoder.sparsity
        self.register_buffer("mean", mean.reshape(-1, 1, 1))

    def before(self, x: Tensor) -> Tensor:
        """What the sparsity is given."""
        coded: Coded = self.sae(x)
        return coded.before

    def told(self, x: Tensor, before: Tensor, east: Tensor, north: Tensor) -> Said:
        """Columns out of what the sparsity is given."""
        codes = self.sparsity(before)
        left = summed((x - self.sae.decode(codes)).square(), 3)
        whole = summed((x - self.mean).square(), 3)
        found = strongest(codes, self.listed, east, north)
        return Said(
            found.number.to(torch.int32), found.strength, found.dx, found.dy, found.size,
            left / torch.where(whole > 0, whole, 1.0), found.active.to(torch.int16),
            strength(codes), codes, x, before,
        )  # fmt: skip


class ExportedImages(_Exported):
    """An autoencoder of cutouts at their native size.

    Parameters
    ----------
    pixels : nn.Module
        From pixels to what is coded, before patches are cut.
    sae, mean, listed
        As in `_Exported`.
    patch : int
        Side of the patches, in px.
    """

    def __init__(self, pixels: nn.Module, sae: SAE, mean: Tensor, listed: int, patch: int) -> None:
        super().__init__(sae, mean, listed)
        self.pixels, self.patch = pixels, patch

    def forward(self, pixels: Tensor, valid: Tensor, front: Tensor) -> Said:
        """All outputs; offsets in px of the cutout.

        Parameters
        ----------
        pixels : Tensor (N, B, H, W)
            0 where there is no data.
        valid : Tensor (N, 1, H, W)
        front : Tensor (N,), int64
        """
        x = patches(self.pixels(pixels, valid, front), self.patch)
        return self.told(x, self.before(x), *self.offsets(pixels))

    def offsets(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Offset of each cell from the centre of the image [px]: columns to the east, rows to the north."""
        height, width = pixels.shape[2:]
        east, north = (_centres(length, self.patch, pixels.device) for length in (width, height))
        return -east, north


class ExportedMaps(_Exported):
    """An autoencoder of another model's inner maps.

    Parameters
    ----------
    scatter : float
        Unit of the maps.
    sae, mean, listed
        As in `_Exported`.
    offsets : sequence of float
        Offset of each column and row of cells from the image's centre, in arcsec, along increasing pixels.
    """

    north: Tensor

    def __init__(self, scatter: float, sae: SAE, mean: Tensor, listed: int, offsets: Sequence[float]) -> None:
        super().__init__(sae, mean, listed)
        self.scatter = scatter
        self.register_buffer("north", torch.tensor(list(offsets), dtype=torch.float32))

    def forward(self, maps: Tensor) -> Said:
        """All outputs of maps (N, C, n, n); offsets in arcsec."""
        x = maps / self.scatter
        return self.told(x, self.before(x), -self.north, self.north)


def patches(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) as cells (N, C side^2, H / side, W / side), of their central part that holds whole ones."""
    if side == 1:
        return x
    n, channels, *lengths = x.shape
    cells = [length // side for length in lengths]
    for axis, (length, count) in enumerate(zip(lengths, cells, strict=True), 2):
        first = (length - count * side) // 2
        x = x.index_select(axis, torch.arange(count * side, device=x.device) + first)  # a slice is not exported
    parts = x.reshape(n, channels, cells[0], side, cells[1], side)
    return parts.permute(0, 1, 3, 5, 2, 4).reshape(n, channels * side**2, *cells)


def _centres(length: int, patch: int, device: torch.device) -> Tensor:
    """Centres of the cells along an axis, from that of the axis [px]."""
    cells = length // patch
    first = (length - cells * patch) // 2
    return torch.arange(cells, device=device) * patch + (first + (patch - 1) / 2 - (length - 1) / 2)
