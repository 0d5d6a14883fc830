"""Columns of a survey's catalogue as networks for stellar mass take them, and the words for them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.models.card import Card
from galcli.models.card_columns import InputColumn
from galcli.models.columns import BoundColumn, CatalogColumns, bind_columns
from galcli.sky.catalog import Catalog
from galcli.training.recipes import mass_card
from galcli.training.recipes.mass_plan import EXTINCTION, INFRARED, MORPHOLOGY, OPTICAL, REDSHIFT, TARGET
from galcli.training.survey import stream

#: Columns that networks and reports know: their units, other names and missing values.
KNOWN = (*OPTICAL, EXTINCTION, *INFRARED, REDSHIFT, *MORPHOLOGY, TARGET)
#: Names, and the catalogue columns that the user names for them.
Mapped = tuple[tuple[str, str], ...]


def bind(
    catalog: Catalog, names: tuple[str, ...], mapped: Mapped = (), optional: Collection[str] = ()
) -> CatalogColumns:  # fmt: skip
    """Find columns as models for stellar mass do: by the same names, units and missing values.

    Parameters
    ----------
    catalog : Catalog
    names : tuple of str
        Those of `KNOWN`, or any of the catalogue, which are taken as they are.
    mapped : tuple of (str, str)
    optional : collection of str
        Names that the catalogue may lack.

    Raises
    ------
    InputError
        If the catalogue lacks another column, or all of them, or has it in a unit that cannot be used.
    """
    wanted = tuple(InputColumn(**mass_card.column(name, name in optional)) for name in names)
    card = Card.model_construct(name="the network", columns=wanted)
    return bind_columns(card, catalog, {name.upper(): column for name, column in mapped})


def read_columns(
    catalog: Catalog, bound: CatalogColumns, rows: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float32]]:  # fmt: skip
    """Columns (N,) of a catalogue by the names of `bind`; NaN where there is no value.

    Parameters
    ----------
    catalog : Catalog
    bound : CatalogColumns
    rows : ndarray (N,), int64, optional
        Rows in ascending order; all of them by default.
    """
    parts = [bound.take({name: some[name] for name in bound.needs})[0] for some in stream(catalog, bound.needs, rows)]
    matrix = np.concatenate(parts) if parts else np.zeros((0, len(bound.wanted)), np.float32)
    return {column.name: matrix[:, number].copy() for number, column in enumerate(bound.wanted)}


def words(catalog: Catalog, mapped: Mapped, target: str) -> dict[str, str]:
    """Words for the columns of a catalogue, and the names by which these are read (`bind`).

    Columns of `KNOWN`, where the catalogue has them under any name that networks look for, or that the user names; then
    all others as they are. Another name for a known column is that column, also where the catalogue calls it otherwise
    (``redshift`` for its ``Z_SPEC``); one of a flux for a magnitude is its own. A column called as a known one that it
    cannot be (``z`` in mag) has no word, nor has the mass.

    Parameters
    ----------
    catalog : Catalog
    mapped : tuple of (str, str)
    target : str
        Column of the mass.

    Raises
    ------
    InputError
        If a column that the user names is not there, or cannot be used.
    """
    named = {name.lower(): name for name, _ in mapped}
    house = named | {name.lower(): name for name in KNOWN}
    bound = {name: _bound(catalog, name, mapped, key in named) for key, name in house.items()}
    found = {name: column for name, column in bound.items() if column and column.name.lower() != target.lower()}
    same = {column.name: name for name, column in found.items() if column.found.quantity == column.wanted.quantity}
    others = [name for name in catalog.names if name.lower() not in (*house, target.lower())]
    taken = {*house, target.lower(), *(name.lower() for name in catalog.names)}
    aliases = {way.name: name for name, column in found.items() for way in column.wanted.ways
               if way.quantity == column.wanted.quantity and way.name.lower() not in taken}  # fmt: skip
    return {name: name for name in found} | {name: same.get(name, name) for name in others} | aliases


def _bound(catalog: Catalog, name: str, mapped: Mapped, must: bool) -> BoundColumn | None:
    """A column; None where the catalogue has none of that name and kind, unless there must be one."""
    try:
        return bind(catalog, (name,), mapped).there[0]
    except InputError:
        if must:
            raise
        return None
