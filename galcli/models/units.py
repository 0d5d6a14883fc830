"""What the units of catalogue columns mean, where they are understood."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple

from galcli.models.card_columns import System

if TYPE_CHECKING:
    from astropy.units import UnitBase

#: Flux density of AB magnitude 0, Jy (Oke & Gunn 1983: m = -2.5 log10(f / (erg/s/cm2/Hz)) - 48.6).
AB_JANSKY = 10 ** (23 - 0.4 * 48.6)

#: Spellings of maggies and magnitudes that astropy does not know.
_MAGGIES = re.compile(r"\b(nano|micro|milli|n|u|m)?(?:maggies|maggy|mgy)\b", re.IGNORECASE)
_MAGNITUDES = re.compile(r"\b(?:magnitudes?|mags?|luptitudes?)\b", re.IGNORECASE)
_PREFIXES = {"": "", "n": "n", "nano": "n", "u": "u", "micro": "u", "m": "m", "milli": "m"}
#: A photometric system before or after a unit.
_SYSTEM = re.compile(
    r"^(?:(AB|Vega)[\s_]*(?=(?:n|nano)?mag|mgy))?(.*?)(?:(?:[\s_\[(]+|(?<=mag)|\b)(AB|Vega)[\])]?)?$", re.IGNORECASE
)


class Mismatch(ValueError):  # noqa: N818 - the name says what is wrong
    """A unit measures something else than what is wanted."""


class Photometric(NamedTuple):
    """What a unit says of a column of photometry; ``factor``: the unit in magnitudes or nanomaggies."""

    quantity: Literal["flux", "mag"]
    system: System | None
    factor: float


def photometric(text: str) -> Photometric | None:
    """Understand the unit of a flux or magnitude.

    Parameters
    ----------
    text : str
        As the catalogue spells it: ``mag``, ``mag(AB)``, ``nanomaggies``, ``uJy``, ``erg/s/cm2/Hz``...

    Returns
    -------
    Photometric or None
        None where there is no unit, or one that is not understood.

    Raises
    ------
    Mismatch
        If it is the unit of something else.
    """
    found = _SYSTEM.match(text.strip(" []"))
    assert found is not None  # it matches any line
    before, core, after = found.groups()
    word = (before or after or "").upper()
    system: System | None = {"AB": "AB", "VEGA": "Vega"}.get(word)  # type: ignore[assignment]
    unit = _unit(core)
    if unit is None:
        return None
    from astropy import units

    if unit in (units.mag, units.mmag):
        return Photometric("mag", system, float(unit.to(units.mag)))
    if unit.is_equivalent(units.Jy):
        return Photometric("flux", "AB", 1e9 / AB_JANSKY * float(unit.to(units.Jy)))
    if unit.is_equivalent(units.maggy):
        return Photometric("flux", system, 1e9 * float(unit.to(units.maggy)))
    raise Mismatch("")


def factor_between(given: str | None, wanted: str | None) -> float | None:
    """The factor from one unit to another; None where either is not stated or not understood.

    Raises
    ------
    Mismatch
        If the two measure different things.
    """
    first, second = _unit(given or ""), _unit(wanted or "")
    if first is None or second is None:
        return None
    if not first.is_equivalent(second):
        raise Mismatch("")
    return float(first.to(second))


def _unit(text: str) -> UnitBase | None:
    """A unit that only scales; None where it is not understood, or says nothing."""
    if not text.strip():
        return None
    from astropy import units

    spelled = _MAGNITUDES.sub("mag", text)
    spelled = _MAGGIES.sub(lambda word: _PREFIXES[(word[1] or "").lower()] + "mgy", spelled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a unit that is no longer in use is still a unit
        try:
            unit = units.Unit(spelled, parse_strict="silent")
        except (ValueError, TypeError):
            return None
    understood = isinstance(unit, units.UnitBase) and not isinstance(unit, units.UnrecognizedUnit)
    return None if not understood or unit == units.dimensionless_unscaled else unit
