"""Reading ahead: in order, bounded, and never hiding an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from galcli.predict.stream import prefetch


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "galcli-read"]


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_items_come_in_order(count: int) -> None:
    assert list(prefetch(range(count))) == list(range(count))
    assert not threads()


def test_reading_stays_within_its_depth() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            read.append(i)
            yield i

    for item in prefetch(items(), depth=2):
        time.sleep(0.002)
        # Two wait, one is in the reader's hands.
        assert len(read) <= item + 1 + 3


def test_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    stream = prefetch(items())
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
    assert not threads()


def test_thread_ends_when_nobody_listens() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    for item in prefetch(items()):
        if item == 3:
            break
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


def test_reader_works_while_the_consumer_does() -> None:
    def items() -> Iterator[int]:
        for i in range(10):
            time.sleep(0.02)
            yield i

    began = time.perf_counter()
    for _ in prefetch(items()):
        time.sleep(0.02)
    assert time.perf_counter() - began < 0.36  # 0.40 s one after the other
