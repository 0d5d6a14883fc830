"""What the units of catalogue columns mean, where they are understood."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple

from galcli.models.card_columns import Quantity, System

if TYPE_CHECKING:
    from astropy.units import UnitBase

#: Flux density of AB magnitude 0, Jy (Oke & Gunn 1983: m = -2.5 log10(f / (erg/s/cm2/Hz)) - 48.6).
AB_JANSKY = 10 ** (23 - 0.4 * 48.6)

#: Spellings that astropy does not know. MJy is a million Jy and mJy a thousandth: MJY and mjy could be either.
_PREFIXED = r"\b(nano|micro|milli|n|u|m)?"
_MAGGIES = re.compile(_PREFIXED + r"(?:maggies|maggy|mgy)\b", re.IGNORECASE)
_JANSKYS = re.compile(r"\b(?:((?i:nano|micro|milli|n|u))?(?i:janskys?|jy)|(m)(?:[Jj]anskys?|Jy|JY))\b")
_MAGNITUDES = re.compile(r"\b(?:asinh[\s_]*)?(?:magnitudes?|mags?|luptitudes?)\b", re.IGNORECASE)
_PIXELS = re.compile(r"\b(?:pixels?|pix|px)\b", re.IGNORECASE)
_COUNTS = re.compile(r"\b(?:(?:counts?|adus?|dns?|electrons?|photons?)\b|e-)", re.IGNORECASE)
_LOGARITHM = re.compile(r"\b(?:log(?:10)?|dex)\s*[\[(].*", re.IGNORECASE)
_PREFIXES = {"": "", "n": "n", "nano": "n", "u": "u", "micro": "u", "m": "m", "milli": "m"}
#: A photometric system before or after a unit.
_SYSTEM = re.compile(
    r"^(?:(AB|Vega|ST)[\s_]*(?=(?:n|nano)?mag|mgy))?(.*?)(?:(?:[\s_\[(]+|(?<=mag)|\b)(AB|Vega|ST)[\])]?)?$",
    re.IGNORECASE,
)
#: The word for one anywhere in a unit: ``mAB``, ``mag (AB, asinh)``.
_SYSTEMS = re.compile(r"(?<![A-Za-z])(?i:m|mag)?((?i:AB|Vega)|ST)(?i:mag)?(?![A-Za-z])")
#: What stands for no unit.
_NOTHING = re.compile(r"[-\s]*|1|none|null|n/?a|unit-?less|dimension-?less|(?:pure )?number", re.IGNORECASE)


class Mismatch(ValueError):  # noqa: N818 - the name says what is wrong
    """A unit measures something else than what is wanted."""


class Photometric(NamedTuple):
    """What a unit says of a column of photometry; ``factor``: the unit in magnitudes or nanomaggies."""

    quantity: Literal["flux", "mag"]
    system: System | None
    factor: float


def says_nothing(text: str) -> bool:
    """Whether a unit is blank, or a word for none."""
    return _NOTHING.fullmatch(text.strip(" []")) is not None


def systems(text: str) -> frozenset[str]:
    """Photometric systems that a unit names, whatever else it says: ``AB``, ``Vega`` and ``ST``."""
    return frozenset({"AB": "AB", "VEGA": "Vega", "ST": "ST"}[found[1].upper()] for found in _SYSTEMS.finditer(text))


def photometric(text: str, quantity: Quantity | None = None) -> Photometric | None:
    """Understand the unit of a flux or magnitude.

    Parameters
    ----------
    text : str
        As the catalogue spells it: ``mag``, ``mag(AB)``, ``nanomaggies``, ``uJy``, ``erg/s/cm2/Hz``...
    quantity : 'flux', 'mag' or 'value', optional
        What the column is without a unit: of magnitudes, a system alone (``AB``) is one.

    Returns
    -------
    Photometric or None
        None where there is no unit, or one that is not understood.

    Raises
    ------
    Mismatch
        If it is the unit of something else: counts, logarithms, magnitudes of the ST system; or if janskys, which are
        AB by definition, are said to be Vega.
    """
    from astropy import units

    word, core = _parted(text)
    unit = units.mag if word and quantity == "mag" and says_nothing(core) else _unit(core)
    if unit is None:
        return None
    system: System | None = {"AB": "AB", "VEGA": "Vega"}.get(word)  # type: ignore[assignment]
    if word == "ST":
        raise Mismatch("")
    if unit in (units.mag, units.mmag):
        return Photometric("mag", system, float(unit.to(units.mag)))
    if unit.is_equivalent(units.Jy):
        if system == "Vega":
            raise Mismatch(" (which is AB by definition)")
        return Photometric("flux", "AB", 1e9 / AB_JANSKY * float(unit.to(units.Jy)))
    if unit.is_equivalent(units.maggy):
        return Photometric("flux", system, 1e9 * float(unit.to(units.maggy)))
    raise Mismatch("")


def factor_between(given: str | None, wanted: str | None) -> float | None:
    """The factor from one unit to another; None where either is not stated or not understood.

    Parameters
    ----------
    given : str or None
    wanted : str or None
        '': a number without a unit.

    Raises
    ------
    Mismatch
        If the two measure different things.
    """
    from astropy import units

    first = _unit(_parted(given or "")[1])
    second = units.dimensionless_unscaled if wanted == "" else _unit(wanted or "")
    if first is None or second is None:
        return None
    factor = float(first.to(second)) if first.is_equivalent(second) else -1.0
    if factor < 0:  # astropy knows that magnitudes are dex, counted the other way
        raise Mismatch("")
    return factor


def _parted(text: str) -> tuple[str, str]:
    """A photometric system in capitals, '' where none is named, and the unit without it."""
    found = _SYSTEM.match(text.strip(" []"))
    assert found is not None  # it matches any line
    before, core, after = found.groups()
    return (before or after or "").upper(), core


def _unit(text: str) -> UnitBase | None:
    """A unit that only scales; None where it is not understood, or says nothing."""
    if says_nothing(text):
        return None
    from astropy import units

    spelled = _LOGARITHM.sub("dex", _MAGNITUDES.sub("mag", text.strip(" []")))
    spelled = _MAGGIES.sub(lambda word: _PREFIXES[(word[1] or "").lower()] + "mgy", _COUNTS.sub("ct", spelled))
    spelled = _JANSKYS.sub(lambda word: _PREFIXES[(word[1] or word[2] or "").lower()] + "Jy", spelled)
    spelled = _PIXELS.sub("pix", spelled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a unit that is no longer in use is still a unit
        try:
            unit = units.Unit(spelled, parse_strict="silent")
        except (ValueError, TypeError):
            return None
    understood = isinstance(unit, units.UnitBase) and not isinstance(unit, units.UnrecognizedUnit)
    return None if not understood or unit == units.dimensionless_unscaled else unit
