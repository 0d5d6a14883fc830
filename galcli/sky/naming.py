"""Which columns of a catalogue name its rows and place them on the sky."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json

from galcli.errors import InputError
from galcli.sky.systems import other_system
from galcli.sky.table import Field, Table, by_capitals
from galcli.sky.units import is_degrees, is_hours, is_radians

#: Columns whose values, packed into one number, name an object of the Legacy Surveys: (name, lowest bit, bits).
LEGACY_ID = (("OBJID", 0, 22), ("BRICKID", 22, 20), ("RELEASE", 42, 16))

#: UCDs of the main position, of version 1+ and 1.
_MAIN_POSITION = ("pos.eq.{};meta.main", "pos_eq_{}_main")

_TO_DEGREES = "add RA and Dec in degrees (astropy.coordinates.SkyCoord)"


def find_column(table: Table, name: str) -> str:
    """The table's own spelling of a column name, compared without case.

    Raises
    ------
    InputError
        If there is no such column; close matches are named.
    """
    if name in table.fields:
        return name
    folded = by_capitals(table.fields)
    if name.upper() in folded:
        return folded[name.upper()]
    close = difflib.get_close_matches(name.upper(), folded, n=3)
    hint = "did you mean " + " or ".join(folded[match] for match in close) + "?" if close else ""
    raise InputError(f"{table.where}: no column {name}", hint or f"its columns are {listed(list(table.fields))}")


def find_coordinates(table: Table, ra: str | None, dec: str | None) -> tuple[str | None, str | None]:
    """Columns of right ascension and declination.

    Parameters
    ----------
    table : Table
    ra, dec : str, optional
        Names given by the user.

    Returns
    -------
    ra, dec : str or None
        None where the table has none.

    Raises
    ------
    InputError
        If a named column is missing, or the coordinates are not degrees on the equatorial system.
    """
    ra = None if ra is None else find_column(table, ra)
    dec = None if dec is None else find_column(table, dec)
    folded = by_capitals(table.fields)
    known = [(entry["ra"], entry["dec"]) for entry in _known_names()["coordinates"]]
    pairs = [(folded[a], folded[b]) for a, b in known if a in folded and b in folded]
    declared = tuple(folded.get(str(table.header.get(key, "")).upper()) for key in ("HATS_COL_RA", "HATS_COL_DEC"))
    if declared[0] and declared[1]:
        pairs.insert(0, (declared[0], declared[1]))
    described = tuple(_main_position(table, axis) for axis in ("ra", "dec"))
    if described[0] and described[1]:
        pairs.append((described[0], described[1]))
    choices = [pair for pair in pairs if ra in (None, pair[0]) and dec in (None, pair[1])]
    if ra is not None and dec is not None:
        choices = [(ra, dec)]
    if not choices and (ra or dec):
        other = "--ra-column" if ra is None else "--dec-column"
        raise InputError(f"{table.where}: only {ra or dec} is named", f"give {other} too")
    if not choices:
        other = other_system(table.header, folded)
        if other:
            raise InputError(
                f"{table.where}: {other}", f"{_TO_DEGREES}, or name columns with --ra-column and --dec-column"
            )
        return None, None
    for choice in choices:  # a survey may give sexagesimal text beside degrees
        if all(_fault(table.fields[name]) == "" for name in choice):
            return choice
    field = next(table.fields[name] for name in choices[0] if _fault(table.fields[name]))
    raise InputError(f"{table.where}: column {field.name} {_fault(field)}", _remedy(field))


def _fault(field: Field) -> str:
    """Why a column cannot be a coordinate; '' if it can."""
    if field.refused:
        return field.refused
    if field.dtype.kind == "S":
        return "is text, coordinates must be numbers in degrees"
    if field.shape or field.dtype.kind not in "iuf":
        return "is not one number per row"
    return "" if is_degrees(field.unit) else f"is in {field.unit}, coordinates must be in degrees"


def _main_position(table: Table, axis: str) -> str | None:
    """The column that its UCD calls the main right ascension or declination."""
    ucds = [ucd.format(axis) for ucd in _MAIN_POSITION]
    return next((field.name for field in table.fields.values() if field.ucd.lower() in ucds), None)


def _remedy(field: Field) -> str:
    """How to make a column a coordinate."""
    if field.refused:
        return "give the coordinates in degrees, one number per row, under the same names in all catalogues"
    if is_hours(field.unit) and field.dtype.kind != "S":
        return f"multiply {field.name} by 15 to have degrees, or name other columns"
    if is_radians(field.unit):
        return f"convert it to degrees (numpy.degrees({field.name})), or name other columns"
    return "convert the coordinates to degrees (astropy.coordinates.SkyCoord), or name other columns"


def find_id(table: Table, wanted: str | None) -> tuple[str | None, bool]:
    """Column of the identifier.

    Parameters
    ----------
    table : Table
    wanted : str, optional
        Name given by the user.

    Returns
    -------
    name : str or None
        None: the rows have no names.
    packed : bool
        Whether the identifier is packed from the columns of `LEGACY_ID`, as DESI does for TARGETID.

    Raises
    ------
    InputError
        If the named column is missing or holds neither whole numbers nor text.
    """
    if wanted is not None:
        field = table.fields[find_column(table, wanted)]
        field.require_readable(table.where)
        if not _is_id(field):
            raise InputError(
                f"{table.where}: column {field.name} ({field.dtype}) cannot name rows",
                "identifiers are whole numbers or text, one per row: floating point loses their last digits",
            )
        return field.name, False
    folded = by_capitals(table.fields)
    partly: Field | None = None
    for name in (entry["name"] for entry in _known_names()["identifiers"]):
        if name == "OBJID" and _has_legacy_id(table, folded):
            return "TARGETID", True
        if name in folded and _is_id(table.fields[folded[name]]):
            return folded[name], False
        if name in folded and _names_some_rows(table.fields[folded[name]]):
            partly = partly or table.fields[folded[name]]
    if partly:
        raise InputError(
            f"{table.where}: column {partly.name} {partly.refused}",
            "name an identifier that all have with --id-column, or predict each catalogue by itself",
        )
    return None, False


def _has_legacy_id(table: Table, folded: dict[str, str]) -> bool:
    """OBJID of the Legacy Surveys is unique only within a brick and a release."""
    fields = [table.fields[folded[name]] for name, _, _ in LEGACY_ID if name in folded]
    return len(fields) == len(LEGACY_ID) and all(_is_id(field) and field.dtype.kind in "iu" for field in fields)


def _is_id(field: Field) -> bool:
    return not field.refused and field.shape == () and field.dtype.kind in "iuS"


def _names_some_rows(field: Field) -> bool:
    """An identifier in some of several catalogues only."""
    return bool(field.refused) and field.shape == () and field.dtype.kind in "iuS"


@functools.cache
def _known_names() -> dict[str, list[dict[str, str]]]:
    """Names that surveys use, from ``schemas/catalog.json``."""
    text = importlib.resources.files("galcli.schemas").joinpath("catalog.json").read_text(encoding="utf-8")
    names: dict[str, list[dict[str, str]]] = json.loads(text)
    return names


def listed(names: list[str]) -> str:
    """Column names for a message: the first dozen."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
