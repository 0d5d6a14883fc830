from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

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


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_never_get_the_same_memory() -> None:
    """Nor when one is interrupted between finding a buffer free and taking it."""
    buffers = Buffers(keep=4)

    def work(number: int) -> bool:
        array = buffers.empty((16,))
        array[...] = number
        time.sleep(0)
        return bool((array == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(10_000)))
