"""The rows that went wrong, as CSV: written while they are found, so that the memory does not grow with them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Self

from galcli.errors import OutputError
from galcli.tables.atomic import AtomicFile, output_error


class ProblemList:
    """``row,id,reason`` of every row that failed; where none did, there is no file.

    A list that an earlier run left is replaced when this one is left, also by a signal, but not by a full disk.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OutputError
        If it cannot be written; so do all methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = AtomicFile(path)
        self._waiting: list[tuple[int, str, str]] = []

    def add(self, row: int, identifier: str, reason: str) -> None:
        """Note a row, in any order until the next `flush`."""
        self._waiting.append((row, identifier, reason))

    def flush(self) -> None:
        """Write what was noted, in the order of the rows."""
        if not self._waiting:
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not self._file.position:
            writer.writerow(["row", "id", "reason"])
        writer.writerows(sorted(self._waiting))
        self._file.write(text.getvalue().encode("utf-8", "backslashreplace"))
        self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:  # whatever happens, no temporary file stays
            if kind is not None and issubclass(kind, OutputError):
                return
            self.flush()
            if self._file.position:
                self._file.commit()
                return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as failure:
            raise output_error(self._path, failure) from failure
