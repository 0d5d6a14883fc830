"""Memory for batches, used again once nobody holds it: fresh memory costs more than reading into it."""

from __future__ import annotations

import math
import sys
import threading

import numpy as np
from numpy.typing import NDArray

#: References to a free buffer while it is looked at: the list, the loop variable and the argument of getrefcount.
_FREE = 3


class Buffers:
    """Hands out float32 arrays; an array is handed out again when no view of it is left.

    Views keep the buffer they look at alive, and numpy, torch and onnxruntime all hold such a view, so the count of
    references tells reliably whether a buffer is in use. Any thread may ask for one.

    Parameters
    ----------
    keep : int
        Buffers kept at most.
    """

    def __init__(self, keep: int = 6) -> None:
        self._keep = keep
        self._buffers: list[NDArray[np.float32]] = []
        self._one_at_a_time = threading.Lock()

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of this shape with arbitrary content."""
        size = math.prod(shape)
        with self._one_at_a_time:
            for buffer in self._buffers:
                if len(buffer) >= size and sys.getrefcount(buffer) == _FREE:
                    return buffer[:size].reshape(shape)
            buffer = np.empty(size, np.float32)
            # A buffer too small for what is wanted now gives way first.
            self._buffers = [buffer, *self._buffers][: self._keep]
            return buffer[:size].reshape(shape)
