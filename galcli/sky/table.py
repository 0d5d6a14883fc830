"""What every catalogue is to the rest of galcli, whatever its format: named columns and numbered rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError

#: Type of text whose width only its values tell.
TEXT = np.dtype("S")
#: True and false where some are null: FITS has no null among them.
NULLABLE_BOOL = np.dtype(np.uint8)


@dataclass(frozen=True)
class Field:
    """One column of a catalogue.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
        Native type of the values as read; `TEXT` where the width is not known yet, see `Table.exact`.
    shape : tuple of int
        Shape per row; () is a scalar column.
    unit, description, ucd : str
        '' where the catalogue says nothing.
    null : int or None
        Value that means "no value" in an integer column, as read.
    refused : str
        Why this column cannot be read, as the end of a sentence that begins with its name; '' if it can.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    unit: str = ""
    description: str = ""
    ucd: str = ""
    null: int | None = None
    refused: str = ""

    def require_readable(self, where: str) -> None:
        """Raise `InputError` if the column is of a kind that cannot be read."""
        if self.refused:
            raise InputError(f"{where}: column {self.name} {self.refused}", "leave this column out")


class Table(Protocol):
    """Rows of a catalogue, read by position; threads may share it.

    Attributes
    ----------
    path : Path
        File or folder.
    where : str
        The same for messages, with the HDU where there is one.
    nrows : int
    """

    path: Path
    where: str
    nrows: int

    @property
    def mock(self) -> bool:
        """Whether it says that its rows are simulated."""
        ...

    @property
    def hdu(self) -> int | None:
        """Number of the HDU in a FITS file."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Files the rows come from."""
        ...

    @property
    def fields(self) -> Mapping[str, Field]:
        """Columns in file order."""
        ...

    @property
    def header(self) -> Mapping[str, Any]:
        """What the file says about all of its rows, by keywords in capitals."""
        ...

    def exact(self, name: str) -> Field:
        """A column with what only its values tell: how wide its text is, whether it has nulls."""
        ...

    def read(self, start: int, stop: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the rows ``start`` to ``stop``, each (stop - start, ...); text as wide as these rows need."""
        ...

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of single rows, each (N, ...), in the order given; sorted ones are read fastest."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


def by_capitals(fields: Mapping[str, Field]) -> dict[str, str]:
    """Names of columns in capitals -> as they are spelled; of two that differ in case only, the first."""
    return {name.upper(): name for name in reversed(list(fields))}


def null_of(dtype: np.dtype[Any]) -> int:
    """The value that stands for "no value" where a format marks nulls apart from the values."""
    limits = np.iinfo(dtype)
    return int(limits.min if dtype.kind == "i" else limits.max)


def says_yes(header: Mapping[str, Any], key: str) -> bool:
    """Whether a keyword is true; formats without truth values spell it."""
    return str(header.get(key, "")).strip().upper() in ("T", "TRUE", "1", "YES")


def pieces(starts: NDArray[np.int64], start: int, stop: int) -> list[tuple[int, int, int]]:
    """Parts that hold the rows ``start`` to ``stop``, as (part, first, last) with rows counted within the part.

    Parameters
    ----------
    starts : ndarray (parts + 1,), int64
        First row of each part, and the number of rows.
    """
    if start >= stop:
        return []
    low = int(np.searchsorted(starts, start, "right")) - 1
    high = int(np.searchsorted(starts, stop, "left"))
    bounds = [(part, int(starts[part]), int(starts[part + 1])) for part in range(low, high)]
    return [(part, max(start, a) - a, min(stop, b) - a) for part, a, b in bounds if a < b]


def joined(
    parts: Sequence[Mapping[str, NDArray[Any]]], fields: Sequence[Field], order: NDArray[np.int64] | None = None
) -> dict[str, NDArray[Any]]:
    """Columns of several parts under each other; ``order``: where each of their rows belongs."""
    columns = {}
    for field in fields:
        none = np.empty((0, *field.shape), field.dtype)
        columns[field.name] = np.concatenate([part[field.name] for part in parts]) if parts else none
        if order is not None and parts:
            columns[field.name][order] = columns[field.name].copy()
    return columns
