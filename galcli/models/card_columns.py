"""Catalogue columns that a model wants, as its card describes them."""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

Quantity: TypeAlias = Literal["flux", "mag", "value"]
System: TypeAlias = Literal["AB", "Vega"]
#: Name of a catalogue column.
Name = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$")]

#: Units of a flux, and how many nanomaggies each is; those in Jy are AB by definition: m_AB = -2.5 log10(f/Jy) + 8.9.
NANOMAGGIES = {"nanomaggy": 1.0, "maggy": 1e9}
JANSKYS = {"Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6, "nJy": 1e-9}


class Alias(BaseModel):
    """Another name of a column; what is null is as in the column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    quantity: Quantity | None = None
    system: System | None = None
    unit: str | None = None


class InputColumn(BaseModel):
    """A catalogue column the model wants beside (or instead of) pixels.

    `low` and `high` hold for what the graph takes, in its quantity and unit, whatever the catalogue holds.
    Sentinels need no word in the card: -9999 and 9999 in the catalogue's own numbers, of magnitudes also 99 and 999 with
    either sign, are none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    aliases: tuple[Alias, ...] = Field(default=(), description="other names, tried in their order")
    quantity: Quantity = Field(description="what the graph takes: a flux, a magnitude, or a number as it is")
    system: System | None = Field(default=None, description="of a flux or magnitude")
    unit: str | None = Field(
        default=None,
        description="mag; nanomaggy, maggy, Jy, mJy, uJy or nJy; of a value any unit, '' for a number that has none "
        "(a catalogue column in mag or km/s is refused), or null: the catalogue's unit does not matter",
    )
    missing: Literal["null", "nan"] = Field(
        default="null", description="null: a missing value nulls the row (MISSING_COLUMN); nan: the graph takes NaN"
    )
    low: FiniteFloat | None = Field(
        default=None, description="a number that is this or less is none: 0 for magnitudes, errors and sizes"
    )
    high: FiniteFloat | None = Field(default=None, description="a number that is this or more is none")
    ab_minus_vega: FiniteFloat | None = Field(
        default=None, description="m_AB - m_Vega of the band, for catalogues in the other system"
    )

    @property
    def range(self) -> tuple[float, float]:
        """What the graph takes lies between these."""
        return -inf if self.low is None else self.low, inf if self.high is None else self.high

    @property
    def ways(self) -> tuple[Alias, ...]:
        """The name and its aliases, each with what a catalogue column of that name holds."""
        return (self._settled(Alias(name=self.name)), *map(self._settled, self.aliases))

    def _settled(self, alias: Alias) -> Alias:
        quantity = alias.quantity or self.quantity
        unit = alias.unit if alias.unit is not None or quantity != self.quantity else self.unit
        system = None if quantity == "value" else alias.system or self.system
        unit = "mag" if quantity == "mag" and unit is None else unit
        return Alias(name=alias.name, quantity=quantity, system=system, unit=unit)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ways = self.ways
        if len({way.name.upper() for way in ways}) < len(ways):
            raise ValueError(f"two names of column {self.name} differ in capitals only, or not at all")
        if self.quantity == "value" and (self.system or any(alias.system for alias in self.aliases)):
            raise ValueError(f"column {self.name} is a value, which has no photometric system")
        if self.quantity == "value" and self.ab_minus_vega is not None:
            raise ValueError(f"column {self.name} is a value, which has no ab_minus_vega")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"column {self.name} leaves no number between low and high")
        for way in ways:
            if fault := self._fault(way):
                raise ValueError(f"column {way.name} {fault}")
        return self

    def _fault(self, way: Alias) -> str:
        """Why the column cannot be made from one that is described so; '' if it can."""
        if (way.quantity == "value") != (self.quantity == "value"):
            return f"is a {way.quantity}, which cannot become a {self.quantity}"
        if way.quantity == "value":
            return ""
        if way.system is None:
            return f"is a {way.quantity}, which has a system: AB or Vega"
        if way.quantity == "mag" and way.unit != "mag":
            return f"is a mag, which cannot be in {way.unit}"
        if way.quantity == "flux" and way.unit not in (*NANOMAGGIES, *JANSKYS):
            return f"is a flux, whose unit is one of {', '.join([*NANOMAGGIES, *JANSKYS])}"
        if way.unit in JANSKYS and way.system == "Vega":
            return f"is in {way.unit}, which is AB by definition"
        if way.system != self.system and self.ab_minus_vega is None:
            return f"is in {way.system} and the model takes {self.system}: ab_minus_vega is missing"
        return ""
