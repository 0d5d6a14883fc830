"""Information of two inputs about log M*, and its decomposition (models.md 2.5 and 2.7). Everything in nat.

A galaxy's information i = ln p(bin | input) - ln p(bin), for input 1, input 2 and both, is split into redundant R,
unique U1 and U2, and synergistic S = i12 - max(i1, i2) by one of two rules: *pointwise* R = min(i1, i2) in each
galaxy, as published, whose means of R and S can be negative; and *population* R = min(I1, I2) of the means (minimum
mutual information; Barrett 2015, Phys. Rev. E 91, 052802).

The mean of ln p(bin | input) over galaxies that no network has learned from is never above that of the true posterior,
and the mean of -ln p(bin) is never above the entropy of the masses (`Prior.surprise`): so I1, I2 and I12 are lower
bounds, but for the scatter of a sample. A network that is weaker than the others moves its own I and all parts with
it: of both inputs S alone, of one input R, U1, U2 and S.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from galcli.errors import InputError
from galcli.training.networks.mass import BINS

Doubles = NDArray[np.float64]
Bins = NDArray[np.int64]

#: Names of what is averaged, in the order of tables and charts.
QUANTITIES = ("I1", "I2", "I12", "R", "U1", "U2", "S")
#: Draws of the means for the standard errors of the population rule.
_DRAWS = 4000


@dataclass(frozen=True)
class Prior:
    """Empirical distribution of the mass bins.

    Attributes
    ----------
    log_p : ndarray (520,)
        ln of the part of the training galaxies in each bin, finite: one without any counts as half a galaxy.
    counts : ndarray (520,), int64
        Training galaxies.
    """

    log_p: Doubles
    counts: Bins

    def surprise(self, bins: Bins) -> Doubles:
        """Entropy term h (N,), an estimate of -ln p of each galaxy's bin (N,).

        h = ln T - G(n + 1), where n of T training galaxies are in the bin and G is that of Grassberger (2003,
        arXiv:physics/0307138, eq. 27). The published -ln(n / T) is larger than -ln p in the mean over training samples,
        by about half the number of bins over T in the mean over galaxies: so much is added to every information. The
        mean of h is -ln p - E1(2 T p) in each bin, with the exponential integral E1: right where the bin has a few
        training galaxies, and too small, never too large, where it has next to none. Where n is large the two are the
        same but for 1 / n.

        The galaxies may not be among the training galaxies: for those the same h is too small.
        """
        found: Doubles = np.log(self.counts.sum()) - _grassberger(self.counts[bins] + 1)
        return found

    def unseen(self, bins: Bins) -> int:
        """How many of the galaxies lie in bins that no training galaxy is in: their h is too small."""
        return int((self.counts[bins] == 0).sum())


class Decomposition(NamedTuple):
    """Parts (N,) of the information of each galaxy."""

    R: Doubles
    U1: Doubles
    U2: Doubles
    S: Doubles


class Estimate(NamedTuple):
    """A mean and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class Summary:
    """Means over galaxies.

    Attributes
    ----------
    pointwise, population : dict of str to Estimate
        `QUANTITIES` by either rule; I1, I2, I12 are the same in both.
    galaxies : int
        Those with all of i1, i2, i12.
    """

    pointwise: dict[str, Estimate]
    population: dict[str, Estimate]
    galaxies: int


@dataclass(frozen=True)
class SeedSpread:
    """One quantity over networks trained from several seeds.

    Attributes
    ----------
    mean, spread : float
        Spread: standard deviation of one seed (N - 1); NaN for a single one.
    values : tuple of float
        Of each seed.
    """

    mean: float
    spread: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Profile:
    """Means in bins of a variable.

    Attributes
    ----------
    edges : ndarray (B + 1,)
    count : ndarray (B,), int64
    middle : ndarray (B,)
        Mean of the variable.
    mean, error : dict of str to ndarray (B,)
        `QUANTITIES` by the pointwise rule; NaN: no galaxy, and for the error fewer than 2.
    """

    edges: Doubles
    count: Bins
    middle: Doubles
    mean: dict[str, Doubles]
    error: dict[str, Doubles]


def empirical_prior(bins: Bins) -> Prior:
    """Prior from the mass bins (T,) of the training galaxies.

    Raises
    ------
    InputError
        If there is none.
    """
    if not len(bins):
        raise InputError("no training galaxy to take the distribution of masses from", "give a training sample")
    counts = np.bincount(bins, minlength=BINS).astype(np.int64)
    filled = np.where(counts > 0, counts, 0.5)
    return Prior(np.log(filled / filled.sum()), counts)


def information(log_posterior: NDArray[np.floating], bins: Bins, prior: Prior) -> Doubles:
    """Pointwise information i = h - ce (N,) of posteriors (N, 520) of galaxies in known bins (N,)."""
    ce = -log_posterior[np.arange(len(bins)), bins].astype(np.float64)
    found: Doubles = prior.surprise(bins) - ce
    return found


def _grassberger(n: Bins) -> Doubles:
    """G(n) of n >= 1: where n is of Poisson's law with the mean z, that of n G(n) is z (ln z + E1(2 z))."""
    sign = 1.0 - 2.0 * (n % 2)
    found: Doubles = digamma(n) + 0.5 * sign * (digamma((n + 1) / 2) - digamma(n / 2))
    return found


def decompose(i1: Doubles, i2: Doubles, i12: Doubles) -> Decomposition:
    """Parts of the information i1, i2, i12 (N,) by the minimum of each galaxy; NaN where one of them is."""
    low, high = np.minimum(i1, i2), np.maximum(i1, i2)
    return Decomposition(low + 0 * i12, i1 - low + 0 * i12, i2 - low + 0 * i12, i12 - high)


def summary(i1: Doubles, i2: Doubles, i12: Doubles, generator: np.random.Generator) -> Summary:
    """Means of the information i1, i2, i12 (N,) and of its parts by both rules, over the galaxies that have all three.

    Standard errors of the pointwise rule are those of means. Those of the population rule are the spread of its parts
    over draws of (I1, I2, I12) from the normal distribution of these means: a bootstrap by the central limit theorem,
    good also where I1 and I2 are about equal and the minimum has no derivative.

    Parameters
    ----------
    i1, i2, i12 : ndarray (N,)
    generator : numpy.random.Generator
        Of the draws.

    Raises
    ------
    InputError
        If fewer than 2 galaxies have all three.
    """
    values = np.stack([i1, i2, i12])
    values = values[:, np.isfinite(values).all(0)]
    count = values.shape[1]
    if count < 2:
        raise InputError(f"{count} galaxies give no mean information", "2 or more with all of i1, i2, i12 are needed")
    each = np.concatenate([values, np.stack(decompose(*values))])
    means, errors = each.mean(1), each.std(1, ddof=1) / np.sqrt(count)
    drawn = generator.multivariate_normal(means[:3], np.cov(values) / count, _DRAWS, method="eigh").T
    pointwise = [Estimate(float(mean), float(error)) for mean, error in zip(means, errors, strict=True)]
    of_means = [float(part) for part in decompose(*means[:3])]
    spreads = [float(part.std()) for part in decompose(*drawn)]
    population = pointwise[:3] + [Estimate(part, spread) for part, spread in zip(of_means, spreads, strict=True)]
    return Summary(dict(zip(QUANTITIES, pointwise, strict=True)), dict(zip(QUANTITIES, population, strict=True)), count)


def over_seeds(runs: Sequence[Mapping[str, Estimate]]) -> dict[str, SeedSpread]:
    """Mean and spread over seeds of each quantity: of the `pointwise` or `population` of their summaries."""
    found = {}
    for name in runs[0]:
        values = np.array([run[name].mean for run in runs])
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        found[name] = SeedSpread(float(values.mean()), spread, tuple(values.tolist()))
    return found


def equal_edges(variable: NDArray[np.floating], bins: int) -> Doubles:
    """Edges of at most `bins` bins of about equal numbers of galaxies; fewer where many share one value.

    Raises
    ------
    InputError
        If no value is finite.
    """
    finite = variable[np.isfinite(variable)].astype(np.float64)
    if not len(finite):
        raise InputError("a variable without any finite value has no bins", "choose another variable")
    edges: Doubles = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    return edges


def bin_numbers(variable: NDArray[np.floating], edges: Doubles) -> Bins:
    """Bin (N,) of each value, -1 outside or not finite; the last edge belongs to the last bin."""
    values = np.where(np.isfinite(variable), variable, np.inf).astype(np.float64)
    last = len(edges) - 2
    number = np.searchsorted(edges, values, side="right") - 1
    number[values == edges[-1]] = last
    return np.where((number >= 0) & (number <= last), number, -1)


def profile(variable: NDArray[np.floating], i1: Doubles, i2: Doubles, i12: Doubles, edges: Doubles) -> Profile:
    """Means of i1, i2, i12 (N,) and of their pointwise parts in bins of a variable (N,), such as mass or redshift.

    Parameters
    ----------
    variable : ndarray (N,)
    i1, i2, i12 : ndarray (N,)
    edges : ndarray (B + 1,)
        Rising, such as `equal_edges`.

    Returns
    -------
    Profile
        Of the galaxies that have all three and lie within the edges.
    """
    whole = np.isfinite(i1) & np.isfinite(i2) & np.isfinite(i12)
    number = np.where(whole, bin_numbers(variable, edges), -1)
    inside = number >= 0
    bins = number[inside]
    count = np.bincount(bins, minlength=len(edges) - 1).astype(np.int64)
    columns = dict(zip(QUANTITIES, (i1, i2, i12, *decompose(i1, i2, i12)), strict=True))
    mean, error = {}, {}
    for name, values in columns.items():
        mean[name], error[name] = _binned(values[inside], bins, count)
    return Profile(edges, count, _binned(variable[inside].astype(np.float64), bins, count)[0], mean, error)


def _binned(values: Doubles, bins: Bins, count: Bins) -> tuple[Doubles, Doubles]:
    """Mean (B,) and its standard error (B,) of the values in each bin."""
    nothing = np.full(len(count), np.nan)
    mean = np.divide(np.bincount(bins, values, len(count)), count, out=nothing.copy(), where=count > 0)
    squares = np.bincount(bins, np.square(values - mean[bins]), len(count))
    variance = np.divide(squares, (count - 1) * count, out=nothing, where=count > 1)
    return mean, np.sqrt(variance)
