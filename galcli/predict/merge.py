"""Joining tiles into one table in catalogue order, with memory that does not grow with the catalogue.

The table is cut into windows of consecutive catalogue rows. One pass over the tiles appends each row to the spill file
of its window; then each window is put into order in memory and written, one after the other. Windows of a table so
large that they would fill the memory are themselves cut into windows first.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.errors import InputError, OutputError
from galcli.predict.plan import Plan
from galcli.predict.runner import Columns
from galcli.predict.table import PREDICTIONS, TableSpec
from galcli.predict.tile import is_there
from galcli.sky.rows import FitsTable, open_table
from galcli.sky.tiles import Tile
from galcli.tables.fits import StreamingTable, TableHDU
from galcli.tables.status import NULL_BITS, ModelStatus, RowStatus

#: Bytes of a window; the merge holds a few times as much, whatever the size of the catalogue.
WINDOW_BYTES = 2_000_000
#: Spill files open at a time; larger tables take larger windows,
MAX_WINDOWS = 400
#: up to this many bytes; beyond, a second pass costs less than the memory.
MAX_WINDOW_BYTES = 32_000_000


@dataclass
class Counts:
    """How many rows carry which status.

    Attributes
    ----------
    rows, unpredicted : int
    status : dict of int to int
        RowStatus bit -> rows.
    models : dict of str to dict
        Status column -> ModelStatus bit -> rows.
    predicted : dict of str to int
        Status column -> rows with values of that model.
    """

    rows: int = 0
    unpredicted: int = 0
    status: dict[int, int] = field(default_factory=dict)
    models: dict[str, dict[int, int]] = field(default_factory=dict)
    predicted: dict[str, int] = field(default_factory=dict)

    def add(self, rows: NDArray[Any] | Columns, spec: TableSpec) -> None:
        """Count a window."""
        self.rows += len(rows["STATUS"])
        self.unpredicted += int(np.count_nonzero(rows["STATUS"] & int(RowStatus.NO_PREDICTION)))
        _count(rows["STATUS"], RowStatus, self.status)
        for model in spec.models:
            _count(rows[model.status], ModelStatus, self.models.setdefault(model.status, {}))
            good = int(np.count_nonzero((rows[model.status] & int(NULL_BITS)) == 0))
            self.predicted[model.status] = self.predicted.get(model.status, 0) + good

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the names of the bits, for JSON."""
        return {
            "rows": self.rows,
            "unpredicted": self.unpredicted,
            "STATUS": {RowStatus(bit).name: number for bit, number in self.status.items()},
            **{n: {ModelStatus(bit).name: number for bit, number in bits.items()} for n, bits in self.models.items()},
        }


def missing_tiles(plan: Plan) -> list[Tile]:
    """Tiles whose file is not there."""
    return [tile for tile in plan.tiles if not plan.paths.tile(tile).exists()]


def require_tiles(plan: Plan) -> None:
    """Refuse to merge while tiles are missing, damaged or of another run.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    bad = [tile for tile in plan.tiles if not is_there(plan, tile)]
    if bad:
        named = ", ".join(tile.path for tile in bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise InputError(
            f"{len(bad)} of {len(plan.tiles)} tiles are missing, damaged or of another run: {named}",
            "give the same `galcli predict` command again, then merge",
        )


def merge(plan: Plan, out: Path) -> Counts:
    """Write the table from the tiles, whole or not at all.

    Parameters
    ----------
    plan : Plan
        Its tiles are all there: see `require_tiles`.
    out : Path

    Returns
    -------
    Counts

    Raises
    ------
    InputError
        If a tile does not belong to the plan.
    OutputError
        If the table cannot be written.
    """
    counts, spec = Counts(), plan.table
    first = TableHDU(PREDICTIONS, list(spec.columns), {}, list(spec.header))
    with StreamingTable(out, first, len(plan.rows)) as table, _windows(plan) as windows:
        for rows in windows:
            interrupts.check()
            counts.add(rows, spec)
            table.append(rows)
        table.finish(spec.further_hdus())
    return counts


def row_type(spec: TableSpec) -> np.dtype[Any]:
    """Native type of a table row, by column name."""
    return np.dtype([(column.name, column.numpy, column.shape) for column in spec.columns])


@contextlib.contextmanager
def _windows(plan: Plan) -> Iterator[Iterator[NDArray[Any]]]:
    """Rows of all tiles in catalogue order, in windows; spill files are removed at the end."""
    spilled = np.dtype([("row", np.int64), ("values", row_type(plan.table))])
    folder = plan.paths.spill
    try:
        shutil.rmtree(folder, ignore_errors=True)
        yield _ordered(_tiles(plan, spilled), folder, 0, len(plan.rows), spilled)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}", "free space; the tiles are kept") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tiles(plan: Plan, spilled: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The rows of each tile with their numbers."""
    for tile in plan.tiles:
        part = np.empty(len(tile), spilled)
        part["row"], part["values"] = plan.rows[tile.start : tile.stop], read_tile(plan, tile)
        yield part


def _ordered(
    parts: Iterator[NDArray[Any]], folder: Path, start: int, length: int, spilled: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """The rows ``start`` to ``start + length`` in catalogue order, in windows."""
    width = max(WINDOW_BYTES // spilled.itemsize, -(-length // MAX_WINDOWS), 1)
    starts = range(start, start + length, width)
    folder.mkdir(parents=True)
    _spill(parts, [folder / str(first) for first in starts], start, width)
    for first in starts:
        path, rows = folder / str(first), min(width, start + length - first)
        if rows <= max(1, MAX_WINDOW_BYTES // spilled.itemsize):
            yield _window(path, first, rows, spilled)
        else:
            yield from _ordered(_spilled(path, spilled), folder / f"{first}.cut", first, rows, spilled)
        path.unlink()


def _spill(parts: Iterator[NDArray[Any]], paths: list[Path], start: int, width: int) -> None:
    """Append every row to the file of its window."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for part in parts:
            interrupts.check()
            window = (part["row"] - start) // width
            # A tile's rows ascend, so that those of a window stand together.
            for begin, end in pairwise([0, *(np.flatnonzero(np.diff(window)) + 1), len(part)]):
                files[window[begin]].write(part[begin:end].tobytes())


def _spilled(path: Path, spilled: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """What a spill file holds, some rows at a time."""
    with path.open("rb") as file:
        while len(part := np.fromfile(file, spilled, max(1, WINDOW_BYTES // spilled.itemsize))):
            yield part


def _window(path: Path, start: int, length: int, spilled: np.dtype[Any]) -> NDArray[Any]:
    """A window in catalogue order."""
    found = np.fromfile(path, spilled)
    if len(found) != length or len(np.unique(found["row"])) != length:
        raise InputError(f"rows {start} to {start + length - 1} are not all in the tiles", "run again with --restart")
    window = np.empty(length, spilled["values"])
    window[found["row"] - start] = found["values"]
    return window


def read_tile(plan: Plan, tile: Tile) -> NDArray[Any]:
    """Rows of a finished tile, native byte order.

    Raises
    ------
    InputError
        If its columns, its number of rows or its identity are not the plan's.
    """
    path, dtype = plan.paths.tile(tile), row_type(plan.table)
    with opened(path) as table:
        fits = tuple(table.fields) == dtype.names and table.nrows == len(tile)
        if not fits or table.header.get("IDENTITY") != plan.table.digest:
            raise InputError(f"{path} does not belong to this run", "give the same `galcli predict` command again")
        columns = table.read(0, table.nrows, dtype.names or ())
    rows = np.empty(len(tile), dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows


@contextlib.contextmanager
def opened(path: Path) -> Iterator[FitsTable]:
    """The predictions in a table or a tile."""
    table = open_table(path, PREDICTIONS)
    try:
        yield table
    finally:
        table.close()


def _count(values: NDArray[Any], kind: type[RowStatus | ModelStatus], into: dict[int, int]) -> None:
    for bit in kind:
        number = int(np.count_nonzero(values & int(bit)))
        if number:
            into[int(bit)] = into.get(int(bit), 0) + number
