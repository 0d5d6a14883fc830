"""The catalogue columns of a model: found in a catalogue, and brought to the quantity, system and unit of its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.models.card import Card
from galcli.models.card_columns import Alias, InputColumn
from galcli.models.units import Mismatch, factor_between, photometric
from galcli.sky.catalog import Catalog, ColumnMeta

#: Magnitude of one nanomaggy.
ZEROPOINT = 22.5


@dataclass(frozen=True)
class BoundColumn:
    """A column of a card, in a catalogue.

    Attributes
    ----------
    wanted : InputColumn
    name : str
        As the catalogue spells it.
    field : str
        The same as rows of the catalogue have it (`Catalog.dtype`).
    null : int or None
        Value that means "no value" in an integer column.
    found : Alias
        What the column holds: by the card and, where that is understood, by the catalogue's unit.
    factor : float
        The column's unit in magnitudes or nanomaggies; of a value, in the unit that the card wants.
    wanted_factor : float
        The same of the unit that the card wants.
    shift : float
        What brings its magnitudes to the system that the card wants.
    """

    wanted: InputColumn
    name: str
    field: str
    null: int | None
    found: Alias
    factor: float = 1.0
    wanted_factor: float = 1.0
    shift: float = 0.0

    def take(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values (N,) of the catalogue as the card wants them, float32; NaN where there are none."""
        numbers = values.astype(np.float64)
        missing = ~np.isfinite(numbers)
        if self.null is not None:
            missing |= values == self.null
        if self.wanted.limit is not None and self.found.quantity == self.wanted.quantity:
            # Sentinels stand as they are in any unit; values are told from them in the unit of the card.
            missing |= np.abs(numbers * min(1.0, self.factor / self.wanted_factor)) >= self.wanted.limit
        with np.errstate(all="ignore"):  # what has no logarithm, or is no float32, is missing
            taken = np.where(missing, np.nan, self._converted(numbers)).astype(np.float32)
        taken[~np.isfinite(taken)] = np.nan
        return taken

    def _converted(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Other quantity, system and unit; Pogson's law with 22.5 mag for one nanomaggy."""
        scaled = numbers * self.factor if self.factor != 1 else numbers
        match self.found.quantity, self.wanted.quantity:
            case "flux", "mag":
                light = np.where(scaled > 0, scaled, np.nan)
                return ZEROPOINT - 2.5 * np.log10(light) + self.shift
            case "mag", "flux":
                return np.asarray(10 ** (0.4 * (ZEROPOINT - scaled - self.shift)) / self.wanted_factor)
            case "flux", "flux":
                return np.asarray(scaled * (10 ** (-0.4 * self.shift) / self.wanted_factor))
        return scaled + self.shift if self.shift else scaled

    @property
    def told(self) -> str:
        """Column and unit, such as ``FLUX_R [nanomaggy, AB]``."""
        unit, system = self.found.unit or "", self.found.system or ""
        words = ", ".join(word for word in (unit, "" if system.lower() in unit.lower() else system) if word)
        return f"{self.name} [{words}]" if words else self.name

    @property
    def changed(self) -> bool:
        """Whether it is called otherwise in the catalogue, or converted."""
        return self.name.upper() != self.wanted.name.upper() or (
            (self.found.quantity, self.factor, self.shift) != (self.wanted.quantity, self.wanted_factor, 0.0)
        )


@dataclass(frozen=True)
class CatalogColumns:
    """All columns of a card, in a catalogue.

    Attributes
    ----------
    bound : tuple of BoundColumn
        In the order of the card.
    """

    bound: tuple[BoundColumn, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the catalogue's rows."""
        return tuple(dict.fromkeys(column.field for column in self.bound))

    def take(self, rows: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What the graph takes of some rows.

        Parameters
        ----------
        rows : mapping of str to ndarray (N,)
            The fields of `needs`.

        Returns
        -------
        columns : ndarray (N, K), float32
            NaN where a value is missing.
        lacking : ndarray (N,), bool
            Rows without a value that the model cannot do without.
        """
        count = len(rows[self.bound[0].field])
        columns, lacking = np.empty((count, len(self.bound)), np.float32), np.zeros(count, np.bool_)
        for number, column in enumerate(self.bound):
            columns[:, number] = column.take(rows[column.field])
            if column.wanted.missing == "null":
                lacking |= np.isnan(columns[:, number])
        return columns, lacking

    def identity(self) -> dict[str, str]:
        """Where each column comes from (JSON-able; part of the run's identity)."""
        return {column.wanted.name: column.told for column in self.bound}

    def changes(self) -> list[str]:
        """The columns that the catalogue calls or gives otherwise, such as ``petroMag_r from FLUX_R [nanomaggy, AB]``."""
        return [f"{column.wanted.name} from {column.told}" for column in self.bound if column.changed]


def bind_columns(card: Card, catalog: Catalog, mapped: Mapping[str, str]) -> CatalogColumns:
    """Find the columns of a card in a catalogue.

    Parameters
    ----------
    card : Card
    catalog : Catalog
    mapped : mapping of str to str
        Name of a column of the card, in capitals -> catalogue column that the user names for it.

    Returns
    -------
    CatalogColumns

    Raises
    ------
    InputError
        If the catalogue lacks a column, or has it in a form or unit that the model cannot take.
    """
    known = {name.upper() for name in catalog.names}
    places: list[tuple[InputColumn, Alias]] = []
    absent: list[InputColumn] = []
    for column in card.columns:
        if way := _way(column, known, mapped.get(column.name.upper())):
            places.append((column, way))
        else:
            absent.append(column)
    if absent:
        raise _absence(card, catalog, absent)
    return CatalogColumns(tuple(_bind(card, catalog, column, way) for column, way in places))


def _way(column: InputColumn, known: set[str], named: str | None) -> Alias | None:
    """What the user names or, in their order, the first name that the catalogue has, with what it holds by the card."""
    if named is None:
        return next((way for way in column.ways if way.name.upper() in known), None)
    like = next((way for way in column.ways if way.name.upper() == named.upper()), column.ways[0])
    return _called(like, named)


def _called(way: Alias, name: str) -> Alias:
    """The same under another name."""
    return way.model_copy(update={"name": name})


def _absence(card: Card, catalog: Catalog, absent: Sequence[InputColumn]) -> InputError:
    """Names every column that is absent, and all names that were looked for."""
    looked = [f"{c.name} (or {', '.join(a.name for a in c.aliases)})" if c.aliases else c.name for c in absent]
    return InputError(
        f"{catalog.where}: {card.name} needs column{'s' * (len(absent) > 1)} {', '.join(looked)}",
        f"where it is called otherwise, name it with --map {absent[0].name}=COLUMN",
    )


def _bind(card: Card, catalog: Catalog, column: InputColumn, way: Alias) -> BoundColumn:
    name = catalog.find(way.name)
    meta = catalog.column_meta(name)
    hint = f"name another column with --map {column.name}=COLUMN"
    if meta.shape or meta.dtype.kind not in "iufb":
        kind = "text" if meta.dtype.kind == "S" and not meta.shape else "no single number per row"
        raise InputError(
            f"{catalog.where}: column {name}, which {card.name} takes for {column.name}, holds {kind}", hint
        )
    field = (catalog.dtype([name]).names or ())[-1]
    bound = BoundColumn(column, name, field, meta.null, _called(way, name))
    try:
        return _measured(bound, meta) if column.quantity == "value" else _photometric(bound, meta)
    except Mismatch as error:
        what = {"mag": "magnitudes", "flux": "fluxes", "value": column.unit or "numbers"}[column.quantity]
        raise InputError(
            f"{catalog.where}: column {name} is in {meta.unit}{error}, but {card.name} takes {column.name} in {what}",
            f"correct the unit in the catalogue, or {hint}",
        ) from error


def _measured(bound: BoundColumn, meta: ColumnMeta) -> BoundColumn:
    """A value: its unit becomes that of the card where both are known."""
    unit = bound.found.unit
    factor = factor_between(meta.unit, bound.wanted.unit)
    if factor is None:  # what the catalogue says is not understood
        factor = factor_between(unit, bound.wanted.unit) or 1.0
    else:
        unit = meta.unit
    return replace(bound, found=bound.found.model_copy(update={"unit": unit}), factor=factor)


def _photometric(bound: BoundColumn, meta: ColumnMeta) -> BoundColumn:
    """A flux or magnitude, by the catalogue's unit where that is understood, else by the card."""
    way, wanted = bound.found, bound.wanted
    said = photometric(meta.unit)
    factor = said.factor if said else _factor(way)
    if said is not None:
        # What the card says of magnitudes does not hold for fluxes, which are AB where nothing says otherwise.
        system = said.system or ("AB" if said.quantity == "flux" != way.quantity else way.system)
        way = Alias(name=way.name, quantity=said.quantity, system=system, unit=meta.unit)
    shift = 0.0
    if way.system != wanted.system:
        if wanted.ab_minus_vega is None:
            raise Mismatch(f" ({way.system}), its card does not tell how far that is from {wanted.system}")
        shift = wanted.ab_minus_vega if wanted.system == "AB" else -wanted.ab_minus_vega
    return replace(bound, found=way, factor=factor, wanted_factor=_factor(wanted.ways[0]), shift=shift)


def _factor(way: Alias) -> float:
    """A unit of the card in nanomaggies; that of magnitudes is 1."""
    said = photometric(way.unit or "")
    return said.factor if said is not None and way.quantity == "flux" else 1.0
