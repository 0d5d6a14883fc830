"""An independent look at the same galaxies: the PC algorithm with a kernel test of independence, by causal-learn.

PC (Spirtes, Glymour and Scheines 2000) joins two variables unless some set of the others makes them independent, and
directs what such sets can direct; KCI (Zhang et al. 2011) tests independence without a shape in mind. Nothing here
knows the representation, so that both answers have only the galaxies in common.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, UsageError

Doubles = NDArray[np.float64]
#: Level of each test, galaxies that are looked at (time goes with their cube), and fewest of them.
ALPHA, GALAXIES, FEWEST = 0.05, 300, 50
#: Variables at most, and part of the galaxies that must have one.
MOST, _PART = 16, 0.5
HINT = "pip install 'galcli[causal]'"


@dataclass(frozen=True)
class Link:
    """A line between two variables.

    Attributes
    ----------
    first, second : int
        Numbers of the variables.
    kind : {'->', '--', '<->'}
        From the first to the second; with no direction; or with both, which says that something not seen is behind
        both or that tests contradict each other.
    """

    first: int
    second: int
    kind: Literal["->", "--", "<->"]


@dataclass(frozen=True)
class Discovered:
    """A partly directed graph.

    Attributes
    ----------
    names : tuple of str
        Of the variables.
    links : tuple of Link
    galaxies : int
        That were looked at.
    """

    names: tuple[str, ...]
    links: tuple[Link, ...]
    galaxies: int

    def between(self, first: str, second: str) -> Link | None:
        """The link of two variables, if any."""
        if not {first, second} <= set(self.names):
            return None
        ends = {self.names.index(first), self.names.index(second)}
        return next((link for link in self.links if {link.first, link.second} == ends), None)

    def told(self, link: Link) -> str:
        """In words, such as ``Z -> LOGM``."""
        return f"{self.names[link.first]} {link.kind} {self.names[link.second]}"


def available() -> bool:
    """Whether causal-learn is installed."""
    return importlib.util.find_spec("causallearn") is not None


def require() -> None:
    """Refuse to go on without causal-learn.

    Raises
    ------
    UsageError
    """
    if not available():
        raise UsageError("a graph needs causal-learn, which is not installed", HINT)


def discover(values: Doubles, names: Sequence[str], seed: int) -> Discovered:
    """PC with KCI on some galaxies.

    Parameters
    ----------
    values : ndarray (N, d)
        NaN = missing.
    names : sequence of str
        Of the d variables.
    seed : int
        Of the choice of galaxies.

    Raises
    ------
    InputError
        If too few galaxies have all variables, after variables were left out that fewer than half of them have.
    """
    kept = np.flatnonzero(np.isfinite(values).mean(0) >= _PART)[:MOST]
    complete = np.flatnonzero(np.isfinite(values[:, kept]).all(1))
    if len(complete) < FEWEST or len(kept) < 2:
        raise InputError(
            f"{len(complete)} galaxies have all of {', '.join(names[place] for place in kept)}: too few for a graph",
            "give more galaxies, or fewer variables",
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(complete)[:GALAXIES])
    data = values[np.ix_(chosen, kept)]
    varied = data.std(0) > 0
    data, kept = data[:, varied], kept[varied]
    search = importlib.import_module("causallearn.search.ConstraintBased.PC")
    found: Any = search.pc(data, ALPHA, "kci", show_progress=False)
    return Discovered(tuple(names[place] for place in kept), links_of(np.asarray(found.G.graph)), len(chosen))


def links_of(matrix: NDArray[np.integer]) -> tuple[Link, ...]:
    """Links of a matrix (d, d) of marks: at [i, j] that of their link at i, -1 for a tail, 1 for a head, 0 for no link."""
    found = []
    for i, j in zip(*np.nonzero(np.triu(matrix, 1)), strict=True):
        match int(matrix[i, j]), int(matrix[j, i]):
            case -1, 1:
                found.append(Link(int(i), int(j), "->"))
            case 1, -1:
                found.append(Link(int(j), int(i), "->"))
            case 1, 1:
                found.append(Link(int(i), int(j), "<->"))
            case _:
                found.append(Link(int(i), int(j), "--"))
    return tuple(found)
