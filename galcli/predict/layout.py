"""Columns of the output table that come from the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from galcli.errors import InputError
from galcli.sky.catalog import Catalog
from galcli.tables.columns import Column, base_columns, id_column, passed_through, renamed


#: Field of the plan's catalogue that holds the order-29 pixel; no catalogue calls a column so.
HPX = "_hpx"


@dataclass(frozen=True)
class Layout:
    """Columns of the table that come from the catalogue.

    Attributes
    ----------
    columns : list of Column
        id, RA, DEC, HPX, passed-through columns, STATUS.
    copied : dict of str to str
        Table column -> field of the plan's catalogue.
    """

    columns: list[Column]
    copied: dict[str, str]


def catalog_layout(catalog: Catalog, passed: tuple[str, ...]) -> Layout:
    """Columns that the catalogue gives to the table; a name already in use becomes ``IN_<NAME>``.

    Raises
    ------
    InputError
        If a column asked for does not exist, or the catalogue has no positions.
    """
    catalog.require_coordinates()
    meta = None if catalog.id_name is None or catalog.packed_id else catalog.column_meta(catalog.id_name)
    identifier, ra, dec, hpx, status = base_columns(id_column(catalog.id_name, catalog.id_dtype, meta))
    columns, copied = [identifier, ra, dec, hpx], {identifier.name: "id", ra.name: "ra", dec.name: "dec", hpx.name: HPX}
    taken = {column.name for column in (*columns, status)}
    for name in passed:
        column = passed_through(catalog.column_meta(name))
        if column.name in taken:
            column = renamed(column, f"IN_{column.name}")
        if column.name in taken:
            raise InputError(f"column {name} is asked for twice", "name each column once in --columns")
        taken.add(column.name)
        columns.append(column)
        copied[column.name] = (catalog.dtype([catalog.find(name)]).names or ())[-1]
    return Layout([*columns, status], copied)
