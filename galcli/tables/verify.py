"""Whether a table is what galcli promises: whole, unaltered, and without a null that no status explains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from galcli.errors import GalcliError
from galcli.sky.rows import FitsTable, open_table
from galcli.tables.rules import RuleBook, cards_of, column_problems
from galcli.tables.structure import check_file


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
    cards = cards_of(path)
    wrong = column_problems(table, cards)
    if wrong:
        yield from wrong
        return
    book = RuleBook(table, cards)
    for start, stop in table.steps():
        book.check(table.read(start, stop, list(table.fields)), start)
    yield from book.problems()
