"""Columns of the output table that come from the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from galcli.errors import InputError
from galcli.predict.options import TABLE
from galcli.sky.catalog import Catalog
from galcli.tables.columns import Column, base_columns, dictionary, id_column, passed_through, renamed

#: Field of the plan's catalogue that holds the order-29 pixel; names in FITS are ASCII, so no column is called so.
HPX = "hpx\N{DEGREE SIGN}"
#: Stands for the number of the row, which the plan's catalogue does not hold.
ROW_NUMBER = "row\N{DEGREE SIGN}"
#: Column of the row number where the order of the catalogue is lost and no identifier tells it.
CATALOG_ROW = "CATALOG_ROW"
#: Characters of a column's name at most, those of one header card.
NAME_LENGTH = 68


@dataclass(frozen=True)
class Layout:
    """Columns of the table that come from the catalogue.

    Attributes
    ----------
    columns : list of Column
        id, RA, DEC, HPX, in folders CATALOG_ROW, passed-through columns, STATUS.
    copied : dict of str to str
        Table column -> field of the plan's catalogue.
    """

    columns: list[Column]
    copied: dict[str, str]


def base_columns_of(catalog: Catalog, form: str) -> list[Column]:
    """Identifier, RA, DEC, HPX and STATUS of a catalogue's table; where rows lie by sky, CATALOG_ROW before STATUS.

    Raises
    ------
    InputError
        If the catalogue has no positions.
    """
    catalog.require_coordinates()
    meta = None if catalog.id_name is None or catalog.packed_id else catalog.column_meta(catalog.id_name)
    identifier, *others = base_columns(id_column(catalog.id_name, catalog.id_dtype, meta))
    if form != TABLE and catalog.id_name is not None:
        others.insert(-1, dictionary()[CATALOG_ROW])
    if identifier.name in {column.name for column in others}:
        identifier = renamed(identifier, f"IN_{identifier.name}")
    return [identifier, *others]


def catalog_layout(catalog: Catalog, base: list[Column], passed: tuple[str, ...], written: set[str]) -> Layout:
    """Columns that the catalogue gives to the table; a name already in use becomes ``IN_<NAME>``.

    Parameters
    ----------
    catalog : Catalog
    base : list of Column
        From `base_columns_of`.
    passed : tuple of str
        Catalogue columns to pass through.
    written : set of str
        Columns that the models write.

    Raises
    ------
    InputError
        If a column asked for does not exist or is asked for twice, or the name of one is none for FITS.
    """
    *columns, status = base
    copied = dict(zip((column.name for column in columns), ("id", "ra", "dec", HPX, ROW_NUMBER), strict=False))
    taken = {column.name for column in base} | written
    found = [catalog.find(name) for name in passed]
    for name in found:
        column = passed_through(catalog.column_meta(name))
        if column.name in taken:
            column = renamed(column, f"IN_{column.name}")
        if column.name in taken or found.count(name) > 1:
            raise InputError(f"column {name} is asked for twice", "name each column once in --columns")
        taken.add(column.name)
        columns.append(column)
        copied[column.name] = (catalog.dtype([name]).names or ())[-1]
    for column in columns:
        if not (column.name.isascii() and column.name.isprintable() and len(column.name) <= NAME_LENGTH):
            raise InputError(
                f"{catalog.where}: column {column.name!r} cannot have this name in a FITS table",
                f"give it a name of at most {NAME_LENGTH} ASCII characters, or do without it",
            )
    return Layout([*columns, status], copied)
