"""Small catalogues that astropy reads as a whole: ECSV and VOTable."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.parquet import one_line
from galcli.sky.table import NULLABLE_BOOL, Field, null_of, says_yes

#: What astropy raises for damaged files beside errors of the system.
_DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, EOFError, OSError, MemoryError,
    RecursionError, NotImplementedError,
)  # fmt: skip


class MemoryTable:
    """Columns in memory.

    Parameters
    ----------
    path : Path
    columns : mapping of str to ndarray (N, ...)
        Those that can be read.
    fields : mapping of str to Field
    header : mapping
    """

    def __init__(
        self, path: Path, columns: Mapping[str, NDArray[Any]], fields: Mapping[str, Field], header: Mapping[str, Any],
        nrows: int,
    ) -> None:  # fmt: skip
        self.path = path
        self.where = str(path)
        self.hdu = None
        self.files = (path,)
        self.fields = fields
        self.header = {str(key).upper(): said for key, said in header.items()}
        self.mock = says_yes(self.header, "MOCK")
        self.nrows = nrows
        self._columns = columns

    def exact(self, name: str) -> Field:
        """A column; all is known about it."""
        return self.fields[name]

    def read(self, start: int, stop: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the rows ``start`` to ``stop``; see `Table`."""
        return {name: self._column(name)[start:stop] for name in names}

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of single rows, in the order given; see `Table`."""
        return {name: self._column(name)[rows] for name in names}

    def close(self) -> None:
        """Nothing is open."""

    def _column(self, name: str) -> NDArray[Any]:
        self.fields[name].require_readable(self.where)
        return self._columns[name]


def open_ecsv(path: Path, stream: IO[bytes]) -> MemoryTable:
    """Read an ECSV file (Astropy Proposal for Enhancement 6).

    Raises
    ------
    InputError
        If it is damaged.
    """
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what can be read of a sloppy file is read
        try:
            text = stream.read().decode("utf-8-sig")
            table = Table.read(text.splitlines(), format="ascii.ecsv")
        except _DAMAGE as error:
            raise _damaged(path, "ECSV", error) from error
    return _from_astropy(path, table, table.meta)


def open_votable(path: Path, stream: IO[bytes]) -> MemoryTable:
    """Read the first table of a VOTable (IVOA VOTable 1.5) that has rows; if none has any, the first.

    Raises
    ------
    InputError
        If it is damaged or holds no table.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = parse_votable(stream)
            found = list(parsed.iter_tables())
            if not found:
                raise InputError(f"{path}: the VOTable holds no table", "give a catalogue with one row per galaxy")
            first = next((table for table in found if len(table.array)), found[0])
            table = first.to_table(use_names_over_ids=True)
            systems = [system.system for system in parsed.iter_coosys() if system.system]
            said = {str(p.name): p.value for p in first.params}
        except _DAMAGE as error:
            raise _damaged(path, "VOTable", error) from error
    return _from_astropy(path, table, said | ({"COOSYS": systems[0]} if systems else {}))


def parse_votable(stream: IO[bytes]) -> Any:
    """Parse a VOTable as `astropy.io.votable.parse` does.

    Raises
    ------
    ValueError
        If it is damaged; that its server breaks some rule of the standard is no damage.
    """
    from xml.parsers.expat import ExpatError

    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return votable.parse(stream, verify="ignore")
        except (*_DAMAGE, ExpatError) as error:
            raise ValueError(one_line(error)) from error


def _damaged(path: Path, form: str, error: BaseException) -> InputError:
    return InputError(f"{path}: {form} cannot be read: {one_line(error)}", "the file is damaged: write it again")


def _from_astropy(path: Path, table: Any, header: Mapping[str, Any]) -> MemoryTable:
    columns, fields = {}, {}
    for column in table.columns.values():
        unit = getattr(column, "unit", None)
        meta = getattr(getattr(column, "info", None), "meta", None) or {}
        blank = Field(
            column.info.name, np.dtype("V1"), unit="" if unit is None else str(unit),
            description=str(column.info.description or ""), ucd=str(meta.get("ucd", "")),
        )  # fmt: skip
        fields[blank.name], values = _native(column, blank)
        if values is not None:
            columns[blank.name] = values
    return MemoryTable(path, columns, fields, header, len(table))


def _native(column: Any, blank: Field) -> tuple[Field, NDArray[Any] | None]:
    """A column with native values, nulls as NaN, ``null`` or empty text; None if it cannot be read."""
    if not isinstance(column, np.ndarray):
        return replace(blank, refused=f"holds {type(column).__name__} values"), None
    gone = np.broadcast_to(np.ma.getmaskarray(column), column.shape)
    values = np.array(np.ma.getdata(column))
    kind = values.dtype.kind
    if kind == "O" and all(isinstance(value, (str, type(None))) for value in values.flat):
        values = np.where(gone | (values == None), "", values).astype(str)  # noqa: E711 - of each value
        kind = "U"
    if kind == "U":
        values, kind = np.strings.encode(values, "utf-8"), "S"
    if kind not in "Sbiuf":
        return replace(blank, refused=f"holds {'arrays of varying length' if kind == 'O' else values.dtype}"), None
    values = values.astype(values.dtype.newbyteorder("="))
    null = None
    if kind == "f":
        values = values.astype(np.float32) if values.dtype == np.float16 else values
        values[gone] = np.nan
    elif kind == "S":
        values[gone] = b""
    elif gone.any():
        values = values.astype(NULLABLE_BOOL) if kind == "b" else values
        null = null_of(values.dtype)
        if (values[~gone] == null).any():
            return replace(blank, refused=f"has nulls, and the value {null}, which marks them"), None
        values[gone] = null
    dtype = np.dtype("S1") if values.dtype.itemsize == 0 else values.dtype
    return replace(blank, dtype=dtype, shape=values.shape[1:], null=null), values.astype(dtype, copy=False)
