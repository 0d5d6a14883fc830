"""Error bars and the domain of a model, measured on galaxies it was not trained on.

Conformal intervals (Vovk et al. 2005; split form Papadopoulos et al. 2002; locally scaled form Lei et al. 2018,
arXiv:1604.04173; cross-conformal form Vovk 2015) hold without any assumption about the errors, as long as the
galaxies of the user are like those of the calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Part of the objects whose true value lies within the error bar.
LEVEL = 0.68
#: Part of the training variance in the principal components that the domain is measured in.
KEPT_VARIANCE = 0.999
#: Part of held-out objects inside the domain.
INSIDE = 0.99
#: With fewer calibration objects, scale and quantile come from all of them by cross-validation.
SMALL = 2000
#: With fewer objects of one front, its quantile is that of all fronts.
FEW = 50
FOLDS = 10
#: How strongly widths are kept from following the features, in units of the number of objects.
_PENALTIES = np.logspace(-2, 2, 9)
#: Percent of the training values on either side to which widths are bounded, so that odd galaxies get no odd widths.
_TAIL = 1.0


@dataclass(frozen=True)
class Domain:
    """Distance from the training sample in the space of penultimate features.

    The distance is sqrt(sum_i (c_i / s_i)^2 + |r|^2 / s_r^2): c_i are the principal components that hold 99.9 % of
    the training variance, s_i their standard deviations, r what is left of the feature vector, s_r its root mean
    square.

    Attributes
    ----------
    mean : ndarray (C,)
    basis : ndarray (C, m)
        Principal components.
    std : ndarray (m,)
        Their standard deviations.
    rest : float
        Root mean square length of the residual.
    threshold : ndarray (F,)
        Distance that 99 % of held-out objects keep, per front.
    """

    mean: Floats
    basis: Floats
    std: Floats
    rest: float
    threshold: Floats

    def scores(self, features: Floats) -> Floats:
        """Whitened components (N, m) of features (N, C)."""
        whitened: Floats = (features - self.mean) @ self.basis / self.std
        return whitened

    def distance(self, features: Floats) -> Floats:
        """Distance (N,) of features (N, C) from the training sample."""
        centred = features - self.mean
        components = centred @ self.basis
        rest = centred - components @ self.basis.T
        squares: Floats = ((components / self.std) ** 2).sum(1) + (rest**2).sum(1) / self.rest**2
        return np.sqrt(squares)


def fit_domain(features: Floats, held: Floats, front: Ints, fronts: int) -> Domain:
    """Measure the training sample's extent.

    Parameters
    ----------
    features : ndarray (N, C)
        Penultimate features of training objects.
    held : ndarray (M, C)
        Those of held-out objects.
    front : ndarray (M,)
        Front of each held-out object.
    fronts : int
        Number of fronts.

    Returns
    -------
    Domain
    """
    mean = features.mean(0)
    variance, vectors = np.linalg.eigh(np.cov(features - mean, rowvar=False).reshape(features.shape[1], -1))
    variance, vectors = np.maximum(variance[::-1], 0), vectors[:, ::-1].copy()
    total = float(variance.sum()) + float(np.finfo(np.float32).tiny)
    kept = 1 + int(np.searchsorted(np.cumsum(variance) / total, KEPT_VARIANCE))
    kept = min(kept, len(variance))
    std = np.sqrt(np.maximum(variance[:kept], 1e-12 * total))
    # Rounding leaves a residual also where there is none: 1e-6 of the total is what float32 can still tell.
    rest = math.sqrt(max(variance[kept:].sum(), 1e-6 * total))
    domain = Domain(mean, vectors[:, :kept], std, rest, np.ones(fronts))
    distance = domain.distance(held)
    return Domain(mean, domain.basis, std, rest, _by_front(distance, front, fronts, INSIDE))


@dataclass(frozen=True)
class Conformal:
    """Half-widths of 68 % intervals: ``quantile[front] * exp(clip(scores @ slope + offset, low, high))``.

    Attributes
    ----------
    slope : ndarray (m, T)
        0 where intervals of one width serve better.
    offset, low, high : ndarray (T,)
    quantile : ndarray (F, T)
    local : ndarray (T,), bool
        Whether the width depends on the object.
    method : str
        ``split-conformal`` or ``cross-conformal``.
    objects : int
    """

    slope: Floats
    offset: Floats
    low: Floats
    high: Floats
    quantile: Floats
    local: NDArray[np.bool_]
    method: str
    objects: int

    def half_width(self, scores: Floats, front: Ints) -> Floats:
        """Half-widths (N, T) of objects with whitened features (N, m) seen through fronts (N,)."""
        log_scale = np.clip(scores @ self.slope + self.offset, self.low, self.high)
        width: Floats = self.quantile[front] * np.exp(log_scale)
        return width


def fit_conformal(residual: Floats, scores: Floats, front: Ints, fronts: int, seed: int = 0) -> Conformal:
    """Calibrate the error bars of T outputs.

    Large samples are split: on one half the width is fitted as a function of the features, on the other the quantile
    is taken. Small ones are divided into folds instead, so that each object's scaled residual comes from a fit
    without it.

    Parameters
    ----------
    residual : ndarray (N, T)
        Prediction minus truth; NaN where there is no truth.
    scores : ndarray (N, m)
        Whitened features (`Domain.scores`).
    front : ndarray (N,)
    fronts : int
        Number of fronts.
    seed : int
        Seed of the division.

    Returns
    -------
    Conformal
    """
    count, outputs = residual.shape
    small = count < SMALL
    fold = np.random.default_rng(seed).permutation(count) % (FOLDS if small else 2)
    parts = [_fit_output(residual[:, number], scores, front, fronts, fold, small) for number in range(outputs)]
    slope, offset, low, high, quantile, local = (np.stack(part, axis=-1) for part in zip(*parts, strict=True))
    method = "cross-conformal" if small else "split-conformal"
    return Conformal(slope, offset, low, high, quantile, local.astype(bool), method, count)


def _fit_output(residual: Floats, scores: Floats, front: Ints, fronts: int, fold: Ints, small: bool) -> tuple[Any, ...]:
    """slope, offset, low, high, quantile (F,) and whether the width is local, for one output."""
    good = np.isfinite(residual)
    size, scores, front, fold = np.abs(residual[good]), scores[good], front[good], fold[good]
    if small:
        used = np.ones(len(size), np.bool_)
        log_scale = np.empty(len(size))
        for number in range(FOLDS):
            out = fold == number
            log_scale[out] = _apply(_fit_scale(scores[~out], size[~out]), scores[out])
        scale = _fit_scale(scores, size)
    else:
        used = fold == 1
        scale = _fit_scale(scores[~used], size[~used])
        log_scale = _apply(scale, scores)
    size, front, log_scale = size[used], front[used], log_scale[used]
    flat = _by_front(size, front, fronts, LEVEL)
    quantile = _by_front(size / np.exp(log_scale), front, fronts, LEVEL)
    local = _interval_score(size, quantile[front] * np.exp(log_scale)) < _interval_score(size, flat[front])
    if local:
        return (*scale, quantile, True)
    return (np.zeros(scores.shape[1]), 0.0, 0.0, 0.0, flat, False)


Scale = tuple[Floats, float, float, float]


def _fit_scale(scores: Floats, size: Floats) -> Scale:
    """Logarithm of the typical residual as a linear function of the features, bounded to what was seen.

    How closely it follows the features is found by cross-validation: what it takes from the noise of a hundred of them
    is error of the error bars.
    """
    floor = 1e-3 * float(np.median(size)) + float(np.finfo(np.float32).tiny)
    model = RidgeCV(alphas=len(size) * _PENALTIES).fit(scores, np.log(np.maximum(size, floor)))
    slope, offset = np.asarray(model.coef_, np.float64), float(model.intercept_)
    low, high = np.percentile(scores @ slope + offset, [_TAIL, 100 - _TAIL])
    return slope, offset, float(low), float(high)


def _apply(scale: Scale, scores: Floats) -> Floats:
    slope, offset, low, high = scale
    return np.clip(scores @ slope + offset, low, high)


def _by_front(values: Floats, front: Ints, fronts: int, level: float) -> Floats:
    """Conformal quantile of the objects of each front."""
    groups = [values[front == number] for number in range(fronts)]
    return np.array([conformal_quantile(group if len(group) >= FEW else values, level) for group in groups])


def conformal_quantile(values: Floats, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n values: a new one lies below it with probability ``level`` or more."""
    count = len(values)
    rank = min(math.ceil((count + 1) * level), count)
    return float(np.partition(values, rank - 1)[rank - 1])


def _interval_score(size: Floats, half_width: Floats) -> float:
    """Mean interval score (Gneiting & Raftery 2007, eq. 43) of symmetric intervals: smaller is better."""
    return float(np.mean(2 * half_width + 2 / (1 - LEVEL) * np.maximum(size - half_width, 0)))


def coverage(residual: Floats, half_width: Floats) -> float:
    """Part of the objects whose truth lies inside the error bar (NaN residuals left out)."""
    good = np.isfinite(residual)
    return float(np.mean(np.abs(residual[good]) <= half_width[good]))


def bias_by_bin(residual: Floats, by: Floats, bins: int = 8) -> list[dict[str, float]]:
    """Mean residual in bins of equal numbers of objects.

    Parameters
    ----------
    residual : ndarray (N,)
        Prediction minus truth.
    by : ndarray (N,)
        What is binned: truth shows the regression to the mean, prediction what a user can correct for.
    bins : int

    Returns
    -------
    list of dict
        ``center`` (mean of ``by``), ``bias``, ``scatter`` (standard deviation) and ``objects`` of each bin.
    """
    good = np.isfinite(residual) & np.isfinite(by)
    residual, by = residual[good], by[good]
    parts = [part for part in np.array_split(np.argsort(by, kind="stable"), bins) if len(part)]
    return [
        {
            "center": round(float(by[part].mean()), 5),
            "bias": round(float(residual[part].mean()), 5),
            "scatter": round(float(residual[part].std()), 5),
            "objects": len(part),
        }
        for part in parts
    ]
