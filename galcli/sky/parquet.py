"""Rows of a Parquet file, read by row group: memory holds one group of the columns asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.arrow import arrow_field, has_nulls, to_numpy
from galcli.sky.notes import KEYS, notes_of
from galcli.sky.table import NULLABLE_BOOL, Field, joined, null_of, pieces, says_yes

if TYPE_CHECKING:
    import pyarrow as pa

#: Keys of the file's metadata that describe its own layout, at length.
_LAYOUT = ("ARROW:SCHEMA", "PANDAS", *KEYS)


class Shelf:
    """The file and the row group that were read last: kept, because neighbouring rows are asked for next."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.key: tuple[object, ...] = ()
        self.columns: dict[str, NDArray[Any]] = {}
        self._owner: ParquetTable | None = None
        self._file: Any = None

    def file(self, table: ParquetTable, source: Path | IO[bytes]) -> Any:
        """The open Parquet file of a table; the caller holds the lock."""
        import pyarrow.parquet as pq

        if self._owner is not table:
            self.clear()
            self._file = pq.ParquetFile(source)
            self._owner = table
        return self._file

    def clear(self) -> None:
        """Let go of both."""
        with self.lock:
            if self._owner is not None:
                self._file.close()
            self._owner, self.key, self.columns = None, (), {}


class ParquetTable:
    """One Parquet file; made by `open_parquet`.

    Parameters
    ----------
    path : Path
        The catalogue, for messages.
    source : Path or binary file
        What is read; opened when its turn comes, since a catalogue may be many files.
    schema : pyarrow.Schema
    fields : dict of str to Field
        One object for all files of a catalogue that have the same columns.
    counts : sequence of int
        Rows of each row group.
    shelf : Shelf
        Shared by the files of a catalogue.
    convert : callable, optional
        What a stored column means, (name, values) -> values.
    """

    def __init__(
        self, path: Path, source: Path | IO[bytes], schema: pa.Schema, fields: dict[str, Field], counts: Sequence[int],
        shelf: Shelf, convert: Callable[[str, pa.Array], pa.Array] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.where = str(path)
        self.hdu = None
        self.files = (path,)
        self.fields = fields
        self.header = _header(schema)
        noted = notes_of(schema.metadata).masks
        self._masks = {name: mask for name, mask in noted.items() if mask in fields}
        self.mock = says_yes(self.header, "MOCK")
        self._source = source
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self.nrows = int(self._starts[-1])
        self._shelf = shelf
        self._convert = convert
        self._exact: dict[str, Field] = {}

    def exact(self, name: str) -> Field:
        """A column with the width of its text and the truth about its nulls; text is read for that."""
        if name not in self._exact:
            self._exact[name] = self._measure(self.fields[name])
        return self._exact[name]

    def read(self, start: int, stop: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the rows ``start`` to ``stop``; see `Table`.

        Raises
        ------
        InputError
            If the file is damaged or a column cannot be read.
        """
        parts = []
        for group, first, last in pieces(self._starts, start, stop):
            columns = self._group(group, names)
            parts.append({name: columns[name][first:last] for name in names})
        return joined(parts, self._wanted(names))

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of single rows, in the order given; see `Table`.

        Raises
        ------
        InputError
            If the file is damaged or a column cannot be read.
        """
        order = np.argsort(rows, kind="stable")
        groups = np.searchsorted(self._starts, rows[order], "right") - 1
        parts = []
        for group in np.unique(groups).tolist():
            columns = self._group(group, names)
            here = rows[order[groups == group]] - self._starts[group]
            parts.append({name: columns[name][here] for name in names})
        return joined(parts, self._wanted(names), order)

    def close(self) -> None:
        """Close the file."""
        self._shelf.clear()
        if not isinstance(self._source, Path):
            self._source.close()

    def _wanted(self, names: Sequence[str]) -> list[Field]:
        for name in names:
            self.fields[name].require_readable(self.where)
        return [self.fields[name] for name in names]

    def _group(self, group: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of a row group."""
        fields = self._wanted(names)
        with self._shelf.lock:
            key = (self, group, *names)
            if self._shelf.key != key:
                self._shelf.key, self._shelf.columns = (), {}
                arrays = self._arrays(group, names)
                self._shelf.columns = {field.name: self._values(arrays[field.name], field) for field in fields}
                self._shelf.key = key
            return self._shelf.columns

    def _values(self, array: pa.Array, field: Field) -> NDArray[Any]:
        values = to_numpy(array, field)
        if field.null is not None and not field.shape and int((values == field.null).sum()) > array.null_count:
            self._refuse_nulls_of(field)
        return values

    def _refuse_nulls_of(self, field: Field) -> None:
        """A value is also our mark for nulls: harmless where there are none."""
        if self.exact(field.name).null is not None:
            raise InputError(
                f"{self.where}: column {field.name} has nulls, and the value {field.null}, which marks them",
                "write the column with wider numbers",
            )

    def _arrays(self, group: int, names: Sequence[str]) -> dict[str, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        with self._opened() as file:
            masks = {name: self._masks[name] for name in names if name in self._masks}
            stored = file.read_row_group(group, columns=[*names, *masks.values()], use_threads=False)
            arrays = {name: stored.column(name).combine_chunks() for name in names}
            for name, mask in masks.items():
                void = stored.column(mask).combine_chunks()
                arrays[name] = pc.if_else(void, pa.scalar(None, arrays[name].type), arrays[name])
        if len(stored) != self._starts[group + 1] - self._starts[group]:
            raise InputError(f"{self.where}: row group {group} has changed or is damaged", "write the file again")
        return {name: self._convert(name, array) if self._convert else array for name, array in arrays.items()}

    def _each(self, name: str, groups: Sequence[int]) -> Iterator[pa.Array]:
        """A column, one row group after the other."""
        return (self._arrays(group, [name])[name] for group in groups)

    def _measure(self, field: Field) -> Field:
        import pyarrow as pa
        import pyarrow.compute as pc

        if field.refused or field.dtype.kind == "f":
            return field
        if field.dtype.kind == "S":
            arrays = self._each(field.name, range(len(self._starts) - 1))
            widths = [pc.max(pc.binary_length(array.cast(pa.large_binary()))).as_py() for array in arrays]
            return replace(field, dtype=np.dtype(f"S{max((width or 1 for width in widths), default=1)}"))
        nulls = self._has_nulls(field)
        if field.dtype.kind == "b" and nulls:
            return replace(field, dtype=NULLABLE_BOOL, null=null_of(NULLABLE_BOOL))
        return replace(field, null=field.null if nulls else None)

    def _has_nulls(self, field: Field) -> bool:
        """From the statistics in the file; where they do not say, from the values."""
        counts = self._null_counts(field.name)
        if any(counts):
            return True
        unknown = [group for group, count in enumerate(counts) if count is None]
        return any(map(has_nulls, self._each(field.name, unknown)))

    def _null_counts(self, name: str) -> list[int | None]:
        """Nulls of a column in each row group, None where the file does not say."""
        unknown: list[int | None] = [None] * (len(self._starts) - 1)
        if self._convert or self.fields[name].shape or name in self._masks:
            return unknown
        with self._opened() as file:
            paths = [file.schema.column(i).path for i in range(len(file.schema))]
            cells = [file.metadata.row_group(group).column(paths.index(name)) for group in range(len(unknown))]
            found = [cell.statistics for cell in cells]
            return [s.null_count if s is not None and s.has_null_count else None for s in found]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading(self.where), self._shelf.lock:
            yield self._shelf.file(self, self._source)


def open_parquet(path: Path, shelf: Shelf | None = None, like: dict[str, Field] | None = None) -> ParquetTable:
    """Open a Parquet file.

    Parameters
    ----------
    path : Path
    shelf : Shelf, optional
        That of the catalogue the file belongs to.
    like : dict of str to Field, optional
        Columns of another file of it, used again if they are the same: thousands of files share them.

    Raises
    ------
    InputError
        If the file is damaged, or two columns have one name.
    """
    import pyarrow.parquet as pq

    with reading(str(path)), pq.ParquetFile(path) as file:
        schema, groups = file.schema_arrow, file.metadata
        counts = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        fields = fields_of_schema(schema, str(path))
    return ParquetTable(path, path, schema, like if like == fields else fields, counts, shelf or Shelf())


def fields_of_schema(schema: pa.Schema, where: str) -> dict[str, Field]:
    """Columns by name.

    Raises
    ------
    InputError
        If two have one name.
    """
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}: two columns are called {twice!r}", "give every column a name of its own")
    words = notes_of(schema.metadata).words
    return {column.name: arrow_field(column, words.get(column.name, {})) for column in schema}


def _header(schema: pa.Schema) -> dict[str, str | float]:
    """The file's own key-value pairs, without those that describe its layout; numbers are spelled there."""
    pairs = {key.decode("utf-8", "replace").upper(): value for key, value in (schema.metadata or {}).items()}
    said = {key: value.decode("utf-8", "replace") for key, value in pairs.items() if key not in _LAYOUT}
    return {key: _number_or_text(value) for key, value in said.items()}


def _number_or_text(value: str) -> str | float:
    try:
        return float(value)
    except ValueError:
        return value


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what Arrow raises for a damaged file into an `InputError`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise InputError(f"{where}: {one_line(error)}", "the file is damaged or truncated: write it again") from error


def one_line(error: BaseException) -> str:
    """What an error of a library says, short enough for one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
