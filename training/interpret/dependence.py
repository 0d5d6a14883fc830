"""Whether y = log M* depends on q in the neighbourhoods of a representation, from tests in all of them (models.md 2.4).

Two comparisons with a null. `compare` sets the tests against those of y permuted inside of each neighbourhood, as
published: it describes the distribution of r, but neighbourhoods overlap, so that its galaxies are not independent and
the probability of its Kolmogorov-Smirnov statistic is too small. `score` permutes y once for all neighbourhoods, so
that overlapping ones see the same permuted galaxies and the null fluctuates as the data do: its z and p are those of a
local permutation test (Kim et al. 2022, Ann. Statist. 50, 3388). Training galaxies exchange their y only inside of
small cells of s, or of s and c together, so that the permuted y depends on s and c as before and only its dependence
on q given them is gone.

What is tested is the dependence that is left given s, and with a condition given s and c. An s that is sufficient for y
given the inputs X closes every path from q to y that passes through X. Neighbourhoods have a width: dependence on s
that is left inside of them shows as dependence on q if q depends on s too. Cells are much smaller than neighbourhoods,
so that most of it is in the null as well, though not all: a large z is worth as much as its statistic exceeds the null.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from galcli.errors import InputError
from galcli.training.interpret.information import Bins, bin_numbers
from galcli.training.interpret.local_tests import Design, LocalTests
from galcli.training.interpret.neighbours import Doubles, Rows, gather

Mask = NDArray[np.bool_]

#: Members of a cell: this many to twice as many. Of n, one on average keeps its own y.
CELL = 4
#: Versions of y at a time, and galaxies at a time for them: with 100 neighbours, 10 MiB.
_TOGETHER, _GALAXIES = 26, 512


@dataclass(frozen=True)
class Comparison:
    """Tests of many galaxies against those of y permuted inside of each neighbourhood.

    Attributes
    ----------
    galaxies : int
        Those with a test. With fewer than 2, the rest is NaN.
    median_r, median_r_permuted : float
        Of |r|.
    spread_ratio : float
        Standard deviation of r over that of the permuted ones: above 1 where dependence differs between galaxies, below
        1 where it is strong and the same in all of them, so that alone it tells neither.
    ks, ks_p : float
        Kolmogorov-Smirnov statistic of the two distributions of r, and its probability *as if* all galaxies were
        independent, which they are not: far too small, to be read as a rank only.
    efficiency, efficiency_excess : float
        Mean predictive efficiency, and that less the permuted one.
    """

    galaxies: int
    median_r: float
    median_r_permuted: float
    spread_ratio: float
    ks: float
    ks_p: float
    efficiency: float
    efficiency_excess: float


@dataclass(frozen=True)
class Score:
    """A statistic against its null of permutations shared by all neighbourhoods.

    Attributes
    ----------
    statistic : float
        Mean over galaxies of r squared, or of the predictive efficiency.
    null_mean, null_spread : float
        Of the same with permuted y.
    z : float
        (statistic - null mean) / null spread.
    p : float
        (1 + permutations that reach the statistic) / (1 + permutations).
    """

    statistic: float
    null_mean: float
    null_spread: float
    z: float
    p: float


@dataclass(frozen=True)
class Dependence:
    """Scores of one q, perhaps given one c, over some galaxies.

    Attributes
    ----------
    galaxies : int
        Those with a test. Without any, the scores are NaN.
    r, efficiency : Score
        Of r squared, which sees straight dependence of either sign, and of predictive efficiency, which sees
        quadratic dependence too, at the price of more noise.
    """

    galaxies: int
    r: Score
    efficiency: Score


def compare(tests: LocalTests, inside: Mask | None = None) -> Comparison:
    """Compare tests of N galaxies, or of those `inside` (N,), with their permuted ones."""
    valid = np.isfinite(tests.r) & (True if inside is None else inside)
    number = int(valid.sum())
    permuted = tests.r_permuted[valid]
    permuted = permuted[np.isfinite(permuted)]
    if min(number, len(permuted)) < 2:
        return Comparison(number, *[float("nan")] * 7)
    r, efficiency = tests.r[valid], float(tests.efficiency[valid].mean())
    spread = permuted.std()
    found = ks_2samp(r, permuted, method="asymp")
    return Comparison(
        number, float(np.median(np.abs(r))), float(np.median(np.abs(permuted))),
        float(r.std() / spread) if spread > 0 else float("nan"), float(found.statistic), float(found.pvalue),
        efficiency, efficiency - float(np.nanmean(tests.efficiency_permuted[valid])),
    )  # fmt: skip


def score(
    rows: Rows,
    s: NDArray[np.floating],
    y: Doubles,
    q: Doubles,
    c: Doubles | None = None,
    *,
    groups: Mask | None = None,
    permutations: int = 200,
    generator: np.random.Generator,
) -> list[Dependence]:
    """Test y against q given s, or given s and c, over galaxies by permutations shared by all neighbourhoods.

    Parameters
    ----------
    rows : ndarray (N, k), int64
        Nearest training rows of each galaxy, -1 where there are fewer (`neighbours.nearest`).
    s : ndarray (T, m)
        Latents of the training galaxies.
    y, q, c : ndarray (T,)
        Of the training galaxies; not finite = missing.
    groups : ndarray (G, N), bool, optional
        Galaxies to take together, such as `strata`; by default all of them are the only group.
    permutations : int
        p is never below 1 / (1 + permutations).
    generator : numpy.random.Generator

    Returns
    -------
    list of Dependence
        One per group.

    Raises
    ------
    InputError
        If fewer than 2 cells of training galaxies have all of s, y, q, c.
    """
    order, cell = _exchangeable(s, y, q, c)
    data = np.full(len(y), np.nan)
    data[order] = y[order]
    members = np.ones((1, len(rows)), bool) if groups is None else groups
    sums, counts = np.empty((2, 2, len(members), 1 + permutations))
    for first in range(0, 1 + permutations, _TOGETHER):
        part = slice(first, min(first + _TOGETHER, 1 + permutations))
        versions = np.repeat(data[:, None], part.stop - first, 1)
        for column in range(0 if first else 1, versions.shape[1]):  # the very first are the data
            versions[order, column] = y[order[(cell + generator.random(len(cell))).argsort()]]
        sums[..., part], counts[..., part] = _sums(rows, data, versions, q, c, members)
    return [_dependence(sums[:, g], counts[:, g]) for g in range(len(members))]


def strata(variable: NDArray[np.floating], edges: Doubles) -> Mask:
    """Galaxies (B, N) in each bin of a variable (N,), such as mass or redshift; edges (B + 1,)."""
    found: Mask = bin_numbers(variable, edges) == np.arange(len(edges) - 1)[:, None]
    return found


def cells(points: Doubles) -> tuple[Rows, Bins]:
    """Cut points (T, d) into cells of `CELL` to 2 `CELL` by halves, always across the widest direction.

    Returns
    -------
    order : ndarray (T,), int64
        Rows of the points, cell by cell.
    cell : ndarray (T,), int64
        Cell of each of `order`, from 0 on.
    """
    count = len(points)
    order, edges = np.arange(count), np.array([0, count])
    while np.diff(edges).min() >= 2 * CELL:
        cell = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        placed = points[order]
        width = np.maximum.reduceat(placed, edges[:-1]) - np.minimum.reduceat(placed, edges[:-1])
        along = placed[np.arange(count), width.argmax(1)[cell]]
        order = order[np.lexsort((order, along, cell))]
        edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) // 2]))
    return order, np.repeat(np.arange(len(edges) - 1), np.diff(edges))


def _exchangeable(s: NDArray[np.floating], y: Doubles, q: Doubles, c: Doubles | None) -> tuple[Rows, Bins]:
    """Training rows with all of s, y, q, c, cell by cell, and their cells."""
    known = [y, q, *s.T] if c is None else [y, q, *s.T, c]
    usable = np.flatnonzero(np.isfinite(np.stack(known)).all(0))
    if len(usable) < 2 * CELL:
        raise InputError(
            f"{len(usable)} training galaxies with all of s, y, q, c cannot be permuted",
            f"{2 * CELL} or more are needed",
        )
    where = s[usable].astype(np.float64)
    if c is not None:
        given = c[usable].astype(np.float64)
        given -= given[0]
        # As wide as the widest latent: a condition is matched as closely as what matters most in s.
        where = np.column_stack([where, given * ((where.std(0).max() or 1.0) / (given.std() or 1.0))])
    order, cell = cells(where)
    return usable[order], cell


def _sums(
    rows: Rows, data: Doubles, versions: Doubles, q: Doubles, c: Doubles | None, groups: Mask
) -> tuple[Doubles, Doubles]:
    """Sums and numbers (2, G, V) of r squared and efficiency over each group, for versions (T, V) of y.

    Only galaxies that have a test with the data count in any.
    """
    total, number = np.zeros((2, 2, len(groups), versions.shape[1]))
    for start in range(0, len(rows), _GALAXIES):
        near = rows[start : start + _GALAXIES]
        y = gather(data, near)
        design = Design(gather(q, near), None if c is None else gather(c, near), np.isfinite(y))
        tested = np.isfinite(design.tests(y[:, None])[0][:, 0])
        weight = (groups[:, start : start + _GALAXIES] & tested).astype(np.float64)
        r, efficiency = design.tests(versions[near].transpose(0, 2, 1))
        for k, values in enumerate((np.square(r), efficiency)):
            total[k] += weight @ np.where(np.isfinite(values), values, 0.0)
            number[k] += weight @ np.isfinite(values)
    return total, number


def _dependence(sums: Doubles, counts: Doubles) -> Dependence:
    """Scores of one group from sums and numbers (2, V) of r squared and efficiency."""
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return Dependence(int(counts[0, 0]), _score(means[0]), _score(means[1]))


def _score(values: Doubles) -> Score:
    """Score of the first of V values against the others; NaN among those: no galaxy has a test."""
    statistic, null = values[0], values[1:]
    if not np.isfinite(values).all() or len(null) < 2:
        return Score(float(statistic), *[float("nan")] * 4)
    mean, spread = null.mean(), null.std(ddof=1)
    z = (statistic - mean) / spread if spread > 0 else np.nan
    p = (1 + (null >= statistic).sum()) / (1 + len(null))
    return Score(float(statistic), float(mean), float(spread), float(z), float(p))
