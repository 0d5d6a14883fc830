"""Cutouts brought to one size by whole pixels: what lies outside is cut off, what is missing has no data."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def first_pixel(place: float, side: int) -> int:
    """First of ``side`` pixels around a place; of two equally near choices that with the lower numbers."""
    return math.ceil(place - (side - 1) / 2 - 0.5)


def fit(
    pixels: NDArray[np.float32], center: tuple[float, float], size: tuple[int, int]
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Cut or pad a cutout so that its object comes within half a pixel of the middle.

    Parameters
    ----------
    pixels : ndarray (B, H, W), float32
    center : tuple of float
        (x, y) of the object, in pixels from 0.
    size : tuple of int
        (h, w) wanted.

    Returns
    -------
    pixels : ndarray (B, h, w), float32
        NaN outside the cutout.
    center : tuple of float
        (x, y) of the object in it.
    """
    y, x = first_pixel(center[1], size[0]), first_pixel(center[0], size[1])
    height, width = pixels.shape[1:]
    out = np.full((len(pixels), *size), np.nan, np.float32)
    top, bottom = max(y, 0), min(y + size[0], height)
    left, right = max(x, 0), min(x + size[1], width)
    if top < bottom and left < right:
        out[:, top - y : bottom - y, left - x : right - x] = pixels[:, top:bottom, left:right]
    return out, (center[0] - x, center[1] - y)
