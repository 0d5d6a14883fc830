"""Values of an image between its pixels: cubic convolution (Keys 1981, IEEE Trans. ASSP 29, 1153)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Pixels on each side of a point that its value depends on.
REACH = 2


def cubic(image: NDArray[np.float32], x: Floats, y: Floats) -> NDArray[np.float32]:
    """Interpolate; exact for polynomials of degree two, and the weights of each point add up to one.

    Parameters
    ----------
    image : ndarray (B, H, W), float32
        NaN = no data.
    x, y : ndarray (h, w), float64
        Where, in pixels counted from 0.

    Returns
    -------
    ndarray (B, h, w), float32
        NaN where one of the 16 pixels around a point is NaN or lies outside.
    """
    bands, height, width = image.shape
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (column >= 1) & (column < width - 2) & (row >= 1) & (row < height - 2)
    column, row = np.where(inside, column, 1), np.where(inside, row, 1)
    out = np.zeros((bands, *x.shape), np.float64)
    if height < 2 * REACH or width < 2 * REACH:
        return np.full(out.shape, np.nan, np.float32)
    across, along = _weights(x - column), _weights(y - row)
    for j, weight_y in enumerate(along):
        line = np.zeros_like(out)
        for i, weight_x in enumerate(across):
            line += weight_x * image[:, row + j - 1, column + i - 1]
        out += weight_y * line
    out[:, ~inside] = np.nan
    return out.astype(np.float32)


def _weights(t: Floats) -> list[Floats]:
    """Weights of the pixels at -1, 0, 1 and 2 for points ``t`` of the way from 0 to 1."""
    return [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
