"""How long work shows itself: a bar on a terminal, plain lines in a log, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from galcli.errors import Interrupted

#: Seconds between two lines in a log.
LINE_EVERY = 10.0


def silent(message: str) -> None:
    """Say nothing."""
    del message


class Progress(Protocol):
    """What long work tells whoever watches."""

    def note(self, message: str) -> None:
        """Say one line."""
        ...

    def start(self, total: int, done: int) -> None:
        """Rows in all, and rows finished by an earlier start of the same run."""
        ...

    def advance(self, rows: int) -> None:
        """More rows are finished."""
        ...

    def finish(self) -> None:
        """The last row is done, or the run stops."""
        ...


class Lines:
    """Plain lines on stderr, for logs."""

    def __init__(self) -> None:
        self._total = self._done = self._first = 0
        self._began = self._said = 0.0

    def note(self, message: str) -> None:
        """Say one line."""
        print(message, file=sys.stderr, flush=True)

    def start(self, total: int, done: int) -> None:
        """Begin to count."""
        self._total, self._done, self._first = total, done, done
        self._began = self._said = time.monotonic()

    def advance(self, rows: int) -> None:
        """Count, and say a line every few seconds."""
        self._done += rows
        now = time.monotonic()
        if now - self._said >= LINE_EVERY:
            self._said = now
            rate = (self._done - self._first) / (now - self._began)
            left = (self._total - self._done) / rate if rate else 0.0
            self.note(
                f"{self._done:,} of {self._total:,} rows ({100 * self._done / self._total:.1f} %), "
                f"{rate:,.0f} rows/s, {duration(left)} left"
            )

    def finish(self) -> None:
        """Nothing is open."""


class Json:
    """One JSON object per line on stdout."""

    def __init__(self) -> None:
        self._total = self._done = 0

    def note(self, message: str) -> None:
        """Say one line."""
        self.event("note", message=message)

    def start(self, total: int, done: int) -> None:
        """Begin to count."""
        self._total, self._done = total, done
        self.event("start", rows=total, done=done)

    def advance(self, rows: int) -> None:
        """Count."""
        self._done += rows
        self.event("progress", rows=self._total, done=self._done)

    def finish(self) -> None:
        """Nothing is open."""

    @staticmethod
    def event(kind: str, **values: Any) -> None:
        """Write one event.

        Raises
        ------
        Interrupted
            If whoever read the events is gone: a run that nobody listens to stops, and can be resumed.
        """
        try:
            print(json.dumps({"event": kind, **values}), flush=True)
        except BrokenPipeError as error:
            raise Interrupted(
                "nobody reads the events any more; what is finished is kept", "give the same command again"
            ) from error


class Bar:
    """A progress bar on a terminal, with the name of what is done."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=None, rate="")
        self._first = 0
        self._began = 0.0

    def note(self, message: str) -> None:
        """Say one line above the bar."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def start(self, total: int, done: int) -> None:
        """Show the bar."""
        self._first, self._began = done, time.monotonic()
        self._bar.update(self._task, total=total, completed=done)
        self._bar.start()

    def advance(self, rows: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, rows)
        done = self._bar.tasks[0].completed - self._first
        self._bar.update(self._task, rate=f"{done / max(time.monotonic() - self._began, 1e-9):,.0f} rows/s")

    def finish(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class Quiet:
    """Another progress without its lines: for a run inside another command."""

    def __init__(self, shown: Progress) -> None:
        self.start, self.advance, self.finish = shown.start, shown.advance, shown.finish

    def note(self, message: str) -> None:
        """Say nothing."""


def choose_progress(*, as_json: bool, name: str = "predict") -> Progress:
    """The form that fits where the output goes; ``name`` stands before a bar."""
    if as_json:
        return Json()
    return Bar(name) if sys.stderr.isatty() else Lines()


def duration(seconds: float) -> str:
    """Seconds as people say them: ``42 s``, ``7 min``, ``3.2 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
