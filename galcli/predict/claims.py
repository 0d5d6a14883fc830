"""Who works on what: locks that the kernel frees when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galcli.errors import OutputError


@contextmanager
def run_lock(path: Path, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a run folder: alone, or together with the other shards.

    Raises
    ------
    OutputError
        If another process works on the run.
    """
    try:
        handle = _locked(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"another galcli works on {path.parent}",
            "wait for it, choose another output with -o, or start all of them with --shard I/N",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock, after waiting for whoever holds it now."""
    handle = _locked(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim a tile; yields whether it is ours. The claim ends with the block, or with the process."""
    try:
        handle = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)


def _locked(path: Path, how: int) -> int:
    """Open and lock the file of that name.

    A run that ends removes its folder: who opened the lock file before would lock a file that nobody else sees.
    """
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, how)
            if _is_there(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


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
