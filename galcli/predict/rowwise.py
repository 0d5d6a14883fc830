"""Batches that a model computes row by row, as many rows at a time as there are cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from galcli.errors import ModelError
from galcli.models.bound import Value
from galcli.models.card import Card
from galcli.models.session import Session

Tensors = dict[str, NDArray[Any]]


def works_rowwise(card: Card) -> bool:
    """Whether a model takes row by row on the CPU, so that its bytes do not depend on the batch.

    Those on a fixed grid do not need to: their rows are whole multiples of what onnxruntime adds up at a time.
    """
    return card.native or card.backbone is not None


@dataclass
class Rowwise:
    """A model that computes rows one by one.

    Attributes
    ----------
    session : Session
        Computes a row with all threads.
    single : Session or None
        The same model with one thread; None where there is one core, or a GPU computes.
    threads : int
        Rows in work at a time with ``single``: that many threads have more to do than those of one operator, which
        wait for each other (a third more cutouts per second with `sae-fno` on two cores).
    """

    session: Session
    single: Session | None = None
    threads: int = 1
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads, "galcli-row")

    def run(self, feeds: Mapping[str, Value], count: int, tensors: Sequence[str]) -> list[Tensors | None]:
        """Tensors of each row; None where the model fails on it. How many rows come together changes nothing.

        Parameters
        ----------
        feeds : mapping of str to ndarray or Tensor (N, ...)
        count : int
            N.
        tensors : sequence of str

        Raises
        ------
        DeviceMemoryError
            If memory ran out.
        """
        single = self.single
        if single is None or count < self.threads:
            return [_row(self.session, feeds, row, tensors) for row in range(count)]
        return list(self._pool.map(lambda row: _row(single, feeds, row, tensors), range(count)))


def _row(session: Session, feeds: Mapping[str, Value], row: int, tensors: Sequence[str]) -> Tensors | None:
    # Where a row begins in memory, and whether it is alone, decides in which order onnxruntime adds up its numbers,
    # unless rows are multiples of 16 bytes, as on common grids. A copy begins at such a multiple.
    alone = {name: values[row : row + 1].copy() for name, values in feeds.items()}
    try:
        return session.run(alone, tensors)
    except ModelError:
        return None
