"""What the rows of every output must keep: pixels against positions, and nulls against status, model by model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.models.card import Card, Output, parse_card
from galcli.sky.fields import foreign_text
from galcli.sky.healpix import pixel
from galcli.sky.rows import FitsTable, open_table
from galcli.sky.table import Field
from galcli.tables.columns import Column, code_of, dictionary, from_output, status_column
from galcli.tables.status import NO_PIXELS, NULL_BITS, ModelStatus, RowStatus

_BASE = ("RA", "DEC", "HPX")

Rows = dict[str, NDArray[Any]]
Rule = tuple[str, Callable[[Rows], NDArray[np.bool_]]]


class RuleBook:
    """Rules, and how often each was broken so far.

    Parameters
    ----------
    table : FitsTable
        PREDICTIONS of an output; its columns count, not its rows.
    cards : sequence of Card
        Cards of the models that wrote it, in their order.
    """

    def __init__(self, table: FitsTable, cards: Sequence[Card]) -> None:
        self._rules = [*_row_rules(cards), *_text_rules(table), *_model_rules(table, cards)]
        self._columns = list(_columns(table, cards))
        self._broken: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def check(self, rows: Rows, start: int, where: str = "", nulls: Rows | None = None) -> None:
        """Check rows.

        Parameters
        ----------
        rows : dict of str to ndarray (n, ...)
        start : int
            Number of the first one in its file.
        where : str
            The file, where there are several.
        nulls : dict of str to ndarray (n, ...), bool, optional
            Where its nulls are, if its format has them.
        """
        found = [(rule, broken(rows)) for rule, broken in self._rules]
        if nulls is not None:
            found += [item for column in self._columns for item in _null_rules(column, rows, nulls[column.name])]
        for rule, bad in found:
            if bad.any():
                self._broken[rule] = self._broken.get(rule, 0) + int(np.count_nonzero(bad))
                self._first.setdefault(rule, f"row {start + int(np.argmax(bad))}{f' of {where}' if where else ''}")

    def problems(self) -> Iterator[str]:
        """The broken rules, one line each."""
        for rule, first in self._first.items():
            yield f"{rule} in {self._broken[rule]} rows, the first is {first}"


def column_problems(table: FitsTable, cards: Sequence[Card]) -> list[str]:
    """What is wrong with the columns of an output, one line each: those of every output, and those of its models."""
    names = list(table.fields)
    if tuple(names[1:4]) != _BASE or "STATUS" not in names:
        opening = ", ".join(names[:4])
        return [f"the table opens with {opening}: identifier, {', '.join(_BASE)} and later STATUS are wanted"]
    known = dictionary()
    wanted = {name: known[name] for name in (*_BASE, "STATUS")}
    for model in _models(table, cards):
        wanted |= {name: from_output(output) for name, output in model.columns}
        wanted[model.status] = status_column(model.card.prefix, model.card.name)
    lines = [line for name, column in wanted.items() for line in _differences(table.fields[name], column)]
    lines += [
        f"header card {key}, which belongs to column {name}, is {table.header.get(key, 'absent')}, not {value}"
        for name, column in wanted.items()
        for key, value, _ in column.numbered_header(names.index(name) + 1)
        if table.header.get(key) != value
    ]
    lines += [f"column {name} holds {field.refused}" for name, field in table.fields.items() if field.refused]
    return lines + [
        f"column {name} has no TCOMM" for n, name in enumerate(names, 1) if not table.header.get(f"TCOMM{n}")
    ]


def _differences(field: Field, column: Column) -> Iterator[str]:
    """What a column should be and is not."""
    facts: list[tuple[str, Any, Any]] = [
        ("type", field.dtype, column.numpy),
        ("shape", field.shape, column.shape),
        ("unit", field.unit, column.fits_unit or ""),
        ("UCD", field.ucd, column.ucd),
    ]
    for what, found, wanted in facts:
        if found != wanted:
            yield f"column {field.name} has the {what} {found or 'none'}, not {wanted or 'none'}"


def cards_of(path: Path) -> list[Card]:
    """The cards in the MODELS table of an output.

    Raises
    ------
    InputError, ModelError, KeyError
        If there is no such table, or it holds no cards.
    """
    listed = open_table(path, "MODELS")
    try:
        cards = listed.read(0, listed.nrows, ["CARD"])["CARD"]
    finally:
        listed.close()
    return [parse_card(text.decode("ascii", "replace"), str(path)) for text in cards]


def _row_rules(cards: Sequence[Card]) -> list[Rule]:
    def has(rows: Rows, bits: int) -> NDArray[np.bool_]:
        return np.asarray(rows["STATUS"] & bits != 0, bool)

    known = int(np.bitwise_or.reduce([int(bit) for bit in RowStatus]))
    rules: list[Rule] = [
        ("HPX is not the pixel of RA and DEC", lambda rows: pixel(rows["RA"], rows["DEC"]) != rows["HPX"]),
        (
            "BAD_COORD and HPX contradict each other",
            lambda rows: has(rows, RowStatus.BAD_COORD) != (rows["HPX"] == -1),
        ),
        ("STATUS has unknown bits", lambda rows: has(rows, ~known)),
    ]
    if not cards or any(card.fronts for card in cards):  # others may predict such a row from the catalogue
        rules.append(
            (
                "a row without pixels lacks NO_PREDICTION",
                lambda rows: has(rows, int(NO_PIXELS)) & ~has(rows, RowStatus.NO_PREDICTION),
            )
        )
    return rules


def _text_rules(table: FitsTable) -> Iterator[Rule]:
    def foreign(name: str) -> Callable[[Rows], NDArray[np.bool_]]:
        return lambda rows: foreign_text(rows[name])

    for name, field in table.fields.items():
        if field.dtype.kind == "S":
            yield f"{name} holds bytes that are not printable ASCII", foreign(name)


@dataclass(frozen=True)
class _Model:
    card: Card
    status: str
    columns: tuple[tuple[str, Output], ...]  # name in the table, output


def _model_rules(table: FitsTable, cards: Sequence[Card]) -> list[Rule]:
    models = list(_models(table, cards))
    rules = [rule for model in models for rule in _rules_of(model)]

    def missing(rows: Rows) -> NDArray[np.bool_]:
        failed = [(rows[model.status] & int(NULL_BITS)) != 0 for model in models]
        return np.asarray(np.any(failed, axis=0) != (rows["STATUS"] & RowStatus.NO_PREDICTION != 0), bool)

    return [*rules, ("NO_PREDICTION and the models' status contradict each other", missing)] if models else rules


def _rules_of(model: _Model) -> list[Rule]:
    def null_rows(rows: Rows) -> NDArray[np.bool_]:
        return np.asarray((rows[model.status] & int(NULL_BITS)) != 0, bool)

    def rules_of_column(name: str, output: Output) -> Iterator[Rule]:
        column = from_output(output)

        def kept(rows: Rows) -> NDArray[np.bool_]:
            """A value where the status says there is none."""
            return null_rows(rows) & ~_each_row(np.logical_and, column.is_null(rows[name]))

        def lost(rows: Rows) -> NDArray[np.bool_]:
            """No finite value where the status promises one."""
            return ~null_rows(rows) & _each_row(np.logical_or, ~np.isfinite(rows[name]))

        if column.numpy.kind != "b":
            yield f"{name} has a value although {model.status} says it is null", kept
        if column.numpy.kind == "f" and not output.sky_offset:
            yield f"{name} is not finite although {model.status} says it is good", lost

    known = int(np.bitwise_or.reduce([int(bit) for bit in ModelStatus]))
    rules: list[Rule] = [
        (f"{model.status} has unknown bits", lambda rows: np.asarray(rows[model.status] & ~known != 0, bool)),
        *(found for name, output in model.columns for found in rules_of_column(name, output)),
    ]
    if model.card.fronts:
        rules.append(
            (
                f"{model.status} promises values for rows without pixels",
                lambda rows: (rows["STATUS"] & int(NO_PIXELS) != 0) & ~null_rows(rows),
            )
        )
    return rules


def _null_rules(column: Column, rows: Rows, nulls: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Real nulls against the values that mean "no value", and of booleans against the status."""
    wanted = column.without_value(rows)
    if column.status is not None and column.numpy.kind == "b":
        yield (
            f"{column.name} has a value although {column.status} says it is null",
            _each_row(np.logical_or, wanted & ~nulls),
        )
        yield (
            f"{column.name} is null although {column.status} says it is good",
            _each_row(np.logical_or, nulls & ~wanted),
        )
    else:
        marks = {"f": "NaN", "S": "empty text"}.get(column.numpy.kind, column.null)
        yield f"{column.name} holds {marks} where a null should be", _each_row(np.logical_or, wanted & ~nulls)


def _columns(table: FitsTable, cards: Sequence[Card]) -> Iterator[Column]:
    """The columns of a table, with the status that belongs to each."""
    status = {name: model.status for model in _models(table, cards) for name, _ in model.columns}
    for name, field in table.fields.items():
        yield Column(name, code_of(field.dtype), field.shape, null=field.null, status=status.get(name))


def _each_row(combine: np.ufunc, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(combine.reduce(values.reshape(len(values), -1), axis=1), bool)


def _models(table: FitsTable, cards: Sequence[Card]) -> Iterator[_Model]:
    """Models of the table in order, each with the names its columns have here."""
    free = set(table.fields)

    def claim(name: str) -> str | None:
        """The column of that name that no earlier model has: NAME, NAME_2, NAME_3 ..."""
        number = 1
        while (found := name if number == 1 else f"{name}_{number}") in table.fields:
            if found in free:
                free.discard(found)
                return found
            number += 1
        return None

    for card in cards:
        columns = [(claim(output.column), output) for output in card.outputs]
        status = claim(f"{card.prefix}_STATUS")
        if status is not None:
            yield _Model(card, status, tuple((name, output) for name, output in columns if name is not None))
