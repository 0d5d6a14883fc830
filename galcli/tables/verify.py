"""Whether a table is what galcli promises: whole, unaltered, and without a null that no status explains."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from galcli.errors import GalcliError
from galcli.models.card import Card, Output, parse_card
from galcli.sky.fields import foreign_text
from galcli.sky.healpix import pixel
from galcli.sky.rows import FitsTable, open_table
from galcli.tables.checksum import WHOLE, add_sum
from galcli.tables.columns import from_output
from galcli.tables.header import BLOCK, Value, read_cards
from galcli.tables.status import NO_PIXELS, NULL_BITS, RowStatus

_WINDOW = 65536  # rows checked at a time
_BYTES = 1 << 22  # bytes summed at a time
_BASE = ("RA", "DEC", "HPX")

Rows = dict[str, NDArray[Any]]
Rule = tuple[str, Callable[[Rows], NDArray[np.bool_]]]


def is_whole(path: str | Path) -> bool:
    """Whether a FITS file is complete and its checksums hold; False also where there is no such file."""
    return not check_file(path)


def check_file(path: str | Path) -> list[str]:
    """Structure and checksums of a FITS file that galcli wrote; reads it once.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    list of str
        Problems, one line each; empty if there is none.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return list(_structure(file, size)) if size else ["the file is empty"]
    except OSError as error:
        return [error.strerror or str(error)]


def _structure(file: BinaryIO, size: int) -> Iterator[str]:
    start = index = 0
    while start < size:
        cards = _header_at(file, start)
        if cards is None:
            yield f"HDU {index}: the header has no end"
            return
        problem, data_size = _layout(cards, first=index == 0)
        if problem:
            yield f"HDU {index}: {problem}"
            return
        data = start + int(str(cards["END"]))
        end = data + -(-data_size // BLOCK) * BLOCK
        if end > size:
            yield f"HDU {index}: truncated, {end - size} bytes are missing"
            return
        yield from (f"HDU {index}: {text}" for text in _checksums(file, cards, start, data, end))
        start, index = end, index + 1
    if index == 1:
        yield "there is nothing after the primary HDU"


def _header_at(file: BinaryIO, start: int) -> dict[str, Value | None] | None:
    length = 8 * BLOCK
    while True:
        file.seek(start)
        raw = file.read(length)
        cards = read_cards(raw)
        if cards is not None or len(raw) < length:
            return cards
        length *= 4


def _layout(cards: dict[str, Value | None], first: bool) -> tuple[str, int]:
    """What is wrong with the mandatory cards, and the size of the data unit in bytes."""
    if next(iter(cards)) != ("SIMPLE" if first else "XTENSION"):
        return "not a FITS header", 0

    def number(key: str) -> int:
        return int(str(cards[key]))

    try:
        axes = [number(f"NAXIS{i}") for i in range(1, number("NAXIS") + 1)]
        elements = math.prod(axes) if axes else 0
        size = abs(number("BITPIX")) // 8 * (elements + (number("PCOUNT") if "PCOUNT" in cards else 0))
    except (KeyError, ValueError) as error:
        return f"mandatory card missing or damaged ({error})", 0
    return ("", size) if size >= 0 else ("negative size", 0)


def _checksums(file: BinaryIO, cards: dict[str, Value | None], start: int, data: int, end: int) -> Iterator[str]:
    if "CHECKSUM" not in cards or "DATASUM" not in cards:
        yield "no checksum"
        return
    data_sum = _sum_of(file, data, end)
    if str(data_sum) != str(cards["DATASUM"]):
        yield "the data do not match DATASUM"
    if _sum_of(file, start, data, data_sum) not in WHOLE:
        yield "the HDU does not match CHECKSUM"


def _sum_of(file: BinaryIO, start: int, stop: int, total: int = 0) -> int:
    file.seek(start)
    for at in range(start, stop, _BYTES):
        total = add_sum(file.read(min(_BYTES, stop - at)), total)
    return total


def verify(path: str | Path, nrows: int | None = None) -> list[str]:
    """Everything that can be checked about an output table.

    Structure and checksums; the columns every table has; pixels against positions; nulls and status bits against
    each other, model by model (the MODELS HDU says which column belongs to which).

    Parameters
    ----------
    path : str or Path
    nrows : int, optional
        Number of rows there should be.

    Returns
    -------
    list of str
        Problems, one line each; empty if there is none.
    """
    problems = check_file(path)
    if problems:
        return problems
    try:
        table = open_table(path, "PREDICTIONS")
        try:
            return list(_contents(Path(path), table, nrows))
        finally:
            table.close()
    except GalcliError as error:
        return [error.message]


def _contents(path: Path, table: FitsTable, nrows: int | None) -> Iterator[str]:
    if nrows is not None and table.nrows != nrows:
        yield f"{table.nrows} rows instead of {nrows}"
    names = list(table.fields)
    if tuple(names[1:4]) != _BASE or "STATUS" not in names:
        yield f"the table opens with {', '.join(names[:4])}: identifier, {', '.join(_BASE)} and later STATUS are wanted"
        return
    yield from (f"column {name} has no TCOMM" for n, name in enumerate(names, 1) if not table.header.get(f"TCOMM{n}"))
    rules = [*_row_rules(), *_text_rules(table), *_model_rules(path, table)]
    wrong = np.zeros(len(rules), np.int64)
    first: dict[int, int] = {}
    for start in range(0, table.nrows, _WINDOW):
        rows = table.read(start, min(start + _WINDOW, table.nrows), names)
        for i, (_, broken) in enumerate(rules):
            bad = broken(rows)
            if bad.any():
                wrong[i] += np.count_nonzero(bad)
                first.setdefault(i, start + int(np.argmax(bad)))
    for i, row in first.items():
        yield f"{rules[i][0]} in {wrong[i]} rows, the first is row {row}"


def _row_rules() -> list[Rule]:
    def has(rows: Rows, bits: int) -> NDArray[np.bool_]:
        return np.asarray(rows["STATUS"] & bits != 0, bool)

    known = int(np.bitwise_or.reduce([int(bit) for bit in RowStatus]))
    return [
        ("HPX is not the pixel of RA and DEC", lambda rows: pixel(rows["RA"], rows["DEC"]) != rows["HPX"]),
        (
            "BAD_COORD and HPX contradict each other",
            lambda rows: has(rows, RowStatus.BAD_COORD) != (rows["HPX"] == -1),
        ),
        ("STATUS has unknown bits", lambda rows: has(rows, ~known)),
        (
            "a row without pixels lacks NO_PREDICTION",
            lambda rows: has(rows, int(NO_PIXELS)) & ~has(rows, RowStatus.NO_PREDICTION),
        ),
    ]


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


def _model_rules(path: Path, table: FitsTable) -> list[Rule]:
    models = list(_models(path, table))
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

    rules = [found for name, output in model.columns for found in rules_of_column(name, output)]
    if model.card.fronts:
        rules.append(
            (
                f"{model.status} promises values for rows without pixels",
                lambda rows: (rows["STATUS"] & int(NO_PIXELS) != 0) & ~null_rows(rows),
            )
        )
    return rules


def _each_row(combine: np.ufunc, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(combine.reduce(values.reshape(len(values), -1), axis=1), bool)


def _models(path: Path, table: FitsTable) -> Iterator[_Model]:
    """Models of the table in order, each with the names its columns have here."""
    listed = open_table(path, "MODELS")
    try:
        cards = listed.read(0, listed.nrows, ["CARD"])["CARD"]
    finally:
        listed.close()
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

    for text in cards:
        card = parse_card(text.decode("ascii"), str(path))
        columns = [(claim(output.column), output) for output in card.outputs]
        status = claim(f"{card.prefix}_STATUS")
        if status is not None:
            yield _Model(card, status, tuple((name, output) for name, output in columns if name is not None))
