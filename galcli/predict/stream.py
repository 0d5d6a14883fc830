"""Prefetch: reading and decoding go on in a thread while the models compute."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

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
