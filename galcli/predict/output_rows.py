"""The rows of a finished output again, whatever its layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from galcli.predict.hats_tree import HatsTree, read_partitions
from galcli.predict.merge import Counts, opened
from galcli.predict.options import TABLE
from galcli.predict.table import TableSpec
from galcli.tables.parquet import batches

#: Rows read at a time.
STEP = 1 << 16

Rows = dict[str, NDArray[Any]]


def counts_of(out: Path, spec: TableSpec) -> Counts:
    """Count the rows of a finished output by status."""
    counts = Counts()
    columns = ["STATUS", *(model.status for model in spec.models)]
    for path in [out] if spec.layout == TABLE else files_of(HatsTree.of_layout(out, spec.layout)):
        for rows in rows_of(path, columns):
            counts.add(rows, spec)
    return counts


def files_of(tree: HatsTree) -> list[Path]:
    """The files that hold the rows of a HATS folder."""
    leaves = [tree.leaf(*place) for place in read_partitions(tree)]
    return [*leaves, tree.bad] if tree.bad.exists() else leaves


def rows_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[Rows]:
    """Rows of one file, FITS or Parquet, some at a time.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        Columns wanted; by default all.

    Yields
    ------
    dict of str to ndarray (<= STEP, ...)

    Raises
    ------
    InputError
        If the file is damaged.
    """
    for rows, _ in rows_and_nulls(path, columns):
        yield rows


def rows_and_nulls(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[Rows, Rows | None]]:
    """As `rows_of`, each with where its nulls are, (<= STEP, ...), bool; None for FITS, where values mark them."""
    if path.suffix == ".parquet":
        yield from batches(path, STEP, columns)
        return
    with opened(path) as table:
        for start, stop in table.steps():
            yield table.read(start, stop, list(columns or table.fields)), None
