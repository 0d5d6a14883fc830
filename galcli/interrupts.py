"""Signals: the first one lets the work end in order, the second Ctrl-C ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from galcli.errors import Interrupted

#: Clusters warn with SIGUSR1 or SIGTERM before they kill; SIGHUP says that the terminal is gone.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))

_asked = threading.Event()


@contextmanager
def graceful() -> Iterator[None]:
    """Within this block a signal is noted, and raised as Interrupted at the next `check`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    _asked.clear()
    heeded = [number for number in SIGNALS if not _is_nohup(number)]
    before = {number: signal.signal(number, _note) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


def _is_nohup(number: int) -> bool:
    """Whether whoever started this process wants it to outlive its terminal."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


def check() -> None:
    """Raise Interrupted if a signal came since `graceful` was entered."""
    if _asked.is_set():
        raise Interrupted("stopped by a signal; what is finished is kept", "give the same command again to go on")


def _note(number: int, frame: FrameType | None) -> None:
    del frame
    if number == signal.SIGINT and _asked.is_set():
        os._exit(130)
    _asked.set()
