"""Locks for disks that know no `flock`: files whose holders renew them, so that those of the dead go stale.

A lease is a file made with O_EXCL. Whoever finds one that was not renewed for long moves it aside and makes their own.
Ages are told by the clock of the disk, since those of the machines may differ.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

#: Ending of a lease's name; it follows the name of the lock that it stands for.
SUFFIX = ".lease"
#: Seconds between two renewals, and after which a lease counts as left behind.
RENEWAL = 20.0
STALE = 120.0


def take(path: Path, *, shared: bool = False) -> Callable[[], None]:
    """Hold the lease of a lock file.

    Parameters
    ----------
    path : Path
        The lock.
    shared : bool
        Together with others that ask for it shared; each has a file of its own.

    Returns
    -------
    callable
        Gives it back.

    Raises
    ------
    BlockingIOError
        If it is held.
    OSError
        If files cannot be made there.
    """
    return _take_shared(path) if shared else _take_alone(path)


def _take_alone(path: Path) -> Callable[[], None]:
    release = _make(_alone(path))
    if any(_is_held(other) for other in path.parent.glob(f"{path.name}.*.shared{SUFFIX}")):
        release()
        raise BlockingIOError
    return release


def _take_shared(path: Path) -> Callable[[], None]:
    release = _make(path.with_name(f"{path.name}.{secrets.token_hex(8)}.shared{SUFFIX}"))
    if _is_held(_alone(path)):  # looked at once our own is there: of two that come at once, one sees the other
        release()
        raise BlockingIOError
    return release


def _alone(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _make(lease: Path) -> Callable[[], None]:
    """Create a lease, in place of a stale one if need be, and renew it until it is given back."""
    lease.parent.mkdir(parents=True, exist_ok=True)
    if lease.exists() and not _is_held(lease):
        _move_aside(lease)
    try:
        handle = os.open(lease, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise BlockingIOError from None
    done = threading.Event()
    beat = threading.Thread(target=_renew, args=(handle, done), name="galcli-lease", daemon=True)
    beat.start()

    def release() -> None:
        done.set()
        beat.join()
        with contextlib.suppress(OSError):  # taken over, or gone with its folder
            if os.path.samestat(os.fstat(handle), lease.stat()):
                lease.unlink()
        os.close(handle)

    return release


def _renew(handle: int, done: threading.Event) -> None:
    """Renew the file that is open, whatever stands under its name by now."""
    while not done.wait(RENEWAL):
        with contextlib.suppress(OSError):  # a disk that is away for a moment
            os.utime(handle)


def _is_held(lease: Path) -> bool:
    with tempfile.TemporaryFile(dir=lease.parent) as probe:
        try:
            return os.fstat(probe.fileno()).st_mtime - lease.stat().st_mtime < STALE
        except FileNotFoundError:
            return False


def _move_aside(lease: Path) -> None:
    """Remove a stale lease; only one of those who try gets it, and a fresh one taken by mistake is put back."""
    aside = lease.with_name(f".{lease.name}.{secrets.token_hex(8)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        lease.rename(aside)
        if _is_held(aside):
            with contextlib.suppress(OSError):
                lease.hardlink_to(aside)
        aside.unlink()
