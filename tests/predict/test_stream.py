"""Reading ahead: in order, bounded, and never hiding an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from galcli.predict.stream import prefetch, side_by_side


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


def lanes_alive() -> int:
    return sum(thread.name.startswith("galcli-lane") for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_items_in_lanes_come_in_order_and_done(count: int) -> None:
    done: list[int] = []

    def work(item: int, lane: str) -> None:
        time.sleep(0.004 if item % 2 else 0)  # one lane is slower than the other
        done.append(item)

    for number, item in enumerate(side_by_side(range(count), work, "ab")):
        assert item == number
        assert set(range(item + 1)) <= set(done)
    assert sorted(done) == list(range(count))
    assert not lanes_alive()


def test_lanes_work_at_the_same_time_and_each_on_one_item() -> None:
    together = threading.Barrier(2, timeout=20)
    busy: set[str] = set()

    def work(item: int, lane: str) -> None:
        assert lane not in busy
        busy.add(lane)
        together.wait()
        busy.remove(lane)

    assert len(list(side_by_side(range(20), work, "ab"))) == 20


def test_error_in_a_lane_comes_where_its_item_would_have_come() -> None:
    def work(item: int, lane: str) -> None:
        if item == 3:
            raise ValueError("broken")

    items = side_by_side(range(10), work, "ab")
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert not lanes_alive()


def test_lanes_end_when_nobody_wants_more() -> None:
    items = side_by_side(iter(range(1000)), lambda item, lane: time.sleep(0.001), "ab")
    assert next(items) == 0
    items.close()
    assert not lanes_alive()
