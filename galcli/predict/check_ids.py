"""Whether an output has the rows of a catalogue, under their identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.sky.catalog import Catalog, open_catalog


@dataclass(frozen=True)
class Reference:
    """The catalogue that an output is compared with; false where there is none.

    Attributes
    ----------
    paths : sequence of Path
        Their rows follow each other.
    hdu, limit : int, optional
        As they were given when the output was made.
    """

    paths: Sequence[Path] = ()
    hdu: int | None = None
    limit: int | None = None

    def __bool__(self) -> bool:
        return bool(self.paths)

    def open(self, id_column: str | None = None) -> Catalog:
        """Open it; see `open_catalog`."""
        return open_catalog(self.paths, self.hdu, id_column)

    def rows(self, catalog: Catalog) -> int:
        """Number of its rows that count."""
        return catalog.nrows if self.limit is None else min(self.limit, catalog.nrows)


class Identifiers:
    """Compares identifiers with those of a catalogue, row by row.

    Parameters
    ----------
    catalog : Catalog
    nrows : int
        Number of its rows that count.
    """

    def __init__(self, catalog: Catalog, nrows: int) -> None:
        self._catalog = catalog
        self._nrows = nrows
        self._others = 0
        self._first = -1

    def compare(self, rows: NDArray[np.int64], ids: NDArray[Any]) -> None:
        """Compare some rows.

        Parameters
        ----------
        rows : ndarray (n,), int64
            Their numbers in the catalogue; those outside it are left to others.
        ids : ndarray (n,), integers or text
        """
        inside = np.flatnonzero((rows >= 0) & (rows < self._nrows))
        inside = inside[np.argsort(rows[inside], kind="stable")]
        wanted = self._catalog.read(np.asarray(rows[inside], np.int64))["id"]
        found = ids[inside]
        if (wanted.dtype.kind == "S") != (found.dtype.kind == "S"):
            differ = np.ones(len(inside), bool)
        else:
            differ = np.asarray((np.strings.strip(found) if found.dtype.kind == "S" else found) != wanted, bool)
        if differ.any():
            first = int(rows[inside[np.argmax(differ)]])
            self._first = first if self._first < 0 else min(first, self._first)
            self._others += int(np.count_nonzero(differ))

    def problems(self, rows: int) -> list[str]:
        """What differs, one line each, where the output has that many rows."""
        lines = []
        if rows != self._nrows:
            lines.append(f"{rows} rows, but {self._catalog.where} has {self._nrows}")
        if self._others:
            lines.append(
                f"{self._others} rows have another identifier than in {self._catalog.where}, the first is row {self._first}"
            )
        return lines


@contextmanager
def identifiers_of(reference: Reference, id_name: str) -> Iterator[Identifiers]:
    """Open the catalogue that an output is to be compared with.

    Parameters
    ----------
    reference : Reference
    id_name : str
        Column of the identifier when the output was made; ``ROW`` where there was none.

    Raises
    ------
    GalcliError
        If it cannot be read.
    """
    with reference.open() as catalog:
        if catalog.id_name == id_name or id_name not in catalog.names:
            yield Identifiers(catalog, reference.rows(catalog))
            return
    with reference.open(id_name) as catalog:
        yield Identifiers(catalog, reference.rows(catalog))
