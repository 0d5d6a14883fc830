"""What a long training says: a bar on a terminal, plain lines in a log; and how it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

#: Seconds between two lines of a log.
LINE_SECONDS = 30.0


class Reporter:
    """Progress of one training.

    Parameters
    ----------
    total : int
        Steps of the whole training.
    start : int
        Steps already done.
    what : str
        What is counted.
    """

    def __init__(self, total: int, start: int, what: str = "img") -> None:
        self.console = Console(stderr=True)
        self.total, self.start, self.what = total, start, what
        self.began = self.said = time.monotonic()
        self.images = 0
        self.loss = 0.0
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
            self.task = self.bar.add_task("", total=total, completed=start)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, step: int, loss: float, lr: float, images: int, held: float | None = None) -> None:
        """Report a finished step (0-based) with its loss, learning rate and number of images.

        Losses of steps are smoothed; a step with a loss on held-out objects is a whole epoch, whose loss needs it not.
        """
        self.images += images
        first = self.images == images
        self.loss = loss if first or held is not None else 0.98 * self.loss + 0.02 * loss
        now = time.monotonic()
        rate = self.images / max(now - self.began, 1e-9)
        unseen = "" if held is None else f"  held out {held:.4f}"
        text = f"loss {self.loss:.4f}{unseen}  lr {lr:.2e}  {rate:.0f} {self.what}/s"
        if self.bar:
            self.bar.update(self.task, completed=step + 1, description=text)
        elif first or now - self.said >= LINE_SECONDS or step + 1 == self.total:
            self.said = now
            left = (self.total - step - 1) * (now - self.began) / (step + 1 - self.start)
            self.say(f"step {step + 1}/{self.total}  {text}  {left / 60:.1f} min left")

    def say(self, line: str) -> None:
        """Print one line, above the bar where there is one."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Print one line to standard error."""
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set instead of killing the process; a second signal kills it."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def track(items: Sequence[T], what: str, weight: Callable[[T], int]) -> Iterator[T]:
    """Iterate with a bar on a terminal, or a line in a log now and then.

    Parameters
    ----------
    items : sequence
    what : str
        Name of the work.
    weight : callable
        Share of an item in the whole, such as its number of galaxies.

    Yields
    ------
    The items, in order.
    """
    total = sum(map(weight, items))
    if sys.stderr.isatty():
        with Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                      console=Console(stderr=True)) as bar:  # fmt: skip
            task = bar.add_task(what, total=total)
            for item in items:
                yield item
                bar.advance(task, weight(item))
        return
    done, said = 0, time.monotonic()
    for item in items:
        yield item
        done += weight(item)
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            say(f"{what}: {done:,} of {total:,}")
