"""Reading and decoding go on in a thread while the models compute; on a GPU several batches are in work at once."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
L = TypeVar("L")

#: Batches read ahead: one in work, one ready, one being read keeps both sides busy and the memory small.
DEPTH = 2


def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Iterate in a thread, at most ``depth`` items ahead.

    Parameters
    ----------
    items : iterable
        Consumed in one background thread, in order.
    depth : int
        Items waiting at most.

    Yields
    ------
    The items, in order. An exception of the thread is raised where its item would have come. When the consumer
    stops early the thread stops after the item in work.
    """
    ready: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(entry: tuple[str, object]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            put(("error", error))
        else:
            put(("end", None))

    thread = threading.Thread(target=work, name="galcli-read", daemon=True)
    thread.start()
    try:
        while True:
            what, value = ready.get()
            if what == "end":
                return
            if what == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
            del value
    finally:
        stop.set()
        thread.join()


def side_by_side(items: Iterable[T], work: Callable[[T, L], None], lanes: Sequence[L]) -> Iterator[T]:
    """Work on as many items at a time as there are lanes.

    Parameters
    ----------
    items : iterable
        Taken in order, by the caller's thread.
    work : callable
        ``work(item, lane)``, called in the lane's own thread.
    lanes : sequence
        Whatever an item needs for itself alone; item ``i`` gets lane ``i`` modulo their number.

    Yields
    ------
    The items, in order, each when it and all before it are done. An exception is raised where its item would have
    come. When the consumer stops early, what is in work is finished first.
    """
    pools = [ThreadPoolExecutor(1, "galcli-lane") for _ in lanes]
    waiting: deque[tuple[T, Future[None]]] = deque()

    def oldest() -> T:
        item, future = waiting.popleft()
        future.result()
        return item

    try:
        for number, item in enumerate(items):
            place = number % len(lanes)
            waiting.append((item, pools[place].submit(work, item, lanes[place])))
            if len(waiting) > len(lanes):
                yield oldest()
        while waiting:
            yield oldest()
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
