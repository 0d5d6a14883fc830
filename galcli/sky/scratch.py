"""Anonymous temporary files for catalogues that cannot be read where they lie."""

from __future__ import annotations

import io
import tempfile
from typing import IO, Any, Self, cast

from galcli.errors import OutputError


class Scratch(io.RawIOBase):
    """A temporary file for unpacked rows, gone when closed; closed at the end of the block unless kept."""

    def __init__(self) -> None:
        self._kept = False
        try:
            self._file = cast("IO[bytes]", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - outlives the block
        except OSError as error:
            raise scratch_error(error) from error

    def writable(self) -> bool:
        """Writers of other libraries ask."""
        return True

    def write(self, block: Any) -> int:
        """Append bytes; a full disk is an `OutputError`, not a fault of the catalogue."""
        view = memoryview(block).cast("B")
        size = len(view)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise scratch_error(error) from error
        return size

    def keep(self) -> IO[bytes]:
        """The file itself, which now stays open."""
        self._kept = True
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed or not self._kept:
            self._file.close()


def scratch_error(error: OSError) -> OutputError:
    """What a full or missing temporary folder means."""
    return OutputError(
        f"unpacking the catalogue into {tempfile.gettempdir()}: {error.strerror or error}",
        "set TMPDIR to a folder with free space",
    )
