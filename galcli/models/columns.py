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
from galcli.models.library import ModelFile
from galcli.models.units import Mismatch, factor_between, photometric, says_nothing, systems
from galcli.sky.catalog import Catalog, ColumnMeta

#: Magnitude of one nanomaggy.
ZEROPOINT = 22.5
#: Numbers of a catalogue, with either sign, that are none in whatever unit they stand: -9999 of SDSS, MPA-JHU and GAMA,
#: and of magnitudes 99 of SExtractor and -999 of LAMBDAR.
SENTINELS: dict[str | None, tuple[float, ...]] = {"mag": (99.0, 999.0, 9999.0), "flux": (9999.0,), "value": (9999.0,)}
#: Nothing is so bright or so faint, mag.
NO_MAGNITUDE = 90.0
#: What columns hold that are no numbers.
_KINDS = {"S": "text", "b": "yes or no, no numbers"}
#: Columns of one letter that are magnitudes where their neighbours stand beside them.
_BANDS, _NEIGHBOURS = tuple("ugrizy"), "gr"
#: Columns of a catalogue that an error lists at most.
_LISTED = 20


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
    unclear : str
        The catalogue's unit, where the column is taken as the card says because nobody understands it; else ''.
    """

    wanted: InputColumn
    name: str
    field: str
    null: int | None
    found: Alias
    factor: float = 1.0
    wanted_factor: float = 1.0
    shift: float = 0.0
    unclear: str = ""

    def take(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values (N,) of the catalogue as the card wants them, float32; NaN where there are none."""
        numbers = values.astype(np.float64)
        missing = ~np.isfinite(numbers)
        if self.null is not None:
            missing |= values == self.null
        missing |= np.isin(np.abs(numbers), SENTINELS[self.found.quantity])
        if self.found.quantity == "mag":  # before it becomes a flux that looks like any other
            missing |= np.abs(numbers * self.factor) >= NO_MAGNITUDE
        low, high = self.wanted.range
        with np.errstate(all="ignore"):  # what has no logarithm, or is no float32, is missing
            converted = self._converted(numbers)
            missing |= (converted <= low) | (converted >= high)
            taken = np.where(missing, np.nan, converted).astype(np.float32)
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
        return f"{self.name} [{self._scale}]" if self._scale else self.name

    @property
    def _scale(self) -> str:
        """Unit and system, such as ``nanomaggy, AB``."""
        unit, system = self.found.unit or "", self.found.system or ""
        return ", ".join(word for word in (unit, "" if system.lower() in unit.lower() else system) if word)

    @property
    def change(self) -> str:
        """Where it comes from if the catalogue calls it otherwise, gives it otherwise or in an odd unit; else ''."""
        if self.unclear:
            taken = self._scale or "a number without a unit"
            return f"{self.wanted.name} from {self.name} (unit {self.unclear!r} not understood; taken as {taken})"
        scales = (self.found.quantity, self.factor, self.shift), (self.wanted.quantity, self.wanted_factor, 0.0)
        same = self.name.upper() == self.wanted.name.upper() and scales[0] == scales[1]
        return "" if same else f"{self.wanted.name} from {self.told}"


@dataclass(frozen=True)
class CatalogColumns:
    """All columns of a card, in a catalogue.

    Attributes
    ----------
    wanted : tuple of InputColumn
        Those of the card.
    bound : tuple of BoundColumn or None
        In their order; None where the catalogue has none, and the model can do without.
    """

    wanted: tuple[InputColumn, ...]
    bound: tuple[BoundColumn | None, ...]

    @property
    def there(self) -> tuple[BoundColumn, ...]:
        """Those that the catalogue has."""
        return tuple(column for column in self.bound if column is not None)

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of those that it has not: each of their values is missing."""
        return tuple(column.name for column, bound in zip(self.wanted, self.bound, strict=True) if bound is None)

    def absence(self, model: str) -> str:
        """What to say of those that are absent; '' where none is."""
        if not self.absent:
            return ""
        hint = f"where one is called otherwise: --map {self.absent[0]}=COLUMN"
        return f"note: no column for {', '.join(self.absent)}; {model} does without ({hint})"

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the catalogue's rows."""
        return tuple(dict.fromkeys(column.field for column in self.there))

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
        count = len(rows[self.there[0].field])
        columns = np.full((count, len(self.bound)), np.nan, np.float32)
        for number, column in enumerate(self.bound):
            if column is not None:
                columns[:, number] = column.take(rows[column.field])
        return columns, np.asarray((np.isnan(columns) & self._needed).any(axis=1))

    @property
    def _needed(self) -> NDArray[np.bool_]:
        """Which of the card's columns (K,) the model cannot do without."""
        return np.array([column.missing == "null" for column in self.wanted])

    def lacking(self, rows: Mapping[str, NDArray[Any]]) -> list[str]:
        """Of each row (see `take`), the columns without a usable value that the model cannot do without."""
        lost = np.isnan(self.take(rows)[0]) & self._needed
        told = ["" if column is None else column.told for column in self.bound]
        return [", ".join(told[number] for number in np.flatnonzero(row)) for row in lost]

    def thin(self, rows: Mapping[str, NDArray[Any]], model: ModelFile) -> list[str]:
        """What to say of columns with usable values in less than half of some rows (see `take`), a line of each kind."""
        values = self.take(rows)[0]
        lost = np.isnan(values).mean(axis=0) if len(values) else np.zeros(len(self.bound))
        lines = []
        for needed, then in ((True, "predicts no such row"), (False, "does without")):
            some = [
                f"{column.told} in {100 * part:.3g} %"
                for column, part, need in zip(self.bound, lost, self._needed, strict=True)
                if column is not None and part > 0.5 and need == needed
            ]
            if some:
                lines.append(
                    f"note: no usable value of {', '.join(some)} of the first {len(values):,} rows; {model.name} {then} "
                    f"(units and ranges: galcli models show {model.found_by})"
                )
        return lines

    def identity(self) -> dict[str, str]:
        """Where each column comes from (JSON-able; part of the run's identity)."""
        places = zip(self.wanted, self.bound, strict=True)
        return {column.name: "" if bound is None else bound.told for column, bound in places}

    def changes(self) -> list[str]:
        """The columns that the catalogue calls or gives otherwise, such as ``petroMag_r from FLUX_R [nanomaggy, AB]``.

        And those with a unit that is not understood: ``r from R (unit 'furlong' not understood; taken as mag, AB)``.
        """
        return [column.change for column in self.there if column.change]


def bind_columns(card: Card, catalog: Catalog, mapped: Mapping[str, str]) -> CatalogColumns:
    """Find the columns of a card in a catalogue.

    The catalogue's unit decides what a column is; without one, or where it is not understood, the card does. A column of
    one letter, ``z``, beside ``g`` and ``r`` is the magnitude of a band and nothing else, unless the user names it.

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
        If the catalogue lacks a column that the model needs, or all of them, or has one in a form or unit that the model
        cannot take.
    """
    places = [(column, _way(column, catalog.names, mapped.get(column.name.upper()))) for column in card.columns]
    absent = [column for column, way in places if way is None]
    needed = [column for column in absent if column.missing == "null"]
    if needed or (absent and len(absent) == len(places)):
        raise _absence(card, catalog, needed or absent)
    bound = (None if way is None else _bind(card, catalog, column, way) for column, way in places)
    return CatalogColumns(card.columns, tuple(bound))


def _way(column: InputColumn, names: Sequence[str], named: str | None) -> Alias | None:
    """What the user names or, in their order, the first name that the catalogue has, with what it holds by the card."""
    if named is None:
        return next((way for way in column.ways if _is_there(way, names)), None)
    like = next((way for way in column.ways if way.name.upper() == named.upper()), column.ways[0])
    return _called(like, named)


def _is_there(way: Alias, names: Sequence[str]) -> bool:
    """Whether the catalogue has a column of that name, and no magnitude of a band stands there instead of a value."""
    name = _spelled(way.name, names)
    return name is not None and not (way.quantity == "value" and _is_band(name, names))


def _spelled(name: str, names: Sequence[str]) -> str | None:
    """A column as the catalogue spells it (`Catalog.find`); None where it has none."""
    return name if name in names else next((other for other in names if other.upper() == name.upper()), None)


def _is_band(name: str, names: Sequence[str]) -> bool:
    """Whether a column is called as a band, and spelled as those beside it are."""
    beside = _NEIGHBOURS if name.islower() else _NEIGHBOURS.upper()
    return name.lower() in _BANDS and all(other in names for other in beside)


def _called(way: Alias, name: str) -> Alias:
    """The same under another name."""
    return way.model_copy(update={"name": name})


def _absence(card: Card, catalog: Catalog, absent: Sequence[InputColumn]) -> InputError:
    """Names every column that is absent, and all names that were looked for."""
    looked = [f"{c.name} (or {', '.join(a.name for a in c.aliases)})" if c.aliases else c.name for c in absent]
    bands = ", ".join(name for column in absent if (name := _spelled(column.name, catalog.names)))
    told = f"; {bands} beside g and r is the magnitude of a band" if bands else ""
    there = ", ".join(catalog.names[:_LISTED]) + ", ..." * (len(catalog.names) > _LISTED)
    return InputError(
        f"{catalog.where}: {card.name} needs column{'s' * (len(absent) > 1)} {', '.join(looked)}{told}",
        f"where it is called otherwise, name it with --map {absent[0].name}=COLUMN (there are {there})",
    )


def _bind(card: Card, catalog: Catalog, column: InputColumn, way: Alias) -> BoundColumn:
    name = catalog.find(way.name)
    meta = catalog.column_meta(name)
    hint = f"name another column with --map {column.name}=COLUMN"
    if meta.shape or meta.dtype.kind not in "iuf":
        kind = "no single number per row" if meta.shape else _KINDS.get(meta.dtype.kind, "no numbers")
        raise InputError(
            f"{catalog.where}: column {name}, which {card.name} takes for {column.name}, holds {kind}", hint
        )
    field = (catalog.dtype([name]).names or ())[-1]
    bound = BoundColumn(column, name, field, meta.null, _called(way, name))
    try:
        return _measured(bound, meta) if column.quantity == "value" else _photometric(bound, meta)
    except Mismatch as error:
        value = f"in {column.unit}" if column.unit else "as a number without a unit"
        what = {"mag": "in magnitudes", "flux": "in fluxes", "value": value}[column.quantity]
        raise InputError(
            f"{catalog.where}: column {name} is in {meta.unit}{error}, but {card.name} takes {column.name} {what}",
            f"correct the unit in the catalogue, or {hint}",
        ) from error


def _measured(bound: BoundColumn, meta: ColumnMeta) -> BoundColumn:
    """A value: its unit becomes that of the card where both are known."""
    unit, wanted = bound.found.unit, bound.wanted.unit
    factor = factor_between(meta.unit, wanted)
    if factor is not None:
        return replace(bound, found=bound.found.model_copy(update={"unit": meta.unit}), factor=factor)
    unclear = "" if wanted is None or says_nothing(meta.unit) or meta.unit == wanted else meta.unit
    return replace(bound, factor=factor_between(unit, wanted) or 1.0, unclear=unclear)


def _photometric(bound: BoundColumn, meta: ColumnMeta) -> BoundColumn:
    """A flux or magnitude, by the catalogue's unit where that is understood, else by the card if that does not differ."""
    way, wanted = bound.found, bound.wanted
    said = photometric(meta.unit, way.quantity)
    factor = said.factor if said else _factor(way)
    if said is not None:
        # What the card says of magnitudes does not hold for fluxes, which are AB where nothing says otherwise.
        system = said.system or ("AB" if said.quantity == "flux" != way.quantity else way.system)
        way = Alias(name=way.name, quantity=said.quantity, system=system, unit=meta.unit)
    elif others := systems(meta.unit) - {way.system}:
        raise Mismatch(f" (not understood but for {' and '.join(sorted(others))}; its card says {way.system})")
    shift = 0.0
    if way.system != wanted.system:
        if wanted.ab_minus_vega is None:
            raise Mismatch(f" ({way.system}), its card does not tell how far that is from {wanted.system}")
        shift = wanted.ab_minus_vega if wanted.system == "AB" else -wanted.ab_minus_vega
    unclear = "" if said is not None or says_nothing(meta.unit) else meta.unit
    return replace(bound, found=way, factor=factor, wanted_factor=_factor(wanted.ways[0]), shift=shift, unclear=unclear)


def _factor(way: Alias) -> float:
    """A unit of the card in nanomaggies; that of magnitudes is 1."""
    said = photometric(way.unit or "")
    return said.factor if said is not None and way.quantity == "flux" else 1.0
