"""Who works on what: locks that the kernel frees when a process dies, or leases where the disk knows no locks."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from galcli import interrupts
from galcli.errors import OutputError
from galcli.predict import lease
from galcli.tables.atomic import output_error

#: What `flock` says on disks without it (some network and cluster file systems).
_NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)
#: Seconds between the first two looks of who waits, and between any two at most: each costs the disk a few calls.
POLL, MOST = 0.1, 2.0


@contextmanager
def run_lock(path: Path, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a run folder: alone, or together with the other shards.

    Raises
    ------
    OutputError
        If another process works on the run.
    """
    try:
        release = _locked(path, shared=shared)
    except BlockingIOError:
        raise OutputError(
            f"another galcli works on {path.parent}",
            "wait for it, or choose another output with -o; `galcli predict` shares its work with --shard I/N",
        ) from None
    try:
        yield
    finally:
        release()


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock, after waiting for whoever holds it now.

    Raises
    ------
    Interrupted
        If a signal came while waiting.
    """
    with claim(path, wait=True):
        yield


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Try to claim a tile, or ``wait`` for it; yields whether it is ours.

    The claim ends with the block, or with the process.

    Raises
    ------
    Interrupted
        If a signal came while waiting.
    """
    try:
        release = _waited(path) if wait else _locked(path)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        release()


def _waited(path: Path) -> Callable[[], None]:
    """Look again and again: a call that blocks would be taken up again after a signal, which nobody then heeds."""
    pause = POLL
    while True:
        try:
            return _locked(path)
        except BlockingIOError:
            interrupts.check()
            time.sleep(pause)
            pause = min(2 * pause, MOST)


def _locked(path: Path, *, shared: bool = False) -> Callable[[], None]:
    """Open and lock the file of that name; returns what frees it.

    A run that ends removes its folder: who opened the lock file before would lock a file that nobody else sees.
    """
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is_there(handle, path):
                return partial(os.close, handle)
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError) and error.errno in _NO_LOCKS:
                return _leased(path, shared=shared)
            raise
        os.close(handle)


def _leased(path: Path, *, shared: bool) -> Callable[[], None]:
    try:
        return lease.take(path, shared=shared)
    except BlockingIOError:
        raise
    except OSError as error:
        raise output_error(path, error) from error


def _is_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror}", "choose a folder you can write to with -o") from error
