"""Query and condition variables of the tests of dependence: catalogue columns, and ratios or differences of two."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.errors import UsageError
from galcli.sky.catalog import open_catalog
from galcli.training.recipes.mass_data import KNOWN, Source
from galcli.training.recipes.mass_plan import EXTINCTION, NONE_FROM, REDSHIFT, TARGET

Doubles = NDArray[np.float64]
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
        """Values (N,) out of columns (N,) by name.

        NaN where a column is missing (not finite, or a sentinel of `NONE_FROM` or more in size), and for a ratio where
        the divisor is zero.
        """
        known = [_known(columns[name]) for name in self.columns]
        if not self.operation:
            return known[0]
        first, second = known
        if self.operation == "-":
            return first - second
        return np.divide(first, second, out=np.full_like(first, np.nan), where=second != 0)


def parse_variable(words: str, columns: Sequence[str]) -> Variable:
    """A variable such as ``expAB_r``, ``petroMag_u-petroMag_r`` or ``petroR90_r/petroR50_r``.

    Parameters
    ----------
    words : str
        Capitals do not matter.
    columns : sequence of str
        Known ones; a name that holds a sign is a column first.

    Raises
    ------
    UsageError
        Naming the known columns.
    """
    spelled = {name.lower(): name for name in columns}
    whole = spelled.get(words.strip().lower())
    if whole is not None:
        return Variable(whole, (whole,))
    for place, sign in enumerate(words):
        if sign in _OPERATIONS:
            sides = tuple(spelled.get(side.strip().lower(), "") for side in (words[:place], words[place + 1 :]))
            if all(sides):
                return Variable(sign.join(sides), sides, sign)
    raise UsageError(
        f"unknown variable {words.strip()!r}",
        f"give a column, or A/B or A-B of two: {_listed(words, columns)}",
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


def choose_variables(queries: Sequence[str], conditions: Sequence[str], columns: Sequence[str]) -> Choice:
    """Variables by words; none given: the default ones that there are.

    Parameters
    ----------
    queries, conditions : sequence of str
        `NONE` among conditions is always understood: what holds given c is read beside what holds without it.
    columns : sequence of str
        Known ones.

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
            f"name some with --query: {_listed('', columns)}",
        )
    return Choice(asked, (None, *given), tuple(dict.fromkeys(absent)))


def known_columns(source: Source) -> tuple[str, ...]:
    """Columns that variables can be made of, as this house spells them where it knows them; the mass is none of them.

    Raises
    ------
    InputError
        If the catalogue cannot be read.
    """
    if source.catalog is None:
        return tuple(name for name in KNOWN if name != TARGET)
    how, house = source.reading, {name.lower(): name for name in KNOWN}
    with contextlib.closing(
        open_catalog(source.catalog, how.hdu, how.id_column, how.ra_column, how.dec_column)
    ) as catalog:
        return tuple(house.get(name.lower(), name) for name in catalog.names if name.lower() != source.target.lower())


def _several(
    words: Sequence[str], default: Sequence[str], columns: Sequence[str], absent: list[str]
) -> tuple[Variable, ...]:  # fmt: skip
    found = {one.name: one for one in (parse_variable(word, columns) for word in words)}
    return tuple((found or {one.name: one for one in _there(default, columns, absent)}).values())


def _there(default: Sequence[str], columns: Sequence[str], absent: list[str]) -> Iterator[Variable]:
    """Default variables that the catalogue has; others are told."""
    for word in default:
        try:
            yield parse_variable(word, columns)
        except UsageError:
            absent.append(word)


def _known(values: NDArray[np.floating]) -> Doubles:
    doubles = values.astype(np.float64)
    return np.where(np.abs(doubles) < NONE_FROM, doubles, np.nan)  # no comparison holds for NaN


def _listed(words: str, columns: Sequence[str]) -> str:
    """Known columns, those most like the words first where there are too many."""
    if len(columns) <= _LISTED:
        return ", ".join(columns)
    near = difflib.get_close_matches(words, columns, n=_LISTED, cutoff=0.0)
    return f"{', '.join(near)}, and {len(columns) - len(near)} more"
