"""A survey catalogue: which rows there are, what they are called and where they lie on the sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.errors import InputError
from galcli.sky.fields import foreign_text
from galcli.sky.formats import open_tables
from galcli.sky.joint import JointTable
from galcli.sky.naming import LEGACY_ID, find_column, find_coordinates, find_id, listed
from galcli.sky.systems import HourCheck
from galcli.sky.table import Field, Table


@dataclass(frozen=True)
class ColumnMeta:
    """What a catalogue says about one of its columns.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
        Native type as read.
    shape : tuple of int
        Shape per row.
    unit, description, ucd : str
        '' where the catalogue says nothing.
    null : int or None
        Value that means "no value" in an integer column.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    unit: str
    description: str
    ucd: str
    null: int | None


class Catalog:
    """A catalogue opened for streaming; made by `open_catalog`.

    Attributes
    ----------
    path : Path
        The first file or folder.
    where : str
        All of it, for messages.
    files : tuple of Path
        Files the rows come from.
    header : mapping of str to object
        What the catalogue says about all of its rows, by keywords in capitals.
    nrows : int
    names : list of str
        Columns in file order.
    id_name : str or None
        Column of the identifier, ``TARGETID`` where it is packed from RELEASE, BRICKID and OBJID (`packed_id`);
        None: rows are named by their number.
    ra_name, dec_name : str or None
        None where the catalogue has no coordinates; see `require_coordinates`.
    id_dtype : numpy.dtype
        int64, uint64 or bytes ``S``.
    packed_id : bool
    mock : bool
        Whether its header says that it is simulated (``MOCK = T``).
    ra_named : bool
        Whether the user named the column of right ascension, and thereby says that it is in degrees.
    """

    def __init__(
        self, table: Table, id_name: str | None, packed_id: bool, ra: str | None, dec: str | None, ra_named: bool
    ) -> None:
        self.path = table.path
        self.where = table.where
        self.files = table.files
        self.header = table.header
        self.nrows = table.nrows
        self.names = list(table.fields)
        self.id_name = id_name
        self.packed_id = packed_id
        self.mock = table.mock
        self.ra_name = ra
        self.dec_name = dec
        self.ra_named = ra_named
        self.id_dtype = self._id_dtype(table)
        self._table = table

    def dtype(self, names: Sequence[str] = ()) -> np.dtype[Any]:
        """Type of a row as `chunks` and `read` give it: ``id``, ``ra``, ``dec``, then the columns asked for.

        Parameters
        ----------
        names : sequence of str
            Columns, without regard to case. A column is called as asked for; one that would collide with
            ``id``, ``ra`` or ``dec`` is called in capitals.

        Returns
        -------
        numpy.dtype
            Structured, native byte order.

        Raises
        ------
        InputError
            If a column does not exist or cannot be read.
        """
        base = [("id", self.id_dtype), ("ra", np.float64), ("dec", np.float64)]
        fields = [(_label(name), self._readable(name)) for name in names]
        return np.dtype(base + [(label, field.dtype, field.shape) for label, field in fields])

    def chunks(
        self, names: Sequence[str] = (), size: int = 65536, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[Any]]:
        """Stream the rows in catalogue order.

        Parameters
        ----------
        names : sequence of str
            Further columns wanted.
        size : int
            Rows per chunk.
        start, stop : int, optional
            Row range; by default all rows.

        Yields
        ------
        ndarray (<= size,), structured
            See `dtype`. ``ra`` and ``dec`` in degrees, NaN where the catalogue has none.

        Raises
        ------
        InputError
            If the file ends early, or an identifier is not printable ASCII.
        Interrupted
            After a signal.
        """
        dtype = self.dtype(names)
        end = self.nrows if stop is None else min(stop, self.nrows)
        for first in range(start, end, size):
            interrupts.check()
            last = min(first + size, end)
            columns = self._table.read(first, last, self._needed(names))
            yield self._assemble(np.arange(first, last, dtype=np.int64), columns, names, dtype)

    def read(self, rows: NDArray[np.int64], names: Sequence[str] = ()) -> NDArray[Any]:
        """Single rows, in the order given.

        Parameters
        ----------
        rows : ndarray (N,), int64
            Row numbers; sorted ones are read fastest.
        names : sequence of str
            Further columns wanted.

        Returns
        -------
        ndarray (N,), structured
            See `dtype`.

        Raises
        ------
        InputError
            If the file ends early, or an identifier is not printable ASCII.
        """
        return self._assemble(rows, self._table.take(rows, self._needed(names)), names, self.dtype(names))

    def find(self, name: str) -> str:
        """The catalogue's own spelling of a column name.

        Raises
        ------
        InputError
            If there is no such column; close matches are named.
        """
        return find_column(self._table, name)

    def column_meta(self, name: str) -> ColumnMeta:
        """Type, unit, null value and description of a column."""
        field = self._readable(name)
        return ColumnMeta(field.name, field.dtype, field.shape, field.unit, field.description, field.ucd, field.null)

    def text_columns(self) -> list[str]:
        """Columns with one text per row."""
        fields = self._table.fields.values()
        return [field.name for field in fields if field.dtype.kind == "S" and not field.shape and not field.refused]

    def head(self, name: str, number: int) -> NDArray[Any]:
        """The first values of a column, at most ``number``; text as wide as these need."""
        found = self.find(name)
        return self._table.read(0, min(number, self.nrows), [found])[found]

    def require_coordinates(self) -> None:
        """Raise `InputError` if the catalogue has no right ascension and declination."""
        if self.ra_name is None or self.dec_name is None:
            raise InputError(
                f"{self.where}: no right ascension and declination among {listed(self.names)}",
                "name them with --ra-column and --dec-column, or another table with --hdu",
            )

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Where the tables are whose rows follow each other, and their numbers of rows."""
        if isinstance(self._table, JointTable):
            return [(table.where, table.nrows) for table in self._table.tables]
        return [(self.where, self.nrows)]

    def refuse_hours(self, seen: HourCheck) -> None:
        """Raise `InputError` if all positions seen say that right ascension is in hours, and nothing says degrees."""
        if self.ra_name is not None and not self.ra_named and not self._table.fields[self.ra_name].unit:
            seen.judge(self.where, self.ra_name)

    def require_ascii(self, name: str, values: NDArray[Any], rows: NDArray[np.int64]) -> None:
        """Raise `InputError` if text of a column could not be written as ASCII again; ``rows`` are its row numbers."""
        foreign = foreign_text(values)
        if foreign.any():
            at = int(np.argmax(foreign))
            option = "name another column with --id-column" if name == self.id_name else "leave it out of --columns"
            raise InputError(
                f"{self.where}: {name} = {values[at].tolist()!r} in row {int(rows[at])} is not printable ASCII",
                f"FITS tables hold nothing else: {option}",
            )

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the catalogue's layout, whatever its path (JSON-able)."""
        return {
            "size": sum(path.stat().st_size for path in self.files),
            "hdu": self._table.hdu,
            "nrows": self.nrows,
            "columns": [[f.name, f.dtype.str, list(f.shape)] for f in self._table.fields.values()],
            "id": self.id_name,
            "ra": self.ra_name,
            "dec": self.dec_name,
        }

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _readable(self, name: str) -> Field:
        found = self.find(name)
        self._table.fields[found].require_readable(self.where)
        return self._table.exact(found)

    def _id_dtype(self, table: Table) -> np.dtype[Any]:
        if self.id_name is None or self.packed_id:
            return np.dtype(np.int64)
        dtype = table.exact(self.id_name).dtype
        return dtype if dtype.kind == "S" or dtype == np.uint64 else np.dtype(np.int64)

    def _id_columns(self) -> list[str]:
        if self.packed_id:
            return [self.find(name) for name, _, _ in LEGACY_ID]
        return [] if self.id_name is None else [self.id_name]

    def _needed(self, names: Sequence[str]) -> list[str]:
        coordinates = [name for name in (self.ra_name, self.dec_name) if name is not None]
        return list(dict.fromkeys([*self._id_columns(), *coordinates, *(self.find(name) for name in names)]))

    def _assemble(
        self, rows: NDArray[np.int64], columns: dict[str, NDArray[Any]], names: Sequence[str], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        out = np.empty(len(rows), dtype)
        out["id"] = self._identify(rows, columns)
        out["ra"] = self._degrees(self.ra_name, columns)
        out["dec"] = self._degrees(self.dec_name, columns)
        for name in names:
            out[_label(name)] = columns[self.find(name)]
        return out

    def _degrees(self, name: str | None, columns: dict[str, NDArray[Any]]) -> Any:
        if name is None:
            return np.nan
        null = self._table.fields[name].null
        values = columns[name]
        return values if null is None else np.where(values == null, np.nan, values)

    def _identify(self, rows: NDArray[np.int64], columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
        if self.id_name is None:
            return rows
        if not self.packed_id:
            values = columns[self.id_name]
            if values.dtype.kind != "S":
                return values
            self.require_ascii(self.id_name, values, rows)
            return np.strings.strip(values)
        packed = np.zeros(len(rows), np.int64)
        for name, shift, bits in LEGACY_ID:
            part = columns[self.find(name)].astype(np.int64)
            outside = (part < 0) | (part >> bits != 0)
            if outside.any():
                row = int(rows[np.argmax(outside)])
                raise InputError(
                    f"{self.where}: row {row} has {name} = {int(part[np.argmax(outside)])}, too large for a packed id",
                    "name an identifier with --id-column",
                )
            packed |= part << shift
        return packed


def open_catalog(
    path: str | Path | Sequence[Path],
    hdu: int | str | None = None,
    id_column: str | None = None,
    ra_column: str | None = None,
    dec_column: str | None = None,
) -> Catalog:
    """Open a catalogue and find its identifier and coordinates.

    Parameters
    ----------
    path : str or Path, or sequence of Path
        File or folder of a format that `open_tables` knows; the rows of several follow each other.
    hdu : int or str, optional
        Number or EXTNAME of the table in FITS files; by default the first one.
    id_column, ra_column, dec_column : str, optional
        Column names, without regard to case; by default the common survey names are tried.

    Returns
    -------
    Catalog
        Without coordinates where none are found; `Catalog.require_coordinates` refuses that.

    Raises
    ------
    InputError
        If the file cannot be read, a named column is missing or of the wrong kind, or the coordinates are in
        hours, radians, sexagesimal or Galactic, or the rows are HEALPix pixels in RING order.
    """
    table = open_tables([Path(path)] if isinstance(path, str | Path) else path, hdu)
    try:
        ra, dec = find_coordinates(table, ra_column, dec_column)
        id_name, packed = find_id(table, id_column)
        return Catalog(table, id_name, packed, ra, dec, ra_named=ra_column is not None)
    except BaseException:
        table.close()
        raise


def _label(name: str) -> str:
    return name.upper() if name in ("id", "ra", "dec") else name
