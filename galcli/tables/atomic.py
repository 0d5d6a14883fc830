"""Files that are whole or not there: written beside their place, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from galcli.errors import OutputError

_STEM = 50  # characters of the name kept in the temporary name, so that long names stay legal


class AtomicFile:
    """A file that appears under its name only when `commit` has succeeded.

    Parameters
    ----------
    path : str or Path
        Final name; missing folders are made.
    size : int, optional
        Bytes that will be needed, for the message on a full disk.

    Raises
    ------
    OutputError
        If it cannot be created. All methods raise it too, and then nothing is left behind.
    """

    def __init__(self, path: str | Path, size: int | None = None) -> None:
        self.path = Path(path)
        self.size = size
        self.position = 0
        self._fd: int | None = None
        self._tmp = self.path.with_name(f"{_prefix(self.path)}{os.getpid()}-{secrets.token_hex(4)}.tmp")
        with self._guard():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._tmp, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        view = memoryview(data).cast("B")
        with self._guard():
            while view:
                count = os.write(self._open, view)
                view = view[count:]
                self.position += count

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes already written."""
        end = self.position
        with self._guard():
            os.lseek(self._open, offset, os.SEEK_SET)
        self.write(data)
        with self._guard():
            os.lseek(self._open, end, os.SEEK_SET)
        self.position = end

    def commit(self) -> None:
        """Sync to disk and move to the final name, replacing what was there."""
        with self._guard():
            if os.fstat(self._open).st_size != self.position:
                raise OSError(errno.EIO, "fewer bytes on disk than were written")
            os.fsync(self._open)
            fd, self._fd = self._open, None
            os.close(fd)
            os.replace(self._tmp, self.path)  # noqa: PTH105 - one layer, that tests can break at will
            _sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the temporary file; harmless after `commit`."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
        with contextlib.suppress(OSError):
            self._tmp.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    @property
    def _open(self) -> int:
        if self._fd is None:
            raise ValueError(f"{self.path}: the file is closed")
        return self._fd

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise output_error(self.path, error, self.size) from error
        except BaseException:
            self.discard()
            raise


def atomic_write(path: str | Path, data: bytes | Iterable[bytes | memoryview], size: int | None = None) -> None:
    """Write a whole file or nothing.

    Parameters
    ----------
    path : str or Path
        Final name; an existing file is replaced at the very end.
    data : bytes or iterable of bytes-like
    size : int, optional
        Bytes in total where ``data`` is an iterable, for the message on a full disk.

    Raises
    ------
    OutputError
        If the disk is full, read-only or failing; the temporary file is removed.
    """
    blocks = [data] if isinstance(data, bytes) else data
    with AtomicFile(path, len(data) if isinstance(data, bytes) else size) as file:
        for block in blocks:
            file.write(block)
        file.commit()


def put_in_place(folder: Path, target: Path) -> None:
    """Give a finished folder, all of whose files are on disk, its name; both lie on one disk.

    Raises
    ------
    OSError
        If something stands there, or the disk refuses.
    """
    folder.rename(target)
    _sync_folder(target.parent)


def clear_partial(path: str | Path) -> None:
    """Remove temporary files that killed processes left for this path; call only while nobody else writes it."""
    target = Path(path)
    with contextlib.suppress(OSError):
        for entry in os.scandir(target.parent):
            if re.fullmatch(re.escape(_prefix(target)) + r"\d+-[0-9a-f]{8}\.tmp", entry.name):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def output_error(path: Path, error: OSError, size: int | None = None) -> OutputError:
    """The `OutputError` for an operating system error on a path."""
    needed = f" ({size} bytes are needed)" if size is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = f"free space in {path.parent} or write elsewhere; what is finished is kept, the same command resumes"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = f"{path.parent} cannot be written to: choose another place"
    elif error.errno == errno.ENAMETOOLONG:
        hint = "choose a shorter name"
    else:
        hint = "check the disk; what is finished is kept, the same command resumes"
    return OutputError(f"{path}: {error.strerror or error}{needed}", hint)


def _prefix(path: Path) -> str:
    """How temporary names for a path begin; names that are cut short keep apart by their digest."""
    name = path.name
    if len(name) > _STEM:
        name = f"{name[:_STEM]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f".{name}."


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system allows it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(fd)
