"""Tests of dependence inside neighbourhoods of a representation (models.md 2.4).

In each neighbourhood, y = log M* is compared with a query variable q, or what quadratic fits on a condition c leave of
both: by Pearson's r, and by the predictive efficiency 1 - Var(y - quad(y|q)) / Var(y). The null is y permuted inside
of the neighbourhood.

Fits are projections on orthonormal polynomials (Gram-Schmidt, twice) of centred and scaled values: the same numbers as
from normal equations, without their loss of digits. Where c has but two values in a neighbourhood the fit is linear,
and where it has one the fit is a mean: of such a c nothing more can be taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Fewer valid members make no test.
FEWEST = 10
#: What is left of a variable counts as nothing below this part of its spread: rounding of the digits it came with.
_NOTHING = 1e-7
#: Numbers of y, permuted ones included, held at a time: 32 MiB.
_NUMBERS = 4_194_304


@dataclass(frozen=True)
class LocalTests:
    """Tests of one q, perhaps given one c, in N neighbourhoods; NaN where there is none.

    None: fewer than `FEWEST` members with all of y, q, c, or no variance of y or q, or none left by the fits on c.

    Attributes
    ----------
    r, efficiency : ndarray (N,)
    r_permuted, efficiency_permuted : ndarray (N, P)
        The same for y permuted inside of each neighbourhood, P times.
    members : ndarray (N,), int64
        Neighbours with all of y, q, c.
    """

    r: Doubles
    efficiency: Doubles
    r_permuted: Doubles
    efficiency_permuted: Doubles
    members: NDArray[np.int64]


class Design:
    """What of the tests does not depend on y: directions in the space of the k members of each of n neighbourhoods.

    Parameters
    ----------
    q : ndarray (n, k)
        NaN = missing.
    c : ndarray (n, k) or None
        NaN = missing.
    valid : ndarray (n, k), bool
        Members that count; those without q or c never do.
    """

    def __init__(self, q: Doubles, c: Doubles | None, valid: Mask) -> None:
        self.valid = valid & np.isfinite(q) & (True if c is None else np.isfinite(c))
        self.members = self.valid.sum(1)
        self._condition = _polynomials(c if c is not None else np.zeros_like(q), self.valid)
        centred = _centred(q, self.valid)
        left = _without(centred[:, None], self._condition)[:, 0]
        gone = np.square(left).sum(1) <= _NOTHING**2 * np.square(centred).sum(1)
        self._none = gone | (self.members < FEWEST)
        self._query = _without(_polynomials(left, self.valid)[:, 1:], self._condition)

    def tests(self, y: Doubles) -> tuple[Doubles, Doubles]:
        """Pearson's r and predictive efficiency, (n, P) each, of P versions y (n, P, k) of the target."""
        centred = _centred(y, self.valid[:, None])
        left = _without(centred, self._condition)
        power = np.square(left).sum(2)
        none = self._none[:, None] | (power <= _NOTHING**2 * np.square(centred).sum(2))
        power = np.where(none, np.nan, power)
        along = left @ self._query.transpose(0, 2, 1)  # (n, P, 2): along q and along its square
        return along[..., 0] / np.sqrt(power), np.square(along).sum(2) / power


def local_tests(
    y: Doubles, q: Doubles, c: Doubles | None = None, *, permutations: int = 1, generator: np.random.Generator
) -> LocalTests:
    """Test y against q, or given c, in each neighbourhood.

    Parameters
    ----------
    y, q : ndarray (N, k)
        Values of the members of each neighbourhood; not finite = missing.
    c : ndarray (N, k), optional
        Condition.
    permutations : int
        P.
    generator : numpy.random.Generator
        Of the permutations.

    Returns
    -------
    LocalTests
    """
    count, k = y.shape
    r, efficiency = np.empty((2, count, 1 + permutations))
    members = np.empty(count, np.int64)
    step = max(1, _NUMBERS // (k * (1 + permutations)))
    for start in range(0, count, step):
        part = slice(start, start + step)
        design = Design(q[part], None if c is None else c[part], np.isfinite(y[part]))
        versions = np.concatenate([y[part][:, None], _permuted(y[part], design.valid, permutations, generator)], 1)
        r[part], efficiency[part] = design.tests(versions)
        members[part] = design.members
    return LocalTests(r[:, 0], efficiency[:, 0], r[:, 1:], efficiency[:, 1:], members)


def _permuted(y: Doubles, valid: Mask, permutations: int, generator: np.random.Generator) -> Doubles:
    """Versions (n, P, k) of y (n, k) with the valid members permuted; the others stay."""
    key = np.where(valid[:, None], generator.random((len(y), permutations, y.shape[1])), 2.0)
    source = key.argsort(2)  # the valid ones first, in random order
    target = np.broadcast_to((~valid).argsort(1, kind="stable")[:, None], source.shape)
    versions = np.empty(source.shape)
    np.put_along_axis(versions, target, np.take_along_axis(y[:, None], source, 2), 2)
    return versions


def _centred(values: Doubles, valid: Mask) -> Doubles:
    """Values (..., k) less their mean over the valid members; 0 elsewhere, and everywhere where they are all equal."""
    number = np.maximum(valid.sum(-1, keepdims=True), 1)
    first = np.take_along_axis(values, np.broadcast_to(valid, values.shape).argmax(-1)[..., None], -1)
    # Less one of them before less their mean: equal values are then 0 exactly, and a large level costs no digits.
    offset = np.where(valid, values - np.where(np.isfinite(first), first, 0.0), 0.0)
    found: Doubles = np.where(valid, offset - offset.sum(-1, keepdims=True) / number, 0.0)
    return found


def _polynomials(values: Doubles, valid: Mask) -> Doubles:
    """Orthonormal polynomials (n, 3, k) of order 0, 1, 2 of values (n, k); zeros for an order that they cannot tell."""
    number = np.maximum(valid.sum(1, keepdims=True), 1)
    centred = _centred(values, valid)
    spread = np.sqrt(np.square(centred).mean(1, keepdims=True))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    found = np.zeros((len(values), 3, values.shape[1]))
    found[:, 0] = valid / np.sqrt(number)
    for order, power in ((1, scaled), (2, np.square(scaled))):
        left = _without(power[:, None], found)[:, 0]
        norm = np.sqrt(np.square(left).sum(1, keepdims=True))
        told = norm > _NOTHING * np.sqrt(np.square(power).sum(1, keepdims=True))
        np.divide(left, norm, out=found[:, order], where=told)
    return found


def _without(vectors: Doubles, basis: Doubles) -> Doubles:
    """Vectors (n, P, k) less their parts along an orthonormal basis (n, B, k); twice, for the digits lost at first."""
    for _ in range(2):
        vectors = vectors - (vectors @ basis.transpose(0, 2, 1)) @ basis
    return vectors
