"""The unit of work: one tile, read, predicted and committed by one rename."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.errors import InputError
from galcli.predict.engine import Engine
from galcli.predict.layout import ROW_NUMBER
from galcli.predict.plan import Plan
from galcli.predict.record import read_record
from galcli.predict.runner import Columns, ModelRunner
from galcli.predict.table import PREDICTIONS
from galcli.sky.tiles import Tile
from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU, atomic_write, write_table
from galcli.tables.status import MODEL_STATUS_MEANING, NULL_BITS, ModelStatus, RowStatus
from galcli.tables.structure import headers_of, is_whole


@dataclass(frozen=True)
class TileReport:
    """What came of a tile.

    Attributes
    ----------
    tile : Tile
    counters : dict of str to int
        What its cutouts added to the counters of their source.
    files : dict of str to frozenset of str
        What they added to its files.
    made : bool
        Whether it was made here and now: false where another run holds it, or has made it.
    """

    tile: Tile
    counters: dict[str, int] = field(default_factory=dict)
    files: dict[str, frozenset[str]] = field(default_factory=dict)
    made: bool = True


def is_there(plan: Plan, tile: Tile) -> bool:
    """Whether the file of a tile is whole, and of this run: a worker of one that was in its place may have outlived it."""
    path = plan.paths.tile(tile)
    return is_whole(path) and any(cards.get("IDENTITY") == plan.table.digest for cards in headers_of(path))


def is_made(plan: Plan, tile: Tile) -> bool:
    """Whether a tile is there, and was not given up: the cause may be gone by now."""
    return not plan.paths.reason(tile).exists() and is_there(plan, tile)


def forget_tile(plan: Plan, tile: Tile) -> None:
    """Remove what an earlier try left; whoever makes the tile anew may meet other problems, or none."""
    for path in (plan.paths.tile(tile), plan.paths.report(tile), plan.paths.reason(tile)):
        path.unlink(missing_ok=True)


def null_columns(columns: tuple[Column, ...], rows: int) -> Columns:
    """Table columns filled with nulls: NaN, TNULL, False or an empty text."""
    return {column.name: column.blank(rows) for column in columns}


def run_tile(plan: Plan, engine: Engine, tile: Tile) -> TileReport:
    """Predict one tile and commit its file; the same tile always gives the same bytes.

    Parameters
    ----------
    plan : Plan
    engine : Engine
        Open sessions and cutout source of this process.
    tile : Tile

    Returns
    -------
    TileReport

    Raises
    ------
    Interrupted
        If a signal came; nothing of this tile is kept.
    OutputError
        If the tile file cannot be written.
    InputError
        If another run has taken the place of this one.
    """
    rows = plan.rows[tile.start : tile.stop].astype(np.int64)
    catalog = plan.catalog[rows]
    columns = {name: catalog[name] for name in engine.needs}
    counted, known = Counter(engine.source.counters()), engine.source.files()
    table = _without_predictions(plan, tile)
    status = _first_status(tile)
    reasons: dict[int, str] = {}
    engine.predict_rows(rows, columns, table)  # whatever becomes of their cutouts, and wherever they lie
    if tile.order >= 0:
        request = CutoutRequest(catalog["id"], catalog["ra"], catalog["dec"], rows, columns, provisional=True)
        for item in engine.predict(request, table):
            interrupts.check()
            if isinstance(item, Failures):
                status[item.index] = item.status
                reasons |= zip(item.index.tolist(), item.reason, strict=True)
                _take_back(item.index, engine, table)
    with_pixels = np.flatnonzero(status == 0)
    table["STATUS"][...] = _mark_unpredicted(status, engine, table)
    lost = list(reasons.items())
    for runner in engine.runners:
        lost += _model_problems(runner, with_pixels if runner.sees else np.arange(len(rows)), table, columns)
    problems = [(int(rows[row]), reason) for row, reason in lost]
    _commit(plan, tile, table, problems)
    return TileReport(
        tile,
        dict(Counter(engine.source.counters()) - counted),
        {fact: names - known[fact] for fact, names in engine.source.files().items()},
    )


def give_up_tile(plan: Plan, engine: Engine, tile: Tile, reason: str) -> None:
    """Commit a tile that cannot be made: all rows there, none predicted, each with the reason among the problems.

    Raises
    ------
    OutputError
        If the tile file cannot be written.
    """
    table = _without_predictions(plan, tile)
    table["STATUS"][...] = _mark_unpredicted(_first_status(tile), engine, table)
    rows: list[int] = plan.rows[tile.start : tile.stop].tolist()
    _commit(plan, tile, table, [(row, reason) for row in rows])


def _first_status(tile: Tile) -> NDArray[np.int32]:
    """Status of the rows of a tile before anything is read."""
    return np.full(len(tile), int(RowStatus.BAD_COORD) if tile.order < 0 else 0, np.int32)


def _without_predictions(plan: Plan, tile: Tile) -> Columns:
    """The columns of a tile: those of the catalogue filled in, all others null."""
    rows = plan.rows[tile.start : tile.stop]
    catalog = plan.catalog[rows]
    table = null_columns(plan.table.columns, len(rows))
    for column, name in plan.table.copied.items():
        table[column][...] = rows if name == ROW_NUMBER else catalog[name]
    return table


def _take_back(index: NDArray[np.int64], engine: Engine, table: Columns) -> None:
    """Forget what models said of rows whose pixels were damaged, as their file's checksum tells afterwards."""
    for runner in engine.seeing:
        for column in runner.columns:
            table[column.name][index] = column.blank(len(index))


def _mark_unpredicted(status: NDArray[np.int32], engine: Engine, table: Columns) -> NDArray[np.int32]:
    """Settle the model status of rows no model saw, and set NO_PREDICTION where any model gave nulls."""
    without_pixels = status != 0
    for top in engine.runners:
        for runner in top.family():
            model_status = table[runner.status.name]
            not_run = model_status == runner.status.null
            model_status[not_run] = int(ModelStatus.MODEL_ERROR)
            if top.sees:
                model_status[not_run & without_pixels] = int(ModelStatus.MISSING_BAND)
            status[(model_status & int(NULL_BITS)) != 0] |= int(RowStatus.NO_PREDICTION)
    return status


def _model_problems(
    runner: ModelRunner, rows: NDArray[np.int64], table: Columns, catalog: Columns
) -> Iterator[tuple[int, str]]:
    """Why a model gave nothing for rows of the tile that it was fed, and chained models after it: row, reason."""
    found = table[runner.status.name][rows] & int(NULL_BITS)
    lost = found != 0
    lacking = rows[(found & int(ModelStatus.MISSING_COLUMN)) != 0]
    named: dict[int, str] = {}
    if runner.wants is not None and lacking.size:
        values = {name: catalog[name][lacking] for name in runner.wants.needs}
        named = dict(zip(lacking.tolist(), runner.wants.lacking(values), strict=True))
    for row, bits in zip(rows[lost].tolist(), found[lost].tolist(), strict=True):
        meaning = "; ".join(text for bit, text in MODEL_STATUS_MEANING.items() if bits & bit)
        who = f"{runner.model.name}: {named[row]}" if row in named else runner.model.name
        yield row, f"{who}: {meaning}"
    for child, _ in runner.children:
        yield from _model_problems(child, rows[~lost], table, catalog)


def _commit(plan: Plan, tile: Tile, table: Columns, problems: list[tuple[int, str]]) -> None:
    """Write the problem list first, then the tile: a tile that exists has its report."""
    record = read_record(plan.paths)
    if record is None or record.sha256 != plan.table.digest:
        raise InputError(
            f"{plan.paths.root} was removed, or begun anew with other settings, while its tiles were made",
            "this process worked for the earlier run: start it again, with another output",
        )
    report = plan.paths.report(tile)
    if problems:
        atomic_write(report, json.dumps(sorted(problems)).encode())
    write_table(
        plan.paths.tile(tile), [TableHDU(PREDICTIONS, list(plan.table.columns), table, list(plan.table.header))]
    )
