"""Every query against the mass, without and with each condition, over all galaxies and in strata (models.md 2.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from galcli import interrupts
from galcli.errors import InputError
from galcli.progress import Progress
from galcli.training.interpret.causal_seen import Sample
from galcli.training.interpret.causal_variables import Variable
from galcli.training.interpret.dependence import Comparison, Dependence, Score, compare, score, strata
from galcli.training.interpret.information import equal_edges
from galcli.training.interpret.local_tests import LocalTests, local_tests
from galcli.training.interpret.neighbours import gather
from galcli.training.recipes.mass_plan import REDSHIFT

Doubles = NDArray[np.float64]
#: What strata are of, their number, and the word for all galaxies.
MASS, BINS, ALL = "LOGM", 4, "all"
#: Expected part of false ones among those that are called significant.
LEVEL = 0.05
#: Permutations inside of each neighbourhood, as published one; the others are shared by all neighbourhoods.
_LOCAL = 1


@dataclass(frozen=True)
class Stratum:
    """Galaxies in a range of a variable.

    Attributes
    ----------
    variable : str
        `ALL`, `MASS` or the redshift.
    low, high : float
        NaN for all.
    """

    variable: str = ALL
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Line:
    """Statistics of one query and condition in one stratum.

    Attributes
    ----------
    stratum : Stratum
    r_median : float
        Of r with its sign; NaN without a test.
    members : float
        Mean number of neighbours with all values.
    comparison : Comparison
        With y permuted inside of each neighbourhood.
    dependence : Dependence
        With permutations shared by all neighbourhoods.
    """

    stratum: Stratum
    r_median: float
    members: float
    comparison: Comparison
    dependence: Dependence


@dataclass(frozen=True)
class Result:
    """One query and condition.

    Attributes
    ----------
    query : Variable
    condition : Variable or None
    tests : LocalTests
        Of each tested galaxy.
    lines : tuple of Line
        All galaxies, then the strata.
    p_r, p_efficiency : float
        p of both scores over all galaxies, corrected for all pairs and both scores (Benjamini and Hochberg 1995).
    """

    query: Variable
    condition: Variable | None
    tests: LocalTests
    lines: tuple[Line, ...]
    p_r: float = float("nan")
    p_efficiency: float = float("nan")

    @property
    def whole(self) -> Line:
        """Over all galaxies."""
        return self.lines[0]

    @property
    def depends(self) -> bool:
        """Whether either score is significant."""
        return self.p_r <= LEVEL or self.p_efficiency <= LEVEL


def excess(one: Score) -> float:
    """What a statistic has above its null."""
    return one.statistic - one.null_mean


def permutations_for(pairs: int) -> int:
    """Permutations with which one score can be significant where so many pairs have two scores each."""
    return math.ceil(2 * pairs / LEVEL) - 1


def measure(sample: Sample, permutations: int, seed: int, progress: Progress) -> list[Result]:
    """Test all pairs of a sample.

    Parameters
    ----------
    sample : Sample
    permutations : int
    seed : int
        Of permutations: each pair has its own, whatever other pairs there are.
    progress : Progress

    Raises
    ------
    Interrupted
        After a signal.
    """
    parts, groups = _groups(sample)
    mass, tested = sample.mass, []
    progress.start(len(sample.choice.pairs) * len(sample.tested), 0)
    for query, condition in sample.choice.pairs:
        interrupts.check()
        q = sample.pooled(query)
        c = None if condition is None else sample.pooled(condition)
        random = np.random.default_rng([seed, *f"{query.name}|{condition.name if condition else ''}".encode()])
        near = sample.near
        tests = local_tests(
            gather(mass, near), gather(q, near), None if c is None else gather(c, near), permutations=_LOCAL,
            generator=random,
        )  # fmt: skip
        scores = _score(sample, q, c, groups, permutations, random)
        lines = [_line(*told, tests) for told in zip(parts, groups, scores, strict=True)]
        tested.append(Result(query, condition, tests, tuple(lines)))
        progress.advance(len(sample.tested))
    progress.finish()
    return _corrected(tested)


def measure_latents(sample: Sample, permutations: int, seed: int) -> list[Dependence]:
    """Each latent of s as if it were a query: what of the dependence on s is left inside of neighbourhoods."""
    groups = np.ones((1, len(sample.tested)), np.bool_)
    found = []
    for number, latent in enumerate(sample.s.T.astype(np.float64)):
        interrupts.check()
        found += _score(sample, latent, None, groups, permutations, np.random.default_rng([seed, number]))
    return found


def adjust(p: Sequence[float]) -> list[float]:
    """Correct p for their number, so that at most `LEVEL` of those below it are expected to be false; NaN stays."""
    given = np.array(p, np.float64)
    known = np.isfinite(given)
    if known.any():
        given[known] = false_discovery_control(given[known], method="bh")
    return [float(one) for one in given]


def _groups(sample: Sample) -> tuple[list[Stratum], NDArray[np.bool_]]:
    """All galaxies, and those in each bin of mass and redshift."""
    parts, groups = [Stratum()], [np.ones((1, len(sample.tested)), np.bool_)]
    variables = {MASS: sample.galaxies.target[sample.tested], REDSHIFT: sample.redshift}
    for name, values in variables.items():
        if values is None:
            continue
        edges = equal_edges(values, BINS)
        parts += [Stratum(name, float(low), float(high)) for low, high in pairwise(edges)]
        groups.append(strata(values, edges))
    return parts, np.concatenate(groups)


def _score(
    sample: Sample, q: Doubles, c: Doubles | None, groups: NDArray[np.bool_], permutations: int,
    random: np.random.Generator,
) -> list[Dependence]:  # fmt: skip
    try:
        return score(
            sample.near, sample.s, sample.mass, q, c, groups=groups, permutations=permutations, generator=random
        )
    except InputError:  # next to no galaxy has a value: that is told as no galaxy tested
        nothing = Score(*[float("nan")] * 5)
        return [Dependence(0, nothing, nothing)] * len(groups)


def _line(stratum: Stratum, inside: NDArray[np.bool_], scores: Dependence, tests: LocalTests) -> Line:
    known = np.isfinite(tests.r) & inside
    median = float(np.median(tests.r[known])) if known.any() else float("nan")
    members = float(tests.members[inside].mean()) if inside.any() else 0.0
    return Line(stratum, median, members, compare(tests, inside), scores)


def _corrected(tested: Sequence[Result]) -> list[Result]:
    """The same, with corrected p."""
    scores = [one.whole.dependence for one in tested]
    p = adjust([each.r.p for each in scores] + [each.efficiency.p for each in scores])
    return [
        Result(one.query, one.condition, one.tests, one.lines, first, second)
        for one, first, second in zip(tested, p[: len(tested)], p[len(tested) :], strict=True)
    ]
