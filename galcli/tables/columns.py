"""The one column dictionary: what each column of an output table is called and means."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.models.card import Output
from galcli.sky.catalog import ColumnMeta
from galcli.tables.header import Card
from galcli.tables.status import NULL_BITS, ModelStatus

#: Types that FITS stores shifted by TZERO, because it has no unsigned integers and no signed bytes: type -> TZERO.
SHIFTED = {"i1": -128, "u2": 1 << 15, "u4": 1 << 31, "u8": 1 << 63}

_DTYPE = re.compile(r"b1|[iu][1248]|f[48]|A[1-9]\d*")


@dataclass(frozen=True)
class Column:
    """A column of a FITS table.

    Attributes
    ----------
    name : str
        TTYPE; written in capitals.
    dtype : str
        ``b1``, ``i1`` ... ``i8``, ``u1`` ... ``u8``, ``f4``, ``f8`` or ``A<width>`` for ASCII text.
    shape : tuple of int
        Shape per row; () is a scalar column.
    unit : str or None
        TUNIT. A unit that FITS does not know is written as a word into TCOMM instead.
    scale : str or None
        Word for the scale (dex, nat): goes into TCOMM.
    ucd, description : str
        TUCD and TCOMM.
    null : int or None
        TNULL of an integer column.
    status : str or None
        Name of the status column of the model that writes it; None where no model does.
    header : tuple of (key, value, comment)
        Cards of the table's header that come with it; ``#`` in a key stands for the number of the column.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    unit: str | None = None
    scale: str | None = None
    ucd: str = ""
    description: str = ""
    null: int | None = None
    status: str | None = None
    header: tuple[Card, ...] = ()

    def __post_init__(self) -> None:
        if not _DTYPE.fullmatch(self.dtype):
            raise ValueError(f"column {self.name}: {self.dtype!r} is no type of a table column")

    @property
    def numpy(self) -> np.dtype[Any]:
        """Native numpy type of one element; text is ``S<width>``."""
        return np.dtype(f"S{self.dtype[1:]}" if self.dtype[0] == "A" else self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.numpy.itemsize * math.prod(self.shape)

    def numbered_header(self, n: int) -> tuple[Card, ...]:
        """The cards that come with it where it is column ``n``."""
        return tuple((key.replace("#", str(n)), value, comment) for key, value, comment in self.header)

    def blank(self, n: int) -> NDArray[Any]:
        """Null values for n rows: NaN, the null integer (or 0), False, or empty text; (n, *shape)."""
        kind = self.numpy.kind
        value: Any = {"f": np.nan, "b": False, "S": b""}.get(kind, self.null or 0)
        return np.full((n, *self.shape), value, self.numpy)

    def is_null(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which values are null, elementwise; booleans never are.

        Parameters
        ----------
        values : ndarray (N, *shape)

        Returns
        -------
        ndarray (N, *shape), bool
        """
        kind = self.numpy.kind
        if kind == "f":
            return np.asarray(np.isnan(values), bool)
        if kind == "S":
            return np.asarray(values == b"", bool)
        if kind == "b" or self.null is None:
            return np.zeros(values.shape, bool)
        return np.asarray(values == self.null, bool)

    def without_value(self, rows: Mapping[str, NDArray[Any]] | NDArray[Any]) -> NDArray[np.bool_]:
        """Which values there are not, elementwise: nulls, and booleans whose model's status says so.

        Parameters
        ----------
        rows : mapping of str to ndarray, or structured ndarray
            N rows of a table: this column, and the status column of its model.

        Returns
        -------
        ndarray (N, *shape), bool
        """
        values = rows[self.name]
        if self.numpy.kind != "b" or self.status is None:
            return self.is_null(values)
        failed = rows[self.status] & int(NULL_BITS) != 0
        return np.broadcast_to(failed.reshape(-1, *(1 for _ in self.shape)), values.shape)

    @property
    def fits_unit(self) -> str | None:
        """The unit if it may stand in TUNIT, else None."""
        return self.unit if self.unit and is_fits_unit(self.unit) else None

    @property
    def comment(self) -> str:
        """TCOMM: the description, and in square brackets what FITS has no card for: scale words, unknown units."""
        word = self.scale or (self.unit if self.unit and self.fits_unit is None else None)
        null = f"null {self.null}" if self.null is not None and self.dtype in SHIFTED else None
        return " ".join([self.description or self.name.lower(), *(f"[{part}]" for part in (word, null) if part)])


@cache
def is_fits_unit(unit: str) -> bool:
    """Whether ``astropy.units.Unit(unit, format="fits")`` accepts a unit without complaint."""
    from astropy.units import Unit

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            Unit(unit, format="fits")
        except (ValueError, TypeError, Warning):
            return False
    return True


@cache
def dictionary() -> dict[str, Column]:
    """Every column that galcli and its shipped models write, from ``schemas/columns.json``; name -> Column."""
    return {entry["name"]: _from_json(entry) for entry in _entries()}


@cache
def column_models() -> dict[str, str]:
    """Which shipped model writes a column; '' for the columns of every table. Name -> model."""
    return {entry["name"]: entry["model"] for entry in _entries()}


@cache
def other_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Shape per row that a column has from other shipped models than its first; name -> model -> shape."""
    return {
        entry["name"]: {model: tuple(shape) for model, shape in entry.get("others", {}).items()} for entry in _entries()
    }


def id_column(name: str | None, dtype: np.dtype[Any], meta: ColumnMeta | None = None) -> Column:
    """The identifier column of an output table.

    Parameters
    ----------
    name : str or None
        Name in the catalogue; None: rows are named by their number, in column ``ROW``.
    dtype : numpy.dtype
        int64, uint64 or bytes ``S``.
    meta : ColumnMeta, optional
        What the catalogue says about the column.

    Returns
    -------
    Column
    """
    if name is None:
        return dictionary()["ROW"]
    code = code_of(dtype)
    description = meta.description if meta and meta.description else "identifier in the catalogue"
    null = meta.null if meta and meta.null is not None else -1 if code[0] == "i" else None
    return Column(name.upper(), code, ucd="meta.id;meta.main", description=description, null=null)


def base_columns(identifier: Column) -> list[Column]:
    """Columns that open every output table: identifier, RA, DEC, HPX, STATUS."""
    known = dictionary()
    return [identifier, *(known[name] for name in ("RA", "DEC", "HPX", "STATUS"))]


def status_column(prefix: str, model: str) -> Column:
    """The column ``<PREFIX>_STATUS`` of a model."""
    bits = ", ".join(f"{bit.value} {str(bit.name).lower().replace('_', ' ')}" for bit in ModelStatus)
    description = f"status bits of model {model}, 0 = good: {bits}"
    return Column(f"{prefix}_STATUS", "i4", ucd="meta.code.status", description=description, null=-1)


def from_output(output: Output) -> Column:
    """The table column of a model output."""
    # Images are turned by right angles only: what a model calls east is a direction of the pixel grid.
    direction = output.sky_offset and output.ucd.startswith("pos.")
    grid = " (along the pixel grid where the image is not north up)" if direction else ""
    return Column(
        output.column,
        output.dtype,
        tuple(output.shape),
        output.unit,
        output.scale,
        output.ucd,
        output.description + grid,
        output.null,
        header=tuple((card.keyword, card.value, card.comment) for card in output.header),
    )


def passed_through(meta: ColumnMeta, name: str | None = None) -> Column:
    """A catalogue column copied into the output.

    Parameters
    ----------
    meta : ColumnMeta
        What the catalogue says about it.
    name : str, optional
        Its name in the output; by default its own, in capitals.

    Returns
    -------
    Column
    """
    return Column(
        (name or meta.name).upper(),
        code_of(meta.dtype),
        meta.shape,
        meta.unit or None,
        None,
        meta.ucd,
        meta.description or "from the catalogue",
        meta.null,
    )


def code_of(dtype: np.dtype[Any]) -> str:
    """The `dtype` of a `Column` that holds values of a numpy type."""
    return f"A{max(1, dtype.itemsize)}" if dtype.kind == "S" else f"{dtype.kind}{dtype.itemsize}"


def renamed(column: Column, name: str) -> Column:
    """The same column under another name."""
    return replace(column, name=name)


@cache
def _entries() -> tuple[dict[str, Any], ...]:
    text = resources.files("galcli.schemas").joinpath("columns.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["columns"])


def _from_json(entry: dict[str, Any]) -> Column:
    keys = ("name", "dtype", "unit", "scale", "ucd", "description", "null")
    return Column(shape=tuple(entry["shape"]), **{key: entry[key] for key in keys})
