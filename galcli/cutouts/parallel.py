"""Several cores on one piece of work: numpy and the kernel let other threads run while they copy and sum bytes."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

#: Threads that read; more only wait for memory.
MAX_THREADS = 16


def ahead(work: Callable[[S], T], items: Iterable[S], alone: Callable[[], bool] | None = None) -> Iterator[T]:
    """Work on items with all cores, some items ahead of the one that is asked for.

    Parameters
    ----------
    work : callable
        Called once per item, in any thread; it must not use this module itself.
    items : iterable
        Taken in the caller's thread; `in_flight` of them are in work or wait to be asked for.
    alone : callable, optional
        Whether the next item is better worked on by the caller's thread alone.

    Yields
    ------
    What ``work`` returned, in the order of the items. An exception is raised where its item would have come. When the
    consumer stops early, items not yet begun are dropped, and those in work are waited for.
    """
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            if alone is not None and alone():
                while waiting:
                    yield waiting.popleft().result()
                yield work(item)
                continue
            waiting.append(_pool().submit(work, item))
            if len(waiting) == in_flight():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)


def in_parts(work: Callable[[int, int], T], length: int, smallest: int) -> list[T]:
    """Cut ``range(length)`` into one part per core and work on all parts at once.

    Parameters
    ----------
    work : callable
        ``work(start, stop)``; works on its own part alone.
    length : int
    smallest : int
        Length below which a part of its own is not worth a thread.

    Returns
    -------
    list
        What ``work`` returned, part after part. Its first exception is raised once all parts have ended.
    """
    threads = _threads()
    parts = max(1, min(threads, length // smallest))
    if parts == 1:
        return [work(0, length)]
    edges = [length * part // parts for part in range(parts + 1)]
    futures = [_pool().submit(work, start, stop) for start, stop in pairwise(edges)]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error
    return [future.result() for future in futures]


def in_flight() -> int:
    """Items of `ahead` that are in work, or done and not yet asked for: one for each thread, and one more."""
    return _threads() + 1


def share_cores(processes: int) -> None:
    """Leave their part of the cores to other processes of galcli that work beside this one; said before any work."""
    _sharing[:] = [processes]


_sharing = [1]


def cores() -> int:
    """Cores this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // _sharing[0])


def _threads() -> int:
    return min(cores(), MAX_THREADS)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), "galcli-read")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
