from __future__ import annotations

import numpy as np

from galcli.cutouts.buffers import Buffers


def test_memory_is_used_again_only_when_no_view_is_left() -> None:
    buffers = Buffers()
    first = buffers.empty((4, 5))
    address = first.ctypes.data
    view = first[1:].T
    del first
    assert buffers.empty((4, 5)).ctypes.data != address
    del view
    addresses = {buffers.empty((2, 5)).ctypes.data for _ in range(5)}
    assert len(addresses) == 1


def test_shapes_and_growth() -> None:
    buffers = Buffers(keep=2)
    held = [buffers.empty((n, 3)) for n in range(1, 9)]
    for n, array in enumerate(held, 1):
        array[...] = n
    assert all((array == n).all() and array.shape == (n, 3) for n, array in enumerate(held, 1))
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in held)
