"""Threads that work on a list of tasks, a few at a time, and can be left behind when the work stops."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

from galcli import interrupts

T = TypeVar("T")
R = TypeVar("R")

#: Seconds between two looks for a signal.
_LOOK = 0.1


class Crew(Generic[T, R]):
    """Threads that do ``work``; daemons, since one that waits for a server cannot be told to stop.

    Parameters
    ----------
    size : int
        Number of threads.
    work : callable
        Called with one task at a time in each thread.
    stop : threading.Event
        Set when the crew is left before its work is done.
    """

    def __init__(self, size: int, work: Callable[[T], R], stop: threading.Event) -> None:
        self._work = work
        self._stop = stop
        self._todo: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[T, R | None, BaseException | None]] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="galcli-get", daemon=True) for _ in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._stop.set()
        for _thread in self._threads:
            self._todo.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()

    def do(self, tasks: Iterator[T]) -> Iterator[tuple[T, R]]:
        """Work on the tasks in their order; a signal ends the waiting.

        Parameters
        ----------
        tasks : iterator
            Taken when there is a thread for it.

        Yields
        ------
        tuple
            Each task with its result, as they come. An exception of the work is raised here.
        """
        under_way = 0
        while True:
            while under_way < len(self._threads) and (task := next(tasks, None)) is not None:
                self._todo.put((task,))
                under_way += 1
            if not under_way:
                return
            yield self._next()
            under_way -= 1

    def _next(self) -> tuple[T, R]:
        while True:
            interrupts.check()
            try:
                task, result, error = self._done.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            return task, result  # type: ignore[return-value]

    def _run(self) -> None:
        while (entry := self._todo.get()) is not None and not self._stop.is_set():
            try:
                self._done.put((entry[0], self._work(entry[0]), None))
            except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
                self._done.put((entry[0], None, error))
