"""Batches whose bytes must not depend on how rows are grouped: computed row by row, or in blocks of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import ModelError
from galcli.models.bound import Value
from galcli.models.card import Card
from galcli.models.session import Session

Tensors = dict[str, NDArray[Any]]

#: Rows without pixels per call of a session: enough to amortise it, few enough for the processor's cache (a perceptron of
#: 20 layers of 128 numbers: 217,000 rows/s at 64, 230,000 at 128, 243,000 at 256, 217,000 at 4096); tiles may be small. A GPU waits for calls,
#: however small they are.
BLOCK, GPU_BLOCK = 128, 4096
#: float32 numbers of a register, which onnxruntime adds up together: rows this far apart begin alike in memory.
_REGISTER = 4


def works_rowwise(card: Card) -> bool:
    """Whether a model of pixels takes row by row on the CPU, so that its bytes do not depend on the batch.

    Those on a fixed grid do not need to: their rows are whole multiples of what onnxruntime adds up at a time; with
    catalogue columns beside the pixels they are not.
    """
    return card.native or card.backbone is not None or bool(card.columns)


@dataclass
class Rowwise:
    """A model that computes rows one by one, or in blocks.

    Attributes
    ----------
    session : Session
        Of all threads, one where there is one core; computes rows where there is no ``single``.
    single : Session or None
        The same model with one thread; None where there is one core, or a GPU computes.
    threads : int
        Rows or blocks in work at a time with ``single``: that many threads have more to do than those of one operator,
        which wait for each other (a third more cutouts per second with `sae-fno` on two cores).
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
        # Also where rows are fewer than threads: how many threads share an operator decides in which order it adds up.
        single = self.single
        if single is None:
            return [_row(self.session, feeds, row, tensors) for row in range(count)]
        return list(self._pool.map(lambda row: _row(single, feeds, row, tensors), range(count)))

    def run_blocks(self, feeds: Mapping[str, Value], numbers: NDArray[np.int64], tensors: Sequence[str]) -> Tensors:
        """Tensors of all rows (N, ...), computed in blocks of one size; the bytes of a row depend on itself and its number.

        Parameters
        ----------
        feeds : mapping of str to ndarray (N, ...)
            Without pixels.
        numbers : ndarray (N,), int64
            Row of the catalogue.
        tensors : sequence of str

        Raises
        ------
        ModelError
            If the model fails on a block.
        DeviceMemoryError
            If memory ran out.
        """
        rows, places = _places(numbers, GPU_BLOCK if self.session.device.gpu else BLOCK)
        graph = self.single or self.session

        def compute(block: NDArray[np.int64]) -> Tensors:
            return graph.run({name: values[block] for name, values in feeds.items()}, tensors)

        several = self.single is not None and len(rows) > 1
        parts = list(self._pool.map(compute, rows)) if several else [compute(block) for block in rows]
        return {name: np.concatenate([part[name] for part in parts])[places] for name in tensors}

    def run_alone(
        self, feeds: Mapping[str, Value], numbers: NDArray[np.int64], tensors: Sequence[str]
    ) -> list[Tensors | None]:
        """Tensors of each row as `run_blocks` gives them; None where the model fails on it."""

        def compute(row: int) -> Tensors | None:
            own = slice(row, row + 1)
            try:
                return self.run_blocks({name: values[own] for name, values in feeds.items()}, numbers[own], tensors)
            except ModelError:
                return None

        return [compute(row) for row in range(len(numbers))]


def _row(session: Session, feeds: Mapping[str, Value], row: int, tensors: Sequence[str]) -> Tensors | None:
    # Where a row begins in memory, and whether it is alone, decides in which order onnxruntime adds up its numbers,
    # unless rows are multiples of 16 bytes, as on common grids. A copy begins at such a multiple.
    alone = {name: values[row : row + 1].copy() for name, values in feeds.items()}
    try:
        return session.run(alone, tensors)
    except ModelError:
        return None


def _places(numbers: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of each block (blocks, size), and the place of each row (N,) in all of them.

    A block is of one size, since the last numbers of a tensor are not computed as the others are; and a row's place in
    a register is that of its catalogue number, since sums begin at whole registers. Places left over repeat a row.
    """
    places = np.empty(len(numbers), np.int64)
    for start in range(_REGISTER):
        alike = np.flatnonzero(numbers % _REGISTER == start)
        places[alike] = start + _REGISTER * np.arange(len(alike))
    filled = np.full(-(-(places.max() + 1) // size) * size, -1)
    filled[places] = np.arange(len(numbers))
    before = np.maximum.accumulate(np.where(filled >= 0, np.arange(len(filled)), 0))
    return filled[before].reshape(-1, size), places
