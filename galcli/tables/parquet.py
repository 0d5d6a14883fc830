"""Table rows as Parquet: columns with unit, UCD and description, written in groups of rows, whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.arrow import text_to_numpy
from galcli.tables.atomic import AtomicFile
from galcli.tables.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa

#: What HATS readers want the pixel of order 29 to be called: column HPX of a FITS table.
HEALPIX = "_healpix_29"

Rows = dict[str, NDArray[Any]]

#: Rows are gathered until they fill this many bytes: then they become a row group.
GROUP_BYTES = 1 << 23


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Arrow schema of a table: vectors as lists of fixed size, text as UTF-8, what FITS says in each field's metadata."""
    import pyarrow as pa

    return pa.schema([pa.field(_name(c), _type(c), metadata=_described(c)) for c in columns])


class ParquetTable:
    """A Parquet file written in parts, for tables larger than memory; equal rows give equal bytes.

    Parameters
    ----------
    path : Path
    columns : sequence of Column

    Raises
    ------
    OutputError
        If the file cannot be written. Leaving the ``with`` block without `finish` leaves no file.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow.parquet as pq

        self._columns = columns
        self._schema = schema_of(columns)
        self._waiting: list[NDArray[Any]] = []
        self._file = AtomicFile(path)
        self._sink = _Sink(self._file)
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd", write_page_checksum=True)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows, (m,), structured by column name."""
        self._waiting.append(rows)
        if sum(part.nbytes for part in self._waiting) >= GROUP_BYTES:
            self._write_group()

    def finish(self) -> None:
        """Write what waits and give the file its name."""
        if self._waiting:
            self._write_group()
        self._writer.close()
        self._file.commit()

    def _write_group(self) -> None:
        rows = np.concatenate(self._waiting)
        self._waiting = []
        self._writer.write_table(arrow_table(self._columns, self._schema, rows), row_group_size=max(1, len(rows)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.deaf = True  # a writer that is thrown away still writes its footer
        self._writer.close()
        self._file.discard()


class _Sink(io.RawIOBase):
    """The file as Arrow wants it."""

    def __init__(self, file: AtomicFile) -> None:
        super().__init__()
        self._file = file
        self.deaf = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.position

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if not self.deaf:
            self._file.write(view)
        return len(view)


def write_schema(path: Path, columns: Sequence[Column], footers: Any = None) -> None:
    """Write a Parquet file without rows: the schema, and the footers of other files where given."""
    import pyarrow.parquet as pq

    with AtomicFile(path) as file:
        if footers is None:
            pq.write_metadata(schema_of(columns), _Sink(file))
        else:
            footers.write_metadata_file(_Sink(file))
        file.commit()


def arrow_table(columns: Sequence[Column], schema: pa.Schema, rows: NDArray[Any]) -> pa.Table:
    """Rows as an Arrow table, with nulls where there is no value; in arrays, their elements are null.

    Parameters
    ----------
    columns : sequence of Column
    schema : pyarrow.Schema
        Of these columns.
    rows : structured ndarray (n,)
    """
    import pyarrow as pa

    arrays = [_array(column, rows[column.name], column.without_value(rows)) for column in columns]
    return pa.table(arrays, schema=schema)


def batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[tuple[Rows, Rows]]:
    """Rows of a Parquet file that `ParquetTable` wrote, as a FITS table would give them, and where its nulls are.

    Parameters
    ----------
    path : Path
    rows : int
        Rows at a time at most.
    columns : sequence of str, optional
        Columns wanted, as FITS calls them; by default all.

    Yields
    ------
    values : dict of str to ndarray (<= rows, ...)
        Native; nulls as NaN, false, empty text, or the number that stands for them.
    nulls : dict of str to ndarray (<= rows, ...), bool

    Raises
    ------
    InputError
        If the file is damaged, or is not of galcli's making.
    """
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = None if columns is None else [HEALPIX if name == "HPX" else name for name in columns]
        for group in range(file.num_row_groups):  # groups are small however wide a row is
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=names):
                values, nulls = {}, {}
                for field, array in zip(batch.schema, batch.columns, strict=True):
                    name = _fits_name(field.name)
                    values[name], nulls[name] = _values(array, field)
                yield values, nulls


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Turn whatever Arrow says about a damaged file into an `InputError`."""
    import pyarrow as pa

    try:
        yield path
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path.name} is damaged: {reason}", "make it again") from error


def _name(column: Column) -> str:
    return HEALPIX if column.name == "HPX" else column.name


def _fits_name(name: str) -> str:
    return "HPX" if name == HEALPIX else name


def _type(column: Column) -> Any:
    import pyarrow as pa

    kind: Any = pa.string() if column.dtype[0] == "A" else pa.from_numpy_dtype(column.numpy)
    for size in reversed(column.shape):
        kind = pa.list_(kind, size)
    return kind


def _described(column: Column) -> dict[str, str]:
    null = None if column.null is None else str(column.null)
    cards = {"description": column.comment, "unit": column.fits_unit, "ucd": column.ucd, "null": null}
    brought = {key.replace("#", ""): v if isinstance(v, str) else json.dumps(v) for key, v, _ in column.header}
    return {key: value for key, value in cards.items() if value} | brought


def _array(column: Column, values: NDArray[Any], nulls: NDArray[np.bool_]) -> Any:
    """Values of a column, and which of them are null, both (n, *shape), as an Arrow array."""
    import pyarrow as pa

    flat, mask = np.ascontiguousarray(values).reshape(-1), np.ascontiguousarray(nulls).reshape(-1)
    if column.dtype[0] == "A":
        array: Any = pa.array(flat.tolist(), pa.binary(), mask=mask).cast(pa.string())
    else:
        array = pa.array(flat, mask=mask)
    for size in reversed(column.shape):  # arrays as a whole are never null: Arrow before 26 cannot read that
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _values(array: Any, field: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """What `_array` was given."""
    import pyarrow as pa

    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    nulls = np.asarray(array.is_null())
    if pa.types.is_string(array.type):
        values: NDArray[Any] = text_to_numpy(array)
    else:
        filling = _filling(field, array.type)
        filled = array if filling is None else array.fill_null(pa.scalar(filling, array.type))
        values = np.asarray(filled.to_numpy(zero_copy_only=False))
    return values.reshape(shape), nulls.reshape(shape)


def _filling(field: Any, kind: Any) -> float | None:
    """What a FITS table holds where a column of numbers or truth values has a null."""
    import pyarrow as pa

    null = (field.metadata or {}).get(b"null")
    if null is not None:
        return int(null)
    if pa.types.is_floating(kind):
        return np.nan
    return False if pa.types.is_boolean(kind) else None
