"""Criteria of experiments: a figure of every seed, held against a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from galcli.training.experiments.statistics import Claim, Difference, Mean, mean_over_seeds


@dataclass(frozen=True)
class StandIn(Claim):
    """A statement on something else than the paper's, tried in its place."""


@dataclass(frozen=True)
class Bound(Difference):
    """A figure that should lie beyond a bound; ``gain`` is how far it does.

    Attributes
    ----------
    figure : Mean
        What was measured.
    bound : str
        Such as ``≥ 0.99``.
    """

    figure: Mean
    bound: str


def at_least(name: str, values: Sequence[float], bound: float) -> Bound:
    """A figure that should be above a bound.

    Parameters
    ----------
    name : str
    values : sequence of float
        One per seed.
    bound : float
    """
    return Bound(name, mean_over_seeds([one - bound for one in values]), mean_over_seeds(values), f"≥ {bound:g}")


def at_most(name: str, values: Sequence[float], bound: float) -> Bound:
    """A figure that should be below a bound; see `at_least`."""
    return Bound(name, mean_over_seeds([bound - one for one in values]), mean_over_seeds(values), f"≤ {bound:g}")


def criterion(difference: Difference) -> tuple[str, str]:
    """What is asked and what was found, in words.

    Parameters
    ----------
    difference : Difference
        A `Bound`, or a plain comparison, which should be positive.

    Returns
    -------
    asked, found : str
        Such as ``≥ 0.99`` and ``0.9987 ± 0.0002``.
    """
    if isinstance(difference, Bound):
        return difference.bound, words(difference.figure)
    return "> 0", words(difference.gain, sign=True)


def words(mean: Mean, sign: bool = False) -> str:
    """A mean with its error, to two digits of the error."""
    plus = "+" if sign else ""
    if not mean.error:
        return f"{mean.value:{plus}.4g}" + ("" if mean.error is None else " ± 0")
    last = math.floor(math.log10(mean.error))
    if last < -5:
        digits = math.floor(math.log10(abs(mean.value))) - last + 1 if mean.value else 1
        return f"{mean.value:{plus}.{max(digits, 1)}g} ± {mean.error:.1g}"
    return f"{mean.value:{plus}.{max(1 - last, 0)}f} ± {mean.error:.{max(1 - last, 0)}f}"
