"""Which check belongs to which output: tables, tiles, runs, HATS folders and stacks of cutouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galcli.cutouts.stack_verify import StackFacts, verify_stack, without_cutout
from galcli.errors import GalcliError
from galcli.predict.check_hats import check_hats
from galcli.predict.check_ids import Reference, identifiers_of
from galcli.predict.check_other import STACKS, other_file, other_folder, other_hats
from galcli.predict.check_record import record_problems
from galcli.predict.check_run import check_run
from galcli.predict.check_tile import check_tile, place_of
from galcli.predict.existing import run_entries
from galcli.predict.hats_tree import HatsTree
from galcli.predict.merge import opened
from galcli.predict.output_rows import rows_of
from galcli.predict.report import OTHER, Report
from galcli.predict.table import MODELS, RUN
from galcli.tables.rules import cards_of
from galcli.tables.structure import headers_of
from galcli.tables.verify import verify


def validate(path: Path, catalogs: Sequence[Path] = (), *, hdu: int | None = None, limit: int | None = None) -> Report:
    """Check an output of galcli, or a folder of its making.

    Parameters
    ----------
    path : Path
        A table, a tile, a run folder, a HATS folder, a stack file or a folder of stacks.
    catalogs : sequence of Path
        Catalogues whose rows, one after the other, it should have; of stacks, whose objects should have cutouts.
    hdu, limit : int, optional
        Table HDU and number of rows of the catalogues, as they were given when the output was made.

    Returns
    -------
    Report
        Damage never raises: it is a problem in the report.
    """
    reference = Reference(catalogs, hdu, limit)
    if path.is_dir():
        tree = HatsTree(path, "")
        if path.name.endswith(".run"):
            return check_run(path, reference)
        if tree.record.exists() or tree.partitions.exists() or tree.properties[0].exists():
            foreign = other_hats(tree)
            return Report(OTHER, problems=[foreign]) if foreign else check_hats(path, reference)
        stacks = sorted(path.glob(STACKS))
        return _check_stacks(stacks, reference) if stacks else Report(OTHER, problems=[other_folder(path)])
    headers = headers_of(path)
    names = {cards.get("EXTNAME") for cards in headers}
    if "PIXELS" in names:
        return _check_stacks([path], reference)
    if foreign := other_file(path, headers):
        return Report(OTHER, problems=[foreign])
    if MODELS not in names and place_of(path) is not None:
        report = check_tile(path)
        if reference:
            report.notes.append("a tile holds only some rows of the catalogue: not compared with it")
        return report
    return _check_table(path, reference)


def _check_table(path: Path, reference: Reference) -> Report:
    report = Report("table", problems=verify(path))
    if report.problems:
        return report
    try:
        entries = run_entries(path)
        with opened(path) as table:
            report.rows, name = table.nrows, next(iter(table.fields))
            report.problems += record_problems(path, table, cards_of(path))
        if report.rows != int(entries["catalog.rows"]):
            report.problems.append(f"{report.rows} rows, but it was made from {entries['catalog.rows']}")
        if reference:
            with identifiers_of(reference, entries["catalog.id"]) as identifiers:
                start = 0
                for rows in rows_of(path, [name]):
                    identifiers.compare(np.arange(start, start + len(rows[name])), rows[name])
                    start += len(rows[name])
                report.problems += identifiers.problems(report.rows)
    except GalcliError as error:
        report.problems.append(error.message)
    except (KeyError, ValueError) as error:
        report.problems.append(f"{RUN}, {MODELS} or a table of a model: {error}")
    return report


def _check_stacks(paths: list[Path], reference: Reference) -> Report:
    report = Report("stacks" if len(paths) != 1 else "stack")
    found: list[StackFacts] = []
    for path in paths:
        place = place_of(path)
        facts = verify_stack(path, place)
        if place is None and len(paths) > 1:
            facts.problems.append("its path names no pixel")
        found.append(facts)
        report.rows += facts.objects
        report.problems += [f"{path.name}: {problem}" for problem in facts.problems]
        report.notes += [f"{path.name}: {note}" for note in facts.notes]
    if reference and not report.problems:
        try:
            with reference.open() as catalog:
                count, first = without_cutout(found, catalog, reference.rows(catalog))
            if count:
                report.notes.append(
                    f"{count} objects of {catalog.where} have no cutout: "
                    + ", ".join(first)
                    + (", ..." if count > 5 else "")
                )
        except GalcliError as error:
            report.problems.append(error.message)
    return report
