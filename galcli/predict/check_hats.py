"""Whether a HATS folder is whole: what describes it against its files, and its rows against everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galcli.errors import GalcliError
from galcli.predict.check_ids import Identifiers, Reference, identifiers_of
from galcli.predict.check_record import record_problems
from galcli.predict.check_tile import astray
from galcli.predict.existing import run_entries
from galcli.predict.hats_files import file_problems
from galcli.predict.hats_tree import HatsTree, read_partitions, read_properties
from galcli.predict.layout import CATALOG_ROW
from galcli.predict.options import HATS
from galcli.predict.output_rows import rows_and_nulls
from galcli.predict.report import Report
from galcli.sky.healpix import NO_PIXEL, ORDER_MAX
from galcli.sky.rows import FitsTable, open_table
from galcli.tables.rules import Rows, RuleBook, cards_of, column_problems
from galcli.tables.structure import check_file

_BAD = (NO_PIXEL, NO_PIXEL)


def check_hats(root: Path, reference: Reference) -> Report:
    """Check a HATS folder that galcli wrote, with Parquet or FITS leaves.

    Parameters
    ----------
    root : Path
    reference : Reference
        Catalogue whose rows it should have.
    """
    tree = HatsTree.of_layout(root, HATS)
    report = Report(HATS)
    report.problems += [f"{tree.record.name}: {problem}" for problem in check_file(tree.record)]
    if report.problems:
        return report
    try:
        report.kind = run_entries(tree.record)["layout"]
        tree = HatsTree.of_layout(root, report.kind)
        report.problems += [f"{name} {problem}" for name, problem in file_problems(tree).items()]
        if report.problems:
            return report
        places = read_partitions(tree)
        report.problems += _place_problems(tree, places)
        _check_rows(tree, places, reference, report)
    except GalcliError as error:
        report.problems.append(error.message)
    except (KeyError, ValueError) as error:
        report.problems.append(f"{tree.record.name} or {tree.partitions.name}: {error}")
    return report


def _place_problems(tree: HatsTree, places: list[tuple[int, int]]) -> Iterator[str]:
    """The list of leaves against the files, and the leaves against each other."""
    leaves = {tree.leaf(*place) for place in places}
    if len(leaves) < len(places) or leaves != set(tree.dataset.glob(f"Norder=*/Dir=*/*{tree.suffix}")):
        yield f"{tree.partitions.name} does not list the leaves"
    shifts = [2 * (ORDER_MAX - order) for order, _ in places]
    spans = sorted((pix << shift, (pix + 1) << shift) for (_, pix), shift in zip(places, shifts, strict=True))
    if any(begin < end for (_, end), (begin, _) in pairwise(spans)):
        yield "leaves overlap"


def _check_rows(tree: HatsTree, places: list[tuple[int, int]], reference: Reference, report: Report) -> None:
    """Read all rows once."""
    entries = run_entries(tree.record)
    table = open_table(tree.record, "PREDICTIONS")
    table.close()
    cards = cards_of(tree.record)
    report.problems += [*record_problems(tree.record, table, cards), *column_problems(table, cards)]
    if report.problems:
        return
    with identifiers_of(reference, entries["catalog.id"]) if reference else nullcontext() as identifiers:
        checker = _Checker(tree, table, RuleBook(table, cards), int(entries["catalog.rows"]), identifiers)
        checker.run(places, report)
        if identifiers is not None:
            report.problems += identifiers.problems(report.rows)
    report.problems += _property_problems(tree, places, report.rows - checker.bad)
    if checker.bad:
        report.notes.append(f"{checker.bad} rows with bad coordinates in {tree.bad.name}")


class _Checker:
    """Reads the files of rows, one after the other."""

    def __init__(
        self, tree: HatsTree, table: FitsTable, book: RuleBook, total: int, identifiers: Identifiers | None
    ) -> None:
        self.tree, self.table, self.book, self.identifiers = tree, table, book, identifiers
        self.bad = 0
        self._seen = np.zeros(total, bool)  # a byte per row of the catalogue
        names = list(table.fields)
        self._number = CATALOG_ROW if CATALOG_ROW in names else names[0]

    def run(self, places: list[tuple[int, int]], report: Report) -> None:
        """Check all files."""
        files = [(self.tree.leaf(*place), place) for place in places]
        if self.tree.bad.exists():
            files.append((self.tree.bad, _BAD))
        for path, place in files:
            name = path.relative_to(self.tree.root).as_posix()
            rows = self._file(path, place, name, report.problems)
            report.rows += rows
            self.bad += rows if place == _BAD else 0
        report.problems += self.book.problems()
        if report.rows != len(self._seen) or not self._seen.all():
            report.problems.append(
                f"{np.count_nonzero(self._seen)} of the {len(self._seen)} rows of the catalogue are in its {report.rows} rows"
            )

    def _file(self, path: Path, place: tuple[int, int], name: str, problems: list[str]) -> int:
        """Check one file; returns its number of rows."""
        count, last, outside, order = 0, -1, 0, True
        for rows, nulls in rows_and_nulls(path):
            if wrong := self._columns(rows):
                problems.append(f"{name}: {wrong}")
                return count
            self.book.check(rows, count, name, nulls)
            outside += astray(rows, place)
            hpx = rows["HPX"]
            order &= bool((np.diff(hpx, prepend=last) >= 0).all()) or path.suffix == ".fits" or place == _BAD
            last = int(hpx[-1]) if len(hpx) else last
            self._mark(rows[self._number])
            if self.identifiers is not None:
                self.identifiers.compare(rows[self._number], next(iter(rows.values())))
            count += len(hpx)
        if outside:
            problems.append(f"{name}: {outside} rows do not lie in its pixel")
        if not order:
            problems.append(f"{name}: the rows are not in the order of their pixels")
        return count

    def _columns(self, rows: Rows) -> str:
        """What distinguishes the columns of a file from those of the record."""
        if list(rows) != list(self.table.fields):
            return "its columns are not those of galcli.fits"
        for name, field in self.table.fields.items():
            found = rows[name]
            same = found.dtype.kind == "S" if field.dtype.kind == "S" else found.dtype == field.dtype
            if not same or found.shape[1:] != field.shape:
                return f"column {name} is not that of galcli.fits"
        return ""

    def _mark(self, numbers: NDArray[np.int64]) -> None:
        inside = numbers[(numbers >= 0) & (numbers < len(self._seen))]
        self._seen[inside] = True


def _property_problems(tree: HatsTree, places: list[tuple[int, int]], placed: int) -> Iterator[str]:
    """Whether the properties say what is there."""
    found = read_properties(tree)
    wanted = {
        "dataproduct_type": "object",
        "hats_nrows": str(placed),
        "hats_npix_suffix": tree.suffix,
        "hats_order": str(max((order for order, _ in places), default=0)),
        "hats_col_ra": "RA",
        "hats_col_dec": "DEC",
    }
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"{tree.properties[0].name}: {key} is {found.get(key, 'absent')}, not {value}"
    for path in tree.maps:
        table = open_table(path)
        total = int(table.read(0, table.nrows, ["ROWS"])["ROWS"].sum())
        table.close()
        if total != placed:
            yield f"{path.name} counts {total} rows, there are {placed}"
