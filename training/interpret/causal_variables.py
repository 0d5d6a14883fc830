"""Query and condition variables of the tests of dependence: catalogue columns, and ratios or differences of two."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.errors import UsageError
from galcli.training.recipes.mass_columns import KNOWN, words
from galcli.training.recipes.mass_data import Source
from galcli.training.recipes.mass_plan import EXTINCTION, REDSHIFT, TARGET
from galcli.training.recipes.mass_words import opened

Doubles = NDArray[np.float64]
#: Known columns: names, or words for them.
Known = Sequence[str] | Mapping[str, str]
#: Result by default: shapes of images, their change from g to r, colours, redshift and extinction.
QUERIES = (
    "expAB_r", "Sersic_n_r", "petroR90_r/petroR50_r", "petroR50_r", "Sersic_n_g/Sersic_n_r", "petroR50_g/petroR50_r",
    "petroMag_u-petroMag_r", "petroMag_g-petroMag_r", "w1mpro-w2mpro", REDSHIFT, EXTINCTION,
)  # fmt: skip
#: Conditions by default, beside none.
CONDITIONS = (REDSHIFT, "expAB_r", "Sersic_n_r")
#: The word for no condition.
NONE = "none"
_OPERATIONS = "/-"
#: Columns that a refusal lists.
_LISTED = 60


@dataclass(frozen=True)
class Variable:
    """A column, or a ratio or difference of two.

    Attributes
    ----------
    name : str
    columns : tuple of str
        One or two.
    operation : str
        ``/``, ``-``, or '' for a column as it is.
    """

    name: str
    columns: tuple[str, ...]
    operation: str = ""

    def of(self, columns: Mapping[str, NDArray[np.floating]]) -> Doubles:
        """Values (N,) out of columns (N,) by name; NaN where a column is, and for a ratio where the divisor is zero."""
        known = [columns[name].astype(np.float64) for name in self.columns]
        if not self.operation:
            return known[0]
        first, second = known
        if self.operation == "-":
            return first - second
        return np.divide(first, second, out=np.full_like(first, np.nan), where=second != 0)


def parse_variable(told: str, columns: Known) -> Variable:
    """A variable such as ``expAB_r``, ``petroMag_u-petroMag_r`` or ``petroR90_r/petroR50_r``.

    Parameters
    ----------
    told : str
        Capitals do not matter.
    columns : sequence of str, or mapping of str to str
        Known ones, or words for them; a name that holds a sign is a column first.

    Raises
    ------
    UsageError
        Naming the known columns.
    """
    named = columns.items() if isinstance(columns, Mapping) else zip(columns, columns, strict=True)
    spelled = {word.lower(): name for word, name in named}
    whole = spelled.get(told.strip().lower())
    if whole is not None:
        return Variable(whole, (whole,))
    for place, sign in enumerate(told):
        if sign in _OPERATIONS:
            sides = tuple(spelled.get(side.strip().lower(), "") for side in (told[:place], told[place + 1 :]))
            if all(sides):
                return Variable(sign.join(sides), sides, sign)
    raise UsageError(
        f"unknown variable {told.strip()!r}",
        f"give a column, or A/B or A-B of two: {_listed(told, list(columns))}",
    )


@dataclass(frozen=True)
class Choice:
    """Variables of a report.

    Attributes
    ----------
    queries : tuple of Variable
    conditions : tuple of (Variable or None)
        None, no condition, comes first.
    absent : tuple of str
        Default ones that the catalogue lacks.
    """

    queries: tuple[Variable, ...]
    conditions: tuple[Variable | None, ...]
    absent: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that they need."""
        named = [*self.queries, *(one for one in self.conditions if one is not None)]
        return tuple(dict.fromkeys(column for one in named for column in one.columns))

    @property
    def pairs(self) -> list[tuple[Variable, Variable | None]]:
        """Each query with each condition but itself."""
        return [(q, c) for q in self.queries for c in self.conditions if c != q]


def choose_variables(queries: Sequence[str], conditions: Sequence[str], columns: Known) -> Choice:
    """Variables by words; none given: the default ones that there are.

    Parameters
    ----------
    queries, conditions : sequence of str
        `NONE` among conditions is always understood: what holds given c is read beside what holds without it.
    columns : sequence of str, or mapping of str to str
        As ``parse_variable`` takes them.

    Raises
    ------
    UsageError
        For an unknown word, or where nothing is left to test.
    """
    absent: list[str] = []
    asked = _several(queries, QUERIES, columns, absent)
    given = _several(
        [word for word in conditions if word.strip() != NONE], () if conditions else CONDITIONS, columns, absent
    )
    if not asked:
        raise UsageError(
            "none of the default query variables is in the catalogue",
            f"name some with --query: {_listed('', list(columns))}",
        )
    return Choice(asked, (None, *given), tuple(dict.fromkeys(absent)))


def known_columns(source: Source) -> dict[str, str]:
    """Words for the columns that variables can be made of (``mass_columns.words``); the mass is none of them.

    Raises
    ------
    InputError
        If the catalogue cannot be read, or lacks a column that the user names.
    """
    if source.catalog is None:
        return {name: name for name in KNOWN if name != TARGET}
    with opened(source) as catalog:
        return words(catalog, source.mapped, source.target)


def _several(
    told: Sequence[str], default: Sequence[str], columns: Known, absent: list[str]
) -> tuple[Variable, ...]:  # fmt: skip
    found = {one.name: one for one in (parse_variable(word, columns) for word in told)}
    return tuple((found or {one.name: one for one in _there(default, columns, absent)}).values())


def _there(default: Sequence[str], columns: Known, absent: list[str]) -> Iterator[Variable]:
    """Default variables that the catalogue has; others are told."""
    for word in default:
        try:
            yield parse_variable(word, columns)
        except UsageError:
            absent.append(word)


def _listed(told: str, columns: Sequence[str]) -> str:
    """Known columns, those most like the one told first where there are too many."""
    if len(columns) <= _LISTED:
        return ", ".join(columns)
    near = difflib.get_close_matches(told, columns, n=_LISTED, cutoff=0.0)
    return f"{', '.join(near)}, and {len(columns) - len(near)} more"
