"""A want of open files or memory while a file is read: no fault of the file, and no reason to lose its rows."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from galcli.errors import OutputError

#: What the system says when a process may open no more files, or there is no memory.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def require_resources(path: str | Path, error: Exception) -> None:
    """Tell what the machine lacks from damage.

    Parameters
    ----------
    path : str or Path
        The file that could not be read.
    error : Exception
        What was raised.

    Raises
    ------
    OutputError
        If it was raised for want of open files or memory.
    """
    if isinstance(error, OSError) and (error.errno in _EXHAUSTED or _no_more_files()):  # cfitsio does not say why
        raise OutputError(
            f"{path}: {error.strerror or 'too many open files'}",
            "allow more open files (ulimit -n), or fewer --workers",
        ) from error


def _no_more_files() -> bool:
    """Whether this process may open no more files."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False
