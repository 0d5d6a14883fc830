"""Memory for batches, used again once nobody holds it: fresh memory costs more than reading into it."""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray

#: References to a free buffer while it is looked at: the list, the loop variable and the argument of getrefcount.
_FREE = 3


class Buffers:
    """Hands out float32 arrays; an array is handed out again when no view of it is left.

    Views keep the buffer they look at alive, and numpy, torch and onnxruntime all hold such a view, so the count of
    references tells reliably whether a buffer is in use. Any thread may ask for one, without a lock: who looks at a
    buffer refers to it too, so that no two find the same one free.

    Parameters
    ----------
    keep : int
        Buffers kept at most.
    """

    def __init__(self, keep: int = 6) -> None:
        self._keep = keep
        self._buffers: list[NDArray[np.float32]] = []

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of this shape with arbitrary content."""
        size = math.prod(shape)
        for buffer in self._buffers:
            if len(buffer) >= size and sys.getrefcount(buffer) == _FREE:
                return buffer[:size].reshape(shape)
        buffer = np.empty(size, np.float32)
        # A buffer too small for what is wanted now gives way first.
        self._buffers = [buffer, *self._buffers][: self._keep]
        return buffer[:size].reshape(shape)
