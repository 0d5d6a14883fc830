"""Numbers of posteriors of log M* in 520 bins: points, intervals, and how good they are (models.md 2.5 and 2.7)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from galcli.training.networks import mass
from galcli.training.networks.mass import BINS, LOWEST, STEP

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

#: Levels of the intervals whose coverage is told.
LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class Scores:
    """How good posteriors are.

    Attributes
    ----------
    cross_entropy : float
        -ln p of the true bin, mean [nat].
    bias, sigma_mad, outliers : float
        Of the mean of the posterior minus the truth: mean; 1.4826 times the median deviation from the median; part
        beyond three times that [dex].
    crps : float
        Continuous ranked probability score [dex].
    coverage : tuple of float
        Part of the truths inside the central intervals of `LEVELS`.
    pit : tuple of float
        Part of the probability integral transforms in each of ten bins; 0.1 each where calibrated.
    objects : int
    """

    cross_entropy: float
    bias: float
    sigma_mad: float
    outliers: float
    crps: float
    coverage: tuple[float, ...]
    pit: tuple[float, ...]
    objects: int

    def told(self) -> dict[str, object]:
        """JSON-able form."""
        return asdict(self)


def log_softmax(logits: Singles) -> Singles:
    """Log posterior (N, 520) of logits (N, 520)."""
    shifted: Singles = logits - logits.max(1, keepdims=True)
    total: Singles = np.exp(shifted).sum(1, keepdims=True)
    return shifted - np.log(total)


def centres() -> Doubles:
    """Middle (520,) of each bin."""
    found: Doubles = mass.centres().numpy()
    return found


def bins_of(logm: NDArray[np.floating]) -> NDArray[np.int64]:
    """Bin (N,) of each log M*; those outside of the range are in the first or last one."""
    found: NDArray[np.int64] = mass.bin_of(torch.from_numpy(np.array(logm, np.float64))).numpy()
    return found


def cumulative(log_posterior: Singles) -> Doubles:
    """Probability (N, 521) below each edge."""
    parts = np.exp(log_posterior.astype(np.float64))
    below = np.concatenate([np.zeros((len(parts), 1)), parts.cumsum(1)], 1)
    found: Doubles = below / below[:, -1:]
    return found


def quantile(below: Doubles, level: float) -> Doubles:
    """Log M* (N,) below which a part of the probability lies; linear inside of a bin."""
    last = np.minimum((below <= level).sum(1), BINS)  # first edge above the level
    rows = np.arange(len(below))
    low, high = below[rows, last - 1], below[rows, last]
    inside = np.where(high > low, (level - low) / np.maximum(high - low, 1e-300), 0.5)
    found: Doubles = LOWEST + STEP * (last - 1 + inside)
    return found


def transform(below: Doubles, logm: NDArray[np.floating]) -> Doubles:
    """Probability integral transform (N,): probability below the truth, linear inside of its bin."""
    place = np.clip((logm.astype(np.float64) - LOWEST) / STEP, 0, BINS)
    first = np.minimum(place.astype(np.int64), BINS - 1)
    rows = np.arange(len(below))
    low, high = below[rows, first], below[rows, first + 1]
    found: Doubles = low + (high - low) * (place - first)
    return found


def scores(log_posterior: Singles, logm: Singles) -> Scores:
    """Scores of posteriors (N, 520) of galaxies with known log M* (N,)."""
    bins, below = bins_of(logm), cumulative(log_posterior)
    residual = np.exp(log_posterior.astype(np.float64)) @ centres() - logm
    spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
    true = np.arange(BINS) >= bins[:, None]
    pit = transform(below, logm)
    inside = tuple(float(np.mean(np.abs(pit - 0.5) <= level / 2)) for level in LEVELS)
    histogram = np.histogram(pit, 10, (0, 1))[0] / len(pit)
    return Scores(
        float(-log_posterior[np.arange(len(bins)), bins].astype(np.float64).mean()), float(residual.mean()),
        float(spread), float(np.mean(np.abs(residual) > 3 * spread)),
        float(((below[:, 1:] - true) ** 2).sum(1).mean() * STEP), inside, tuple(histogram.tolist()), len(bins),
    )  # fmt: skip
