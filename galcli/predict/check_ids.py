"""Whether an output has the rows of a catalogue, under their identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.sky.catalog import Catalog, open_catalog


class Identifiers:
    """Compares identifiers with those of a catalogue, row by row.

    Parameters
    ----------
    catalog : Catalog
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
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
        inside = np.flatnonzero((rows >= 0) & (rows < self._catalog.nrows))
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
        if rows != self._catalog.nrows:
            lines.append(f"{rows} rows, but {self._catalog.where} has {self._catalog.nrows}")
        if self._others:
            lines.append(
                f"{self._others} rows have another identifier than in {self._catalog.where}, the first is row {self._first}"
            )
        return lines


@contextmanager
def identifiers_of(catalogs: Sequence[Path], id_name: str) -> Iterator[Identifiers]:
    """Open the catalogue that an output is to be compared with.

    Parameters
    ----------
    catalogs : sequence of Path
        Their rows follow each other.
    id_name : str
        Column of the identifier when the output was made; ``ROW`` where there was none.

    Raises
    ------
    GalcliError
        If it cannot be read.
    """
    with open_catalog(catalogs) as catalog:
        if catalog.id_name == id_name or id_name not in catalog.names:
            yield Identifiers(catalog)
            return
    with open_catalog(catalogs, id_column=id_name) as catalog:
        yield Identifiers(catalog)
