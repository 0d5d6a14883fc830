"""A training sample: stamps of every stage with their split and targets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.training.data import Stamps


@dataclass(frozen=True)
class Sample:
    """Stamps of every stage with their split and targets.

    Attributes
    ----------
    stamps : list of Stamps
        One per stage; later ones may be the beginning of the first.
    held : ndarray (N,), bool
        Rows of the first that are held out.
    target : ndarray (N, T), float32
        Targets of its rows.
    usable : ndarray (N,), bool
        Rows with labels.
    mock : bool
        Whether the galaxies are simulated.
    """

    stamps: list[Stamps]
    held: NDArray[np.bool_]
    target: NDArray[np.float32]
    usable: NDArray[np.bool_]
    mock: bool

    def rows(self, stage: int, held: bool) -> NDArray[np.int64]:
        """Training or held-out rows of a stage."""
        n = len(self.stamps[stage])
        return np.flatnonzero(self.usable[:n] & (self.held[:n] == held))

    def digest(self) -> str:
        """What a survey teaches: other labels of the same size must not go on with a training."""
        return hashlib.sha256(np.where(self.usable[:, None], self.target, 0).tobytes()).hexdigest()[:16]
