"""Units as surveys spell them."""

from __future__ import annotations

import re
import warnings

_DEGREES = ("deg", "degree", "degrees", "degs", "\N{DEGREE SIGN}", "angle deg", "decimal deg", "decimal degrees")
_HOURS = ("h", "hr", "hour", "hours", "hourangle", "angle hms", "h:m:s", "15 deg")
_RADIANS = ("rad", "radian", "radians", "angle rad")


def is_degrees(unit: str) -> bool:
    """Whether a unit is the degree, or not stated."""
    return not unit.strip() or _word(unit) in _DEGREES


def is_hours(unit: str) -> bool:
    """Whether a unit is the hour of right ascension."""
    return _word(unit) in _HOURS


def is_radians(unit: str) -> bool:
    """Whether a unit is the radian."""
    return _word(unit) in _RADIANS


def same_unit(first: str, second: str) -> bool:
    """Whether two spellings mean one unit; one that is not stated means any."""
    if not (first and second) or first == second or (is_degrees(first) and is_degrees(second)):
        return True
    from astropy.units import Unit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a unit that is no longer in use is still a unit
        return bool(Unit(first, parse_strict="silent") == Unit(second, parse_strict="silent"))


def _word(unit: str) -> str:
    """A unit in small letters without brackets, quotation marks and full stops around its words."""
    return " ".join(re.sub(r"[\[\]()'\".]", " ", unit.lower()).split())
