"""What is done to a stamp on its way into a training batch: square symmetries and display images."""

from __future__ import annotations

import torch
from torch import Tensor


def d4(images: Tensor, element: Tensor) -> Tensor:
    """Apply one of the 8 symmetries of the square to each image, exactly.

    Parameters
    ----------
    images : Tensor (N, C, S, S)
        Square images.
    element : Tensor (N,), int64
        Bit 0 flips columns, bit 1 flips rows, bit 2 transposes (in this order); 0 is the identity.

    Returns
    -------
    Tensor (N, C, S, S)
        Same dtype; every pixel value is kept.
    """
    out = torch.empty_like(images)
    for number in range(8):
        rows = torch.nonzero(element == number)[:, 0]
        if len(rows):
            axes = [axis for axis, bit in ((3, 1), (2, 2)) if number & bit]
            part = images[rows].flip(axes)
            out[rows] = part.transpose(2, 3) if number & 4 else part
    return out


def draw_d4(n: int, p: float, generator: torch.Generator) -> Tensor:
    """Elements of ``d4`` for n images: with probability p one of the 8 at random, else the identity."""
    element = torch.randint(8, (n,), generator=generator)
    chosen = torch.rand(n, generator=generator) < p
    return torch.where(chosen, element, 0)
