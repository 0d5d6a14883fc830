"""How strongly an image varies on each scale: its power spectrum, averaged over directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Radial:
    """A quantity against spatial frequency.

    Attributes
    ----------
    frequency : ndarray (F,), float64
        Cycles per pixel: centres of bins of equal width, from one cycle per side of the image up to 0.5.
    power : ndarray (F,), float64
        Of `power_spectrum` in squared units of the image per pixel of it: white noise has its variance in every bin.
        Of `ratio` without unit.
    """

    frequency: Floats
    power: Floats


def power_spectrum(image: NDArray[np.floating]) -> Radial:
    """Azimuthal mean of the squared FFT, averaged over channels.

    The mean is taken off and a Hann window laid over the image: without it, the jump between opposite borders would
    add power at all frequencies (Harris 1978, Proc. IEEE 66, 51).

    Parameters
    ----------
    image : ndarray (C, H, W) or (H, W)

    Returns
    -------
    Radial
        min(H, W) // 2 bins; frequencies beyond 0.5, which only the diagonals have, are left out.

    Raises
    ------
    ValueError
        If the image has fewer than 4 pixels along a side, or other axes.
    """
    if image.ndim not in (2, 3) or min(image.shape[-2:]) < 4:
        raise ValueError(f"an image (C, H, W) or (H, W) of at least 4 pixels a side is needed, not {image.shape}")
    values = np.asarray(image, np.float64).reshape(-1, *image.shape[-2:])
    height, width = values.shape[1:]
    window = _hann(height)[:, None] * _hann(width)
    level = (values * window).sum((1, 2), keepdims=True) / window.sum()
    power = np.square(np.abs(np.fft.fft2((values - level) * window))).mean(0) / np.square(window).sum()
    side = min(height, width)
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * side
    bins = np.rint(distance).astype(np.int64).ravel()
    count = side // 2 + 1
    inside = bins < count
    total = np.bincount(bins[inside], power.ravel()[inside], count)
    number = np.bincount(bins[inside], minlength=count)
    return Radial(np.arange(1, count) / side, (total / number)[1:])


def ratio(after: NDArray[np.floating], before: NDArray[np.floating]) -> Radial:
    """Power of one image over that of another, such as a dream over what it began with.

    Parameters
    ----------
    after, before : ndarray (C, H, W) or (H, W)
        Of the same shape.

    Returns
    -------
    Radial
        NaN where the second image has no power.

    Raises
    ------
    ValueError
        As `power_spectrum`, or if the shapes differ.
    """
    if after.shape != before.shape:
        raise ValueError(f"images of one shape are compared, not {after.shape} and {before.shape}")
    first, second = power_spectrum(after), power_spectrum(before)
    nothing = np.full_like(first.power, np.nan)
    return Radial(first.frequency, np.divide(first.power, second.power, out=nothing, where=second.power > 0))


def _hann(count: int) -> Floats:
    """Periodic Hann window (count,), centred on the pixels."""
    return np.square(np.sin(np.pi * (np.arange(count) + 0.5) / count))
