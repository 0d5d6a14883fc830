"""What is told of an object's codes: which concepts are active, how strongly, where, and over what extent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from galcli.training.networks.calibrated import LANES


class Concepts(NamedTuple):
    """The strongest concepts of each object, in descending order.

    Attributes
    ----------
    number : Tensor (N, K), int64
        Number of the concept; -1 where fewer are active.
    strength : Tensor (N, K), float32
        Root mean square of its map; 0 where there is none.
    dx, dy : Tensor (N, K), float32
        Centroid of its energy, in units of the offsets; NaN where there is none.
    size : Tensor (N, K), float32
        Root mean square distance of its energy from that centroid.
    active : Tensor (N,), int64
        How many are active: of all, not of those listed.
    """

    number: Tensor
    strength: Tensor
    dx: Tensor
    dy: Tensor
    size: Tensor
    active: Tensor


def summed(x: Tensor, axes: int) -> Tensor:
    """Sum over the last axes, filled up to whole registers: so it does not depend on where in a batch a row stands."""
    flat = x.flatten(-axes)
    return functional.pad(flat, (0, -flat.shape[-1] % LANES)).sum(-1)


def strength(z: Tensor) -> Tensor:
    """Root mean square of every concept's map, (N, p)."""
    return (summed(z.square(), 2) / (z.shape[2] * z.shape[3])).sqrt()


def strongest(z: Tensor, count: int, east: Tensor, north: Tensor) -> Concepts:
    """Describe the codes of objects.

    Parameters
    ----------
    z : Tensor (N, p, H, W), float32
        Codes.
    count : int
        K.
    east : Tensor (W,)
        Offset of each column to the east.
    north : Tensor (H,)
        Offset of each row to the north.
    """
    total = strength(z)
    kept = total.topk(count, 1)
    some = kept.values > 0
    maps = z.gather(1, kept.indices[:, :, None, None].expand(-1, -1, z.shape[2], z.shape[3])).square()
    whole = torch.where(some, summed(maps, 2), 1.0)
    north = north.unsqueeze(1)
    dx, dy = (summed(maps * offset, 2) / whole for offset in (east, north))
    away = (east - dx[:, :, None, None]).square() + (north - dy[:, :, None, None]).square()
    size = (summed(maps * away, 2) / whole).sqrt()
    nowhere = torch.full_like(dx, torch.nan)
    return Concepts(
        torch.where(some, kept.indices, -1), kept.values,
        torch.where(some, dx, nowhere), torch.where(some, dy, nowhere),
        torch.where(some, size, nowhere), (total > 0).sum(1),
    )  # fmt: skip
