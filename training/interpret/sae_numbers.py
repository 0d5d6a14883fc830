"""How concepts of a sparse autoencoder are used, with what they go, and which of them go together: numbers of galaxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Whole = NDArray[np.int64]

#: Part of a galaxy's energy above which a concept is used by it (models.md 4.3, experiment 7).
USED = 0.01
#: Galaxies in which a concept, or a feature, must be active for a correlation to be told.
FEWEST = 5
#: Shuffles of the galaxies that tell what chance gives.
SHUFFLES = 20
#: Chance, with all tests counted, below which a correlation is called significant.
CHANCE = 0.01
#: Galaxies, and concepts, that are worked on at once.
_ROWS, _BLOCK = 1024, 256


@dataclass(frozen=True)
class Usage:
    """How a sample uses each of p concepts.

    Attributes
    ----------
    objects : int
        Galaxies.
    active : ndarray (p,)
        Part of the galaxies in which the concept is active at all.
    used : ndarray (p,)
        Part of the galaxies of whose energy it holds more than `USED`.
    strength : ndarray (p,)
        Mean root mean square of its map, where it is active; 0 where it never is.
    energy : ndarray (p,)
        Sum over the galaxies of the squares of the strengths.
    share : ndarray (p,)
        Mean part of a galaxy's energy.
    """

    objects: int
    active: Floats
    used: Floats
    strength: Floats
    energy: Floats
    share: Floats

    @property
    def alive(self) -> Whole:
        """Concepts that are active in some galaxy, those that hold most of the energy first."""
        order: Whole = np.argsort(-self.share, kind="stable")
        return order[self.active[order] > 0]


def shares(strength: Singles) -> Iterator[tuple[Floats, Floats]]:
    """Strengths (n, p) and shares of the energy of galaxies, some at a time; no share is told of galaxies without any."""
    for first in range(0, len(strength), _ROWS):
        part = strength[first : first + _ROWS].astype(np.float64)
        energy = part**2
        whole = energy.sum(1, keepdims=True)
        yield part, np.divide(energy, whole, out=np.zeros_like(energy), where=whole > 0)


def usage(strength: Singles) -> Usage:
    """How concepts are used.

    Parameters
    ----------
    strength : ndarray (N, p), float32
        Root mean square of each concept's map.
    """
    count, concepts = strength.shape
    active, used, total, energy, share = (np.zeros(concepts) for _ in range(5))
    for part, parts in shares(strength):
        active += (part > 0).sum(0)
        used += (parts > USED).sum(0)
        total += part.sum(0)
        energy += (part**2).sum(0)
        share += parts.sum(0)
    mean = np.divide(total, active, out=np.zeros(concepts), where=active > 0)
    objects = max(count, 1)
    return Usage(count, active / objects, used / objects, mean, energy, share / objects)


@dataclass(frozen=True)
class Places:
    """Where p concepts sit: means over the galaxies that list them; NaN where none does.

    Attributes
    ----------
    offset : ndarray (p,)
        Mean distance of the centroid from the object, arcsec.
    size : ndarray (p,)
        Mean of the root mean square distance from that centroid, arcsec.
    """

    offset: Floats
    size: Floats


def places(index: Whole, east: Singles, north: Singles, size: Singles, concepts: int) -> Places:
    """Means over what galaxies list.

    Parameters
    ----------
    index : ndarray (N, K)
        Concepts; negative: none.
    east, north, size : ndarray (N, K)
        As SAE_DX, SAE_DY and SAE_SIZE; NaN where unknown.
    concepts : int
        p.
    """
    found = []
    for values in (np.hypot(east.astype(np.float64), north), size.astype(np.float64)):
        known = (index >= 0) & np.isfinite(values)
        count = np.bincount(index[known], minlength=concepts)
        total = np.bincount(index[known], values[known], minlength=concepts)
        found.append(np.divide(total, count, out=np.full(concepts, np.nan), where=count > 0))
    return Places(*found)


@dataclass(frozen=True)
class Correlations:
    """Of the strengths of p concepts with c columns.

    Attributes
    ----------
    names : list of str
        Columns.
    objects : ndarray (c,)
        Galaxies with a value.
    pearson, spearman : ndarray (p, c)
        NaN where the concept is active in fewer than `FEWEST` of these galaxies.
    chance : ndarray (p, c)
        Probability that galaxies at random go as well with the column, times the number of concepts and columns tried
        (Bonferroni), 1 at most: of the rank correlation by Student's t; for columns of two values of how many galaxies of
        one of them have the concept, by the hypergeometric distribution (Fisher's exact test).
    """

    names: list[str]
    objects: Whole
    pearson: Floats
    spearman: Floats
    chance: Floats

    def best(self, concept: int, count: int) -> Whole:
        """Its columns with the strongest rank correlations."""
        strong = np.nan_to_num(np.abs(self.spearman[concept]), nan=-1.0)
        order = np.argsort(-strong, kind="stable")[:count]
        found: Whole = order[strong[order] >= 0]
        return found


def correlate(strength: Singles, columns: Mapping[str, Floats]) -> Correlations:
    """Correlations of concepts with columns of a catalogue.

    Parameters
    ----------
    strength : ndarray (N, p), float32
    columns : mapping of str to ndarray (N,)
        NaN where unknown.
    """
    names, concepts = list(columns), strength.shape[1]
    pearson, spearman, chance = (np.full((concepts, len(names)), np.nan) for _ in range(3))
    objects = np.array([np.isfinite(columns[name]).sum() for name in names], np.int64)
    alike: dict[bytes, list[int]] = {}  # columns that know the same galaxies share the ranks of concepts
    for place, name in enumerate(names):
        alike.setdefault(np.isfinite(columns[name]).tobytes(), []).append(place)
    for mask, group in alike.items():
        known = np.frombuffer(mask, np.bool_)
        values = np.stack([columns[names[place]][known] for place in group], 1)
        ranks = stats.rankdata(values, axis=0)
        upper = values == values.max(0)
        two = np.flatnonzero((upper | (values == values.min(0))).all(0))
        for first in range(0, concepts, _BLOCK):
            block = slice(first, first + _BLOCK)
            part = strength[known, block].astype(np.float64)
            few = (part > 0).sum(0) < FEWEST
            for table, mine, theirs in (
                (pearson, part, values),
                (spearman, stats.rankdata(part, axis=0), ranks),
            ):
                found = products(unit(mine), unit(theirs))
                found[few] = np.nan
                table[block, group] = found
            chance[block, group] = _student(spearman[block, group], len(values))
            chance[block, np.array(group)[two]] = _fisher(part > np.median(part, 0), upper[:, two])
    tries = np.isfinite(spearman)
    chance = np.where(tries, np.minimum(chance * max(1, tries.sum()), 1), np.nan)
    return Correlations(names, objects, pearson, spearman, chance)


def unit(values: Floats) -> Floats:
    """Columns (N, c) about their means, of norm 1; NaN where they do not vary."""
    about = values - values.mean(0)
    norm = np.sqrt((about**2).sum(0))
    steady = norm <= 1e-12 * np.sqrt((values**2).sum(0))
    found: Floats = about / np.where(steady, np.nan, norm)
    return found


def products(first: Floats, second: Floats) -> Floats:
    """Correlations (a, b) of columns of `unit`."""
    found: Floats = np.clip(first.T @ second, -1, 1)
    return found


def _student(r: Floats, objects: int) -> Floats:
    """Probability of a rank correlation as strong by chance, by Student's t."""
    freedom = max(objects - 2, 1)
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt(freedom / (1 - r**2))
    found: Floats = 2 * stats.t.sf(t, freedom)
    return found


def _fisher(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Floats:
    """Twice the probability that as many galaxies, or as few, have both by chance, 1 at most.

    Student's t does not hold here: one galaxy in which a rare concept meets a rare class makes a large correlation.

    Parameters
    ----------
    first : ndarray (N, a)
        Whether a concept is active; where most galaxies have it, whether it is above its median.
    second : ndarray (N, b)
        Whether a galaxy is of a class.

    Returns
    -------
    ndarray (a, b)
    """
    count = len(first)
    both = np.rint(first.T.astype(np.float64) @ second)
    mine, theirs = np.broadcast_arrays(first.sum(0)[:, None], second.sum(0))
    many = both * count >= mine * theirs.astype(np.float64)
    found = np.empty(both.shape)
    found[many] = stats.hypergeom.sf(both[many] - 1, count, mine[many], theirs[many])
    found[~many] = stats.hypergeom.cdf(both[~many], count, mine[~many], theirs[~many])
    return np.minimum(2 * found, 1)


@dataclass(frozen=True)
class Matches:
    """Which feature of another network each of p concepts goes with.

    Attributes
    ----------
    r : ndarray (p, F), float32
        Pearson's correlation of strength with activation; NaN where one of the two is active in too few galaxies.
    feature : ndarray (p,)
        The one with the largest absolute r; -1: none.
    best : ndarray (p,)
        r there; NaN where there is none.
    null : ndarray (p,)
        Largest absolute r in any of `SHUFFLES` shuffles of the galaxies: chance beats it once in `SHUFFLES` + 1.
    """

    r: Singles
    feature: Whole
    best: Floats
    null: Floats

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """Concepts whose match is stronger than all that chance gave."""
        found: NDArray[np.bool_] = np.abs(np.nan_to_num(self.best)) > np.nan_to_num(self.null, nan=np.inf)
        return found


def match(strength: Singles, activation: Singles, seed: int = 0) -> Matches:
    """Match concepts with features.

    Parameters
    ----------
    strength : ndarray (N, p)
    activation : ndarray (N, F)
        0 where the feature is not active.
    seed : int
        Of the shuffles.
    """
    draw = np.random.default_rng(seed)
    concepts, features = strength.shape[1], activation.shape[1]
    kept = np.flatnonzero((activation > 0).sum(0) >= FEWEST)
    theirs = unit(activation[:, kept].astype(np.float64)).astype(np.float32) if len(kept) else activation[:, kept]
    orders = [draw.permutation(len(strength)) for _ in range(SHUFFLES)]
    r = np.full((concepts, features), np.nan, np.float32)
    null = np.full(concepts, np.nan)
    for first in range(0, concepts, _BLOCK):
        part = strength[:, first : first + _BLOCK]
        enough = np.flatnonzero((part > 0).sum(0) >= FEWEST)
        if not len(enough) or not len(kept):
            continue
        mine = unit(part[:, enough].astype(np.float64)).astype(np.float32)
        r[np.ix_(first + enough, kept)] = mine.T @ theirs
        chance = [np.nan_to_num(np.abs(mine[order].T @ theirs)).max(1) for order in orders]
        null[first + enough] = np.max(chance, 0)
    strong = np.nan_to_num(np.abs(r), nan=-1.0)
    feature = strong.argmax(1) if features else np.zeros(concepts, np.int64)
    some = strong.max(1, initial=-1) >= 0
    best = r[np.arange(concepts), feature].astype(np.float64) if features else np.full(concepts, np.nan)
    return Matches(r, np.where(some, feature, -1), best, null)


@dataclass(frozen=True)
class Together:
    """Which concepts are used by the same galaxies: which hold more than `USED` of their energy.

    Attributes
    ----------
    concepts : ndarray (n,)
        Those looked at.
    phi : ndarray (n, n)
        Correlation of being used (phi coefficient); NaN where one is used by all or none.
    lift : ndarray (n, n)
        How much more often both are used by a galaxy than by chance.
    edges : list of (int, int)
        Pairs of places with more than chance gives, strongest first.
    """

    concepts: Whole
    phi: Floats
    lift: Floats
    edges: list[tuple[int, int]]

    def closest(self, count: int) -> list[tuple[int, int]]:
        """The edges that are among the strongest ones, ``count`` at most, of one of their ends."""
        seen = np.zeros(len(self.concepts), np.int64)
        kept = []
        for first, second in self.edges:
            if min(seen[first], seen[second]) < count:
                kept.append((first, second))
            seen[[first, second]] += 1
        return kept


def together(strength: Singles, concepts: Whole) -> Together:
    """Co-activation of some concepts.

    A pair is joined where galaxies at random give so many that use both with a probability below `CHANCE` (hypergeometric
    distribution, all pairs counted).

    Parameters
    ----------
    strength : ndarray (N, p)
    concepts : ndarray (n,)
    """
    used = np.concatenate([(parts > USED)[:, concepts] for _, parts in shares(strength)]).astype(np.float32)
    count, often = len(used), used.mean(0, dtype=np.float64)
    both = (used.T @ used).astype(np.float64) / count
    chance = np.outer(often, often)
    spread = np.sqrt(often * (1 - often))
    spread = np.where(spread > 0, spread, np.nan)
    phi = np.clip((both - chance) / np.outer(spread, spread), -1, 1)
    lift = np.divide(both, chance, out=np.full_like(both, np.nan), where=chance > 0)
    first, second = np.triu_indices(len(concepts), 1)
    values = phi[first, second]
    times, number = np.rint(count * both[first, second]), np.rint(count * often)
    odds = stats.hypergeom.sf(times - 1, count, number[first], number[second])
    joined = (values > 0) & (odds * len(values) < CHANCE)
    order = np.argsort(-np.where(joined, values, -1), kind="stable")[: joined.sum()]
    return Together(concepts, phi, lift, [(int(first[i]), int(second[i])) for i in order])
