"""The checksum of a stack, summed while its cutouts are read, so that each byte is read once.

Whether the file is sound is known when all of it was read. Until then its pixels are provisional: whoever asked for
them so must be able to take rows back.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import Failures, failed
from galcli.cutouts.stack_file import StackFile
from galcli.tables.status import RowStatus


class Proof:
    """Sum of one file in the making.

    Parameters
    ----------
    stack : StackFile
        One that `StackFile.can_sum`.
    """

    def __init__(self, stack: StackFile) -> None:
        # The file itself is not held: a request may look into more files than can be open.
        self._rows: list[NDArray[np.int64]] = []
        self._seen = np.zeros(stack.count, np.bool_)
        self._total = 0
        self._one_at_a_time = threading.Lock()

    def concern(self, rows: NDArray[np.int64]) -> None:
        """Note rows of the request that stand and fall with the file."""
        self._rows.append(rows)

    def fresh(self, cutouts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the cutouts about to be read, in ascending order, were not read before, (m,)."""
        first = np.diff(cutouts, prepend=-1) != 0
        with self._one_at_a_time:
            fresh: NDArray[np.bool_] = first & ~self._seen[cutouts]
            self._seen[cutouts] = True
        return fresh

    def add(self, total: int) -> None:
        """Add the sum of cutouts that were read."""
        with self._one_at_a_time:
            self._total += total

    def forget(self, cutouts: NDArray[np.int64]) -> None:
        """Leave fresh cutouts that could not be read to `conclude`."""
        with self._one_at_a_time:
            self._seen[cutouts] = False

    def conclude(self, stack: StackFile) -> None:
        """Sum what nobody asked for, and compare.

        Parameters
        ----------
        stack : StackFile
            The file, open.

        Raises
        ------
        OSError, ValueError
            If the bytes are not those that were written.
        """
        stack.verify(self._total, self._seen)

    def taken_back(self, reason: str) -> Failures:
        """All rows that stand and fall with the file, and why they fall."""
        return failed(np.concatenate(self._rows), RowStatus.CORRUPT_CUTOUT, reason)
