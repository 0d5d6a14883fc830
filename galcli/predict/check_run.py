"""Whether a run folder can be gone on with: its plan, its record, and every tile made so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galcli.errors import GalcliError
from galcli.models.card import Card
from galcli.predict.check_ids import Reference, identifiers_of
from galcli.predict.check_tile import astray
from galcli.predict.layout import HPX
from galcli.predict.merge import missing_tiles, opened, read_tile
from galcli.predict.output_rows import STEP
from galcli.predict.paths import paths_of
from galcli.predict.plan import Plan, load_plan
from galcli.predict.record import read_record
from galcli.predict.report import Report
from galcli.sky import healpix
from galcli.sky.tiles import Tile
from galcli.tables.rules import Rows, RuleBook, column_problems
from galcli.tables.structure import check_file


def check_run(root: Path, reference: Reference) -> Report:
    """Check a run folder; tiles that are missing are no fault.

    Parameters
    ----------
    root : Path
    reference : Reference
        Catalogue whose rows the run should have.
    """
    report = Report("run")
    try:
        plan = load_plan(paths_of(root))
        report.rows = len(plan.rows)
        report.problems += _plan_problems(plan)
    except GalcliError as error:
        report.problems.append(error.message)
    if report.problems:
        return report
    missing = dict.fromkeys(missing_tiles(plan))
    cards = [model.parsed for model in plan.table.models]
    for tile in plan.tiles:
        if tile not in missing:
            report.problems += [f"{tile.path}: {problem}" for problem in _tile_problems(plan, tile, cards)]
    report.problems += _strangers(plan)
    if missing:
        named = ", ".join(tile.path for tile in list(missing)[:5]) + (", ..." if len(missing) > 5 else "")
        report.notes.append(f"{len(missing)} of {len(plan.tiles)} tiles are still to be made: {named}")
    if reference:
        report.problems += _against(plan, reference)
    return report


def _plan_problems(plan: Plan) -> list[str]:
    """Whether the record is the plan's, and every catalogue row is in one tile, and in the right one."""
    record = read_record(plan.paths)
    if record is None:
        return ["there is no run.json: the run was not wholly planned"]
    if record.identity != plan.table.identity:
        return ["run.json and the plan were written for different runs"]
    n = len(plan.catalog)
    if len(plan.rows) != n or (n and (plan.rows.min() < 0 or plan.rows.max() >= n)):
        return ["plan: rows and catalogue differ in length"]
    seen = np.zeros(n, bool)
    seen[plan.rows] = True
    if not seen.all():
        return ["plan: a row is in two tiles"]
    ends = [0, *(tile.stop for tile in plan.tiles)]
    if [tile.start for tile in plan.tiles] != ends[:-1] or ends[-1] != n:
        return ["plan: the tiles do not hold every row once"]
    for start in range(0, n, STEP):
        part = plan.catalog[start : start + STEP]
        if (healpix.pixel(part["ra"], part["dec"]) != part[HPX]).any():
            return ["plan: catalogue rows are not where their pixel says"]
    wrong = [t.path for t in plan.tiles if astray({"HPX": plan.catalog[HPX][plan.rows[t.start : t.stop]]}, _place(t))]
    return [f"plan: {wrong[0]} holds rows of another pixel"] if wrong else []


def _tile_problems(plan: Plan, tile: Tile, cards: list[Card]) -> list[str]:
    """Whether a finished tile is whole and the plan's."""
    path = plan.paths.tile(tile)
    problems = check_file(path)
    if problems:
        return problems
    try:
        values = read_tile(plan, tile)
        with opened(path) as table:
            problems = column_problems(table, cards)
    except GalcliError as error:
        return [error.message]
    if problems:
        return problems
    wanted = plan.catalog[np.asarray(plan.rows[tile.start : tile.stop])]
    rows: Rows = {name: values[name] for name in values.dtype.names or ()}
    for name, field in plan.table.copied.items():
        if field in ("id", HPX) and (rows[name] != wanted[field]).any():
            return [f"its {name} is not that of the plan"]
    book = RuleBook(table, cards)
    book.check(rows, 0)
    return list(book.problems())


def _strangers(plan: Plan) -> list[str]:
    known = {tile.path for tile in plan.tiles}
    found = (path.relative_to(plan.paths.root).as_posix() for path in plan.paths.root.glob("Norder=*/Dir=*/*.fits"))
    return [f"{name} does not belong to the plan" for name in sorted(found) if name not in known]


def _against(plan: Plan, reference: Reference) -> list[str]:
    try:
        with identifiers_of(reference, plan.table.identity["catalog"]["id"]) as identifiers:
            for start in range(0, len(plan.catalog), STEP):
                ids = plan.catalog["id"][start : start + STEP]
                identifiers.compare(np.arange(start, start + len(ids)), ids)
            return identifiers.problems(len(plan.catalog))
    except GalcliError as error:
        return [error.message]


def _place(tile: Tile) -> tuple[int, int]:
    return tile.order, tile.pix
