"""What networks say, as the decomposition of each pair's information over seeds (models.md 2.5). Everything in nat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.training.interpret.information import (
    QUANTITIES,
    Estimate,
    Prior,
    Profile,
    empirical_prior,
    equal_edges,
    over_seeds,
    profile,
    summary,
)
from galcli.training.interpret.information_pairs import Pair
from galcli.training.recipes.mass_data import TEST, TRAIN, Galaxies
from galcli.training.recipes.mass_plan import REDSHIFT
from galcli.training.recipes.mass_posterior import bins_of

Doubles = NDArray[np.float64]
#: Rules of decomposition, in the order of tables and charts.
RULES = ("pointwise", "population")
#: What profiles are over, and their bins.
MASS = "LOGM"
BINS = 8


@dataclass(frozen=True)
class Quantity:
    """A mean over galaxies and seeds.

    Attributes
    ----------
    mean : float
    error : float
        Standard error over the galaxies, those of the seeds averaged: all seeds see the same galaxies.
    spread : float
        Standard deviation over the seeds; NaN for a single one.
    values : tuple of float
        Of each seed.
    """

    mean: float
    error: float
    spread: float
    values: tuple[float, ...]

    @property
    def bar(self) -> float:
        """Error and spread together."""
        return float(np.hypot(self.error, np.nan_to_num(self.spread)))

    @property
    def surely_negative(self) -> bool:
        """Whether it is below 0 by more than two bars."""
        return self.mean + 2 * self.bar < 0

    def told(self) -> dict[str, Any]:
        """JSON-able form."""
        spread = self.spread if np.isfinite(self.spread) else None
        return {"mean": self.mean, "error": self.error, "spread": spread, "seeds": list(self.values)}


@dataclass(frozen=True)
class Sample:
    """Test galaxies.

    Attributes
    ----------
    rows : ndarray (N,), int64
        Among all galaxies.
    bins : ndarray (N,), int64
        Of their masses.
    prior : Prior
        Of the training galaxies.
    variables : dict of str to ndarray (N,)
        What profiles are over: `MASS`, and redshift where it is known.
    """

    rows: NDArray[np.int64]
    bins: NDArray[np.int64]
    prior: Prior
    variables: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Decomposed:
    """One pair.

    Attributes
    ----------
    pair : Pair
    rules : dict of str to dict of str to Quantity
        `QUANTITIES` by each of `RULES`.
    profiles : dict of str to Profile
        Over each variable of the sample, means over the seeds.
    each : ndarray (3, N)
        i1, i2, i12 of each galaxy, means over the seeds.
    """

    pair: Pair
    rules: dict[str, dict[str, Quantity]]
    profiles: dict[str, Profile]
    each: Doubles

    @property
    def weak(self) -> bool:
        """Whether the network of both inputs surely knows less than that of one: no information, but a bad network."""
        return self.rules["population"]["S"].surely_negative

    @property
    def unlearned(self) -> bool:
        """Whether some network surely knows less than the distribution of all masses tells."""
        return any(self.rules["population"][name].surely_negative for name in QUANTITIES[:3])


def sample_of(galaxies: Galaxies) -> Sample:
    """Test galaxies of a set.

    Raises
    ------
    InputError
        If there are fewer than 2.
    """
    rows = galaxies.rows(TEST)
    if len(rows) < 2:
        raise InputError(f"{len(rows)} test galaxies give no mean information", "give more galaxies")
    prior = empirical_prior(bins_of(galaxies.target[galaxies.rows(TRAIN)]))
    variables = {MASS: galaxies.target[rows]}
    redshift = galaxies.columns.get(REDSHIFT)
    if redshift is not None and np.isfinite(redshift[rows]).any():
        variables[REDSHIFT] = redshift[rows]
    return Sample(rows, bins_of(galaxies.target[rows]), prior, variables)


def decompose_pair(pair: Pair, said: Sequence[tuple[Doubles, Doubles, Doubles]], sample: Sample) -> Decomposed:
    """Decompose the information of a pair.

    Parameters
    ----------
    pair : Pair
    said : sequence of (ndarray, ndarray, ndarray), each (N,)
        Of each seed, ln of the posterior at the true bin from the first input, the second, and both.
    sample : Sample
    """
    surprise = sample.prior.surprise(sample.bins)
    runs = [tuple(surprise + log_p for log_p in three) for three in said]
    # Draws of the same numbers for every pair and seed: their noise does not tell pairs apart.
    summaries = [summary(i1, i2, i12, np.random.default_rng(0)) for i1, i2, i12 in runs]
    rules = {"pointwise": _over([one.pointwise for one in summaries]),
             "population": _over([one.population for one in summaries])}  # fmt: skip
    profiles = {}
    for name, values in sample.variables.items():
        edges = equal_edges(values, BINS)
        profiles[name] = _averaged([profile(values, i1, i2, i12, edges) for i1, i2, i12 in runs])
    return Decomposed(pair, rules, profiles, np.mean(runs, 0))


def _over(runs: Sequence[Mapping[str, Estimate]]) -> dict[str, Quantity]:
    found = over_seeds(runs)
    return {
        name: Quantity(
            found[name].mean, float(np.mean([run[name].error for run in runs])), found[name].spread, found[name].values
        )
        for name in QUANTITIES
    }


def _averaged(profiles: Sequence[Profile]) -> Profile:
    """Means over seeds, which see the same galaxies: their errors are averaged too."""
    mean = {name: np.mean([one.mean[name] for one in profiles], 0) for name in QUANTITIES}
    error = {name: np.mean([one.error[name] for one in profiles], 0) for name in QUANTITIES}
    return replace(profiles[0], mean=mean, error=error)
