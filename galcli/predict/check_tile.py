"""Whether one finished tile is whole and lies where its name says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from galcli.errors import GalcliError
from galcli.predict.merge import opened
from galcli.predict.report import Report
from galcli.sky.healpix import NO_PIXEL, ORDER_MAX
from galcli.tables.rules import Rows, RuleBook, column_problems
from galcli.tables.structure import check_file

_TILE = re.compile(r"Norder=(\d+)/Dir=(\d+)/Npix=(\d+)(?:_part\d+)?\.\w+$")
_BAD = re.compile(r"bad-coordinates(?:/part=\d+)?\.\w+$")


def place_of(path: Path) -> tuple[int, int] | None:
    """Order and pixel that a file's path names; -1 and -1 for bad coordinates, None where it names none."""
    text = path.absolute().as_posix()
    found = _TILE.search(text)
    if found is None:
        return (NO_PIXEL, NO_PIXEL) if _BAD.search(text) else None
    order, folder, pix = map(int, found.groups())
    return (order, pix) if order <= ORDER_MAX and folder == pix // 10000 * 10000 else None


def astray(rows: Rows, place: tuple[int, int]) -> int:
    """How many rows do not lie in a pixel."""
    order, pix = place
    shift = 2 * (ORDER_MAX - order) if order >= 0 else 0
    return int(np.count_nonzero(rows["HPX"] >> shift != pix))


def check_tile(path: Path) -> Report:
    """Check the file of a tile: structure, checksums, columns, status, and that its rows lie in its pixel."""
    report = Report("tile", problems=check_file(path))
    if report.problems:
        return report
    place = place_of(path)
    try:
        with opened(path) as table:
            report.rows = table.nrows
            report.problems += column_problems(table, [])
            if report.problems:
                return report
            book = RuleBook(table, [])  # a tile does not hold the cards of its models
            rows = table.read(0, table.nrows, list(table.fields))
        book.check(rows, 0)
        report.problems += book.problems()
        if place is None:
            report.problems.append("its path names no pixel")
        elif number := astray(rows, place):
            report.problems.append(f"{number} rows do not lie in the pixel that its path names")
    except GalcliError as error:
        report.problems.append(error.message)
    return report
