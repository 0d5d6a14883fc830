"""Several tables read as one, their rows under each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.table import Field, Table, by_capitals, joined, null_of, pieces
from galcli.sky.units import same_unit

#: Whole numbers up to here are exact in floating point.
_EXACT = 1 << 53


class JointTable:
    """The rows of several tables, in the order given; their columns are matched by name, without regard to case.

    Widths of numbers and text may differ, and whole numbers are floating point where a table has fractions. A column
    that a table lacks, or holds as something else, cannot be read.

    Parameters
    ----------
    tables : sequence of Table
        At least one; closed with this one.
    path : Path, optional
        Folder that holds them all.
    header : mapping, optional
        What is said about all of them, beside what all of them say.

    Attributes
    ----------
    tables : sequence of Table
    """

    def __init__(
        self, tables: Sequence[Table], path: Path | None = None, header: Mapping[str, Any] | None = None
    ) -> None:
        first = tables[0]
        self.path = path or first.path
        self.where = str(path) if path else f"{first.where} and {len(tables) - 1} more"
        self.hdu = first.hdu
        self.mock = any(table.mock for table in tables)
        agreed = {key: said for key, said in first.header.items() if all(t.header.get(key) == said for t in tables)}
        self.header = {**agreed, **(header or {})}
        self.tables = tables
        self._starts = np.cumsum([0, *(table.nrows for table in tables)], dtype=np.int64)
        self.nrows = int(self._starts[-1])
        #: A table without rows has no say in what the columns hold.
        self._telling = [table for table in tables if table.nrows] or [first]
        # Files of one catalogue share their fields, so that thousands of them are compared only once.
        distinct = list({id(table.fields): table for table in reversed(self._telling)}.values())[::-1]
        self._spelled = {id(table.fields): by_capitals(table.fields) for table in distinct}
        names = by_capitals({name: field for table in distinct for name, field in table.fields.items()})
        self.fields = {name: self._merged(name, distinct) for name in reversed(names.values())}

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of all tables."""
        return tuple(path for table in self.tables for path in table.files)

    def exact(self, name: str) -> Field:
        """A column with the width of its widest text, and its null if any table has nulls."""
        field = self.fields[name]
        if field.refused or field.dtype.kind == "f":
            return field
        parts = [table.exact(self._own_name(table, name)) for table in self._telling]
        nulls = [part.null for part in parts if part.null is not None]
        null = None if not nulls else nulls[0] if field.null is None else field.null
        return replace(field, dtype=np.result_type(*(part.dtype for part in parts)), null=null)

    def read(self, start: int, stop: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the rows ``start`` to ``stop``; see `Table`."""
        wanted = self._wanted(names)
        parts = []
        for number, first, last in pieces(self._starts, start, stop):
            table = self.tables[number]
            own = {name: self._own_name(table, name) for name in names}
            parts.append(self._fitted(table, own, table.read(first, last, list(own.values()))))
        return joined(parts, wanted)

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of single rows, in the order given; see `Table`."""
        wanted = self._wanted(names)
        order = np.argsort(rows, kind="stable")
        numbers = np.searchsorted(self._starts, rows[order], "right") - 1
        parts = []
        for number in np.unique(numbers).tolist():
            table, here = self.tables[number], rows[order[numbers == number]] - self._starts[number]
            own = {name: self._own_name(table, name) for name in names}
            parts.append(self._fitted(table, own, table.take(here, list(own.values()))))
        return joined(parts, wanted, order)

    def close(self) -> None:
        """Close all tables."""
        for table in self.tables:
            table.close()

    def _wanted(self, names: Sequence[str]) -> list[Field]:
        for name in names:
            self.fields[name].require_readable(self.where)
        return [self.fields[name] for name in names]

    def _own_name(self, table: Table, name: str) -> str:
        return self._spelled[id(table.fields)][name.upper()]

    def _merged(self, name: str, tables: Sequence[Table]) -> Field:
        """A column of all tables; refused where one lacks it or holds something else."""
        found = [
            (table.where, table.fields.get(self._spelled[id(table.fields)].get(name.upper(), ""))) for table in tables
        ]
        fields = [(where, field) for where, field in found if field is not None]
        where, first = fields[0]
        for place, field in found:
            if field is None:
                return replace(first, refused=f"is missing in {place}")
        faults = [fault for place, field in fields if (fault := _difference(where, first, place, field))]
        unit = next((field.unit for _, field in fields if field.unit), "")
        if faults or first.dtype.kind not in "iuf":
            return replace(first, name=name, unit=unit, refused=faults[0] if faults else "")
        dtype = np.result_type(*(field.dtype for _, field in fields))
        nulls = {(field.null, field.dtype) for _, field in fields}
        null = first.null if len(nulls) == 1 else null_of(dtype) if dtype.kind in "iu" else None
        return replace(first, name=name, unit=unit, dtype=dtype, null=null)

    def _fitted(
        self, table: Table, own: Mapping[str, str], columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Columns of one table under the common names, numbers and nulls as in all of them."""
        return {name: self._fit(name, table, own[name], columns[own[name]]) for name in own}

    def _fit(self, name: str, table: Table, own_name: str, values: NDArray[Any]) -> NDArray[Any]:
        field, own = self.fields[name], table.fields[own_name]
        if field.dtype.kind not in "iuf":
            return values
        void = values == own.null if own.null is not None else np.zeros(values.shape, bool)
        if void.any() and table.exact(own_name).null is None:  # there are no nulls: these are values
            void[...] = False
        if field.dtype.kind == "f" and own.dtype.kind in "iu":
            return self._floats(name, table, values, void)
        values = values.astype(field.dtype, copy=False)
        if field.null is None:
            return values
        if ((values == field.null) & ~void).any() and self.exact(name).null is not None:
            raise InputError(
                f"{table.where}: column {name} has the value {field.null}, which marks nulls elsewhere",
                "write the column with wider numbers, or leave it out",
            )
        return np.where(void, field.null, values).astype(field.dtype) if void.any() else values

    def _floats(
        self, name: str, table: Table, values: NDArray[Any], void: NDArray[np.bool_]
    ) -> NDArray[np.floating[Any]]:
        """Whole numbers, of a column that has fractions elsewhere; none may lose its last digits."""
        if ((values > _EXACT) | (values < -_EXACT))[~void].any():
            raise InputError(
                f"{table.where}: column {name} has whole numbers above {_EXACT}, and is floating point elsewhere",
                "write it as one type in all catalogues, or leave it out",
            )
        return np.where(void, np.nan, values).astype(self.fields[name].dtype)


def _difference(where: str, first: Field, place: str, field: Field) -> str:
    """Why two columns of one name do not hold the same; '' if they do."""
    if first.refused or field.refused:
        return first.refused or field.refused
    kinds = first.dtype.kind, field.dtype.kind
    numbers = kinds[0] in "iuf" and kinds[1] in "iuf"
    too_wide = "f" not in kinds and numbers and np.result_type(first.dtype, field.dtype).kind == "f"
    if too_wide or not (numbers or kinds[0] == kinds[1]) or first.shape != field.shape:
        return f"is {_words(first)} in {where}, {_words(field)} in {place}"
    if not same_unit(first.unit, field.unit):
        return f"is in {first.unit} in {where}, in {field.unit} in {place}"
    return ""


def _words(field: Field) -> str:
    name = {"S": "text", "b": "true or false"}.get(field.dtype.kind, str(field.dtype))
    return f"{name}{list(field.shape)}" if field.shape else name
