"""A process that makes tiles for another one, which notices when it dies, and with which it ends."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

from galcli import interrupts
from galcli.predict.tile import TileReport
from galcli.predict.worker import Assignment, work
from galcli.sky.tiles import Tile

#: Seconds in which a process has to end once it is told to.
ENDING = 2.0
#: Linux's ``PR_SET_PDEATHSIG`` (prctl(2)): the signal that a process gets when its parent ends.
_SET_DEATH_SIGNAL = 1


class Process:
    """A pool of one process, which lives as long as this process holds the other end of a pipe.

    Parameters
    ----------
    assignment : Assignment
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks and the GPU's state
        self._read, self._held = spawn.Pipe(duplex=False)
        with without_signals(*interrupts.SIGNALS):
            self._pool = ProcessPoolExecutor(1, spawn, initializer=_end_with, initargs=(self._read, os.getpid()))

    def submit(self, tile: Tile) -> Future[TileReport]:
        """Hand it a tile; its `Future` raises `BrokenExecutor` if it dies."""
        with without_signals(*interrupts.SIGNALS):
            try:
                return self._pool.submit(work, self._assignment, tile)
            except BrokenExecutor:  # it died with nothing to do
                self.restart()
                return self._pool.submit(work, self._assignment, tile)

    def restart(self) -> None:
        """Put a new one in the place of one that died, or hangs."""
        self.tell_to_end()
        self.close(time.monotonic() + ENDING)
        self._start()

    def tell_to_end(self) -> None:
        """Let it end by itself."""
        self._held.close()

    def close(self, until: float) -> None:
        """End it: it has until a time of the monotonic clock to do so by itself."""
        # One that hangs in C code holds Python's lock, so that no thread of it sees the pipe.
        for process in list((self._pool._processes or {}).values()):
            if not multiprocessing.connection.wait([process.sentinel], max(until - time.monotonic(), 0)):
                process.kill()
        self._pool.shutdown(cancel_futures=True)
        self._read.close()


def _end_with(pipe: Connection, parent: int) -> None:
    """End this process when the other end of the pipe is closed: by the parent, or by its death."""

    def wait() -> None:
        try:
            pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=wait, name="galcli-parent", daemon=True).start()
    if sys.platform == "linux":
        # That thread sees nothing while C code holds Python's lock, but the kernel can kill who hangs so.
        # It does when the thread ends that began this process: the caller of `Process.submit`. This is the main thread,
        # of galcli as of a worker of Parsl (`_kept` sets a signal handler, which no other may); where galcli is a
        # library, it is the thread of the run, which closes its crew before it ends.
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it was dead before
            os._exit(1)


@contextmanager
def without_signals(*numbers: int) -> Iterator[None]:
    """Processes and threads begun here never see these signals, which this process is to obey; it gets them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work_apart(assignment: Assignment, tile: Tile) -> TileReport:
    """Make a tile in the one process that this one keeps for it.

    Raises
    ------
    BrokenExecutor
        If that died.
    Exception
        What it raised.
    """
    process = _kept(assignment)
    try:
        return process.submit(tile).result()
    except BrokenExecutor:
        process.restart()
        raise


@functools.cache
def _kept(assignment: Assignment) -> Process:
    """The process that this one keeps until it is told to end."""
    process = Process(assignment)

    def close() -> None:
        process.tell_to_end()
        process.close(time.monotonic())

    def end(*_: object) -> None:
        close()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    # A process that ends in order, as Parsl's workers where their manager died, first waits for its children.
    multiprocessing.util.Finalize(None, close, exitpriority=0)
    return process
