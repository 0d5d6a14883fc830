"""Synthetic data of a known sparse model (models.md 4.3, rows 1 to 3), and how well its atoms are found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

#: Mean of the codes that are not 0, whose standard deviation is 1.
AMPLITUDE = 15.0


class Codes(NamedTuple):
    """Sparse codes of samples, all with as many entries.

    Attributes
    ----------
    places : Tensor (n, k), int64
        Which of the ``width`` codes of a sample are not 0.
    values : Tensor (n, k)
    width : int
    """

    places: Tensor
    values: Tensor
    width: int

    def dense(self, rows: Tensor) -> Tensor:
        """Codes (len(rows), width)."""
        values = self.values[rows]
        return values.new_zeros(len(rows), self.width).scatter(1, self.places[rows], values)


def sparse_vectors(samples: int, concepts: int, count: int, device: str) -> Codes:
    """Codes of ``samples`` vectors with ``count`` of ``concepts`` concepts each."""
    places = torch.rand(samples, concepts, device=device).topk(count, 1).indices
    return Codes(places, AMPLITUDE + torch.randn(samples, count, device=device), concepts)


def sparse_maps(samples: int, concepts: int, side: int, count: int, device: str) -> Codes:
    """Codes of maps of ``side`` pixels with a single concept each, at ``count`` places; flattened."""
    cells = side**2
    concept = torch.randint(concepts, (samples, 1), device=device)
    places = torch.rand(samples, cells, device=device).topk(count, 1).indices + cells * concept
    return Codes(places, AMPLITUDE + torch.randn(samples, count, device=device), concepts * cells)


def batches(samples: int, size: int, steps: int, device: str) -> Iterator[Tensor]:
    """Rows of each step's batch, in another order each time through; the rest of a time through is left out."""
    done = 0
    while True:
        order = torch.randperm(samples, device=device)
        for first in range(0, samples - size + 1, size):
            if done == steps:
                return
            done += 1
            yield order[first : first + size]


def best_cosines(found: Tensor, true: Tensor) -> Tensor:
    """Largest cosine, whatever its sign, of each true atom (p, m) with one of those found (q, m); (p,)."""
    return (functional.normalize(true, dim=1) @ functional.normalize(found, dim=1).t()).abs().amax(1)


def best_cosines_shifted(found: Tensor, true: Tensor) -> Tensor:
    """The same of kernels (p, C, k, k) and (q, C, l, l), moved against each other as is best for each pair; (p,)."""
    return _best_of_shifts(found, true, true.shape[-1] + found.shape[-1] - 1)


def best_cosines_rolled(found: Tensor, true: Tensor) -> Tensor:
    """The same of periodic kernels (p, C, n, n) and (q, C, n, n), rolled against each other; (p,)."""
    return _best_of_shifts(found, true, true.shape[-1])


def _best_of_shifts(found: Tensor, true: Tensor, side: int) -> Tensor:
    """Largest correlation of each true kernel on a periodic map of that side."""
    ours, theirs = (
        torch.fft.rfft2(functional.normalize(kernels.flatten(1), dim=1).reshape(kernels.shape), s=(side, side))
        for kernels in (found, true)
    )
    products: Tensor = torch.fft.irfft2(torch.einsum("pcyx,qcyx->pqyx", theirs, ours.conj()), s=(side, side))
    return products.abs().flatten(1).amax(1)


def coherence(atoms: Tensor) -> float:
    """Mean of the absolute cosines of all pairs of atoms (p, m)."""
    cosines = functional.normalize(atoms, dim=1) @ functional.normalize(atoms, dim=1).t()
    count = len(atoms)
    return float((cosines.abs().sum() - cosines.diagonal().abs().sum()) / (count * (count - 1)))


def crossing(curve: Sequence[float], level: float) -> float:
    """Step at which a rising curve first reaches a level, linear between steps; its last step if it never does."""
    if curve[0] >= level:
        return 0.0
    for step, (before, after) in enumerate(pairwise(curve)):
        if after >= level:
            return step + (level - before) / (after - before)
    return float(len(curve) - 1)


def rounded(values: Any, digits: int = 7) -> list[float]:
    """Numbers for JSON."""
    return [float(f"{value:.{digits}g}") for value in values]
