"""Repeats over seeds: means with their errors, differences seed by seed, and whether they bear a claim out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

#: Chance that a claim holds, and that one fails, where nothing differs but the seeds: at most this each.
CHANCE = 0.05

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes
    ----------
    value : float
    error : float or None
        Standard error of the mean, from the scatter between seeds; None of a single seed.
    seeds : int
    """

    value: float
    error: float | None
    seeds: int

    def verdict(self, comparisons: int = 1) -> Verdict:
        """Whether the value is above 0 (holds) or below (fails), by Student's t over the seeds.

        Parameters
        ----------
        comparisons : int
            Of the claim. It needs all of them to hold, but one to fail: that each does by chance must be rarer.
        """
        if self.error is None:
            return "undecided"
        above, below = (-float(stdtrit(self.seeds - 1, chance)) for chance in (CHANCE, CHANCE / comparisons))
        if self.value > above * self.error:
            return "holds"
        return "fails" if self.value < -below * self.error else "undecided"

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """Value and error, such as ``0.711 ± 0.004``."""
        value = f"{self.value:{'+' if sign else ''}.{digits}f}"
        return value if self.error is None else f"{value} ± {self.error:.{digits}f}"


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Mean and standard error of the mean (of the sample's standard deviation, n - 1).

    Parameters
    ----------
    values : sequence of float
        One per seed, at least one.
    """
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return Mean(float(np.mean(values)), error, len(values))


@dataclass(frozen=True)
class Difference:
    """One comparison of a claim.

    Attributes
    ----------
    name : str
        What is compared.
    gain : Mean
        Positive where the claim is right; its error is that of the differences seed by seed.
    """

    name: str
    gain: Mean


def compare(name: str, better: Sequence[float], worse: Sequence[float]) -> Difference:
    """Compare losses, of which the first should be smaller.

    Parameters
    ----------
    name : str
    better, worse : sequence of float
        Of the same seeds in the same order.
    """
    return Difference(name, mean_over_seeds([high - low for low, high in zip(better, worse, strict=True)]))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and the comparisons that it stands on.

    Attributes
    ----------
    statement : str
    differences : tuple of Difference
    """

    statement: str
    differences: tuple[Difference, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each comparison."""
        return tuple(difference.gain.verdict(len(self.differences)) for difference in self.differences)

    @property
    def verdict(self) -> Verdict:
        """Fails with any of its comparisons, holds with all of them."""
        found = set(self.verdicts)
        if "fails" in found:
            return "fails"
        return "holds" if found == {"holds"} else "undecided"
