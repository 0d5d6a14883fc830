"""What is done to a stamp on its way into a training batch: square symmetries and small rotations."""

from __future__ import annotations

import torch
from torch import Tensor

#: Share of pixels without data up to which a turned pixel still counts as data: rounding, no more.
MIXED = 1e-3


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


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre by bilinear interpolation; what comes in at the corners is reflected.

    Parameters
    ----------
    images : Tensor (N, C, S, S), float32
        Square images without NaN.
    degrees : Tensor (N,)
        Angles; images of angle 0 are left exactly as they are.

    Returns
    -------
    Tensor (N, C, S, S)
    """
    turned = torch.nonzero(degrees)[:, 0]
    angle = torch.deg2rad(degrees[turned])
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
    grid = torch.nn.functional.affine_grid(matrix, list(images[turned].shape), align_corners=False)
    out = images.clone()
    out[turned] = torch.nn.functional.grid_sample(
        images[turned], grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return out


def draw_angles(n: int, p: float, largest: float, generator: torch.Generator) -> Tensor:
    """Angles [degrees] for ``rotate``: with probability p within +-largest, else 0."""
    angle = (2 * torch.rand(n, generator=generator) - 1) * largest
    chosen = torch.rand(n, generator=generator) < p
    return torch.where(chosen, angle, 0.0)
