"""A whole prediction run: open, plan, work through the tiles, merge, sum up."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from galcli import __version__
from galcli.errors import IdentityError, InputError, Interrupted, OutputError
from galcli.predict import interrupts
from galcli.predict.claims import claim, run_lock, waiting_lock
from galcli.predict.engine import Engine, open_engine
from galcli.predict.identity import difference, flatten
from galcli.predict.layout import Layout, catalog_layout
from galcli.predict.merge import Counts, merge, missing_tiles
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import Plan, load_plan, make_plan
from galcli.predict.progress import Progress, duration
from galcli.predict.table import RUN
from galcli.predict.tile import run_tile
from galcli.sky.catalog import Catalog, open_catalog
from galcli.sky.tiles import Tile
from galcli.tables.status import ModelStatus, RowStatus
from galcli.tables.verify import is_whole


@dataclass
class Summary:
    """What came of a run.

    Attributes
    ----------
    out : Path
    counts : Counts or None
        None where this process did not merge (a shard).
    seconds : float
    """

    out: Path
    counts: Counts | None
    seconds: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        counts = None if self.counts is None else self.counts.to_dict()
        return {"out": str(self.out), "seconds": round(self.seconds, 3), "counts": counts, "counters": self.counters}

    def exit_code(self, max_fail: float) -> int:
        """0, or 3 where more than ``max_fail`` percent of the rows have no prediction."""
        if self.counts is None or self.counts.rows == 0:
            return 0
        return 3 if 100 * self.counts.unpredicted / self.counts.rows > max_fail else 0


def predict(options: PredictOptions, progress: Progress) -> Summary:
    """Run, or go on with, a prediction.

    Parameters
    ----------
    options : PredictOptions
    progress : Progress

    Returns
    -------
    Summary

    Raises
    ------
    GalcliError
        See galcli.errors; Interrupted after a signal.
    """
    began = time.monotonic()
    with interrupts.graceful():
        catalog, layout, engine = open_inputs(options)
        announce(engine, catalog, progress)
        paths = RunPaths(options.out)
        with run_lock(paths.lock, shared=options.shard is not None):
            with waiting_lock(paths.root / "planning"):
                plan = make_plan(options, catalog, engine, layout)
            if _already_done(options, plan):
                progress.note(f"{options.out} is complete, made from the same inputs and settings: nothing to do")
                counts = Counts.of_table(options.out, plan.table)
                _remove_run(paths, options.keep_tiles)
                return Summary(options.out, counts, time.monotonic() - began)
            _work(plan, engine, options, progress)
            if options.shard is not None:
                left = len(missing_tiles(plan))
                progress.note(
                    f"shard {options.shard[0]}/{options.shard[1]} has no free tile left; {left} of {len(plan.tiles)} tiles "
                    f"are still missing. When all are done: galcli merge {paths.root}"
                )
                return Summary(options.out, None, time.monotonic() - began)
            summary = finish(plan, progress, keep=options.keep_tiles, began=began)
            summary.counters = engine.source.counters()
            if summary.counters.get("no_checksum"):
                progress.note(f"{summary.counters['no_checksum']:,} cutout files carry no checksum: damage in them can go unseen")
            return summary


def merge_run(root: Path, out: Path | None, progress: Progress, *, keep: bool, overwrite: bool) -> Summary:
    """Merge a run folder whose tiles were made by shards.

    Raises
    ------
    InputError
        If the folder holds no run, or tiles are missing (they are listed).
    """
    began = time.monotonic()
    if not root.name.endswith(".run"):
        raise InputError(f"{root} is not a run folder", "give the folder <output>.run")
    paths = RunPaths(root.with_name(root.name.removesuffix(".run")))
    target = out or paths.out
    with interrupts.graceful(), run_lock(paths.lock, shared=False):
        plan = load_plan(paths)
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists", "give --overwrite to replace it, or another name with -o")
        return finish(plan, progress, keep=keep, began=began, target=target)


def open_inputs(options: PredictOptions) -> tuple[Catalog, Layout, Engine]:
    """Open catalogue, cutouts and models."""
    catalog = open_catalog(
        options.catalog, hdu=options.hdu, id_column=options.id_column,
        ra_column=options.ra_column, dec_column=options.dec_column,
    )  # fmt: skip
    layout = catalog_layout(catalog, options.columns)
    engine = open_engine(options, catalog, {column.name for column in layout.columns})
    return catalog, layout, engine


def announce(engine: Engine, catalog: Catalog, progress: Progress) -> None:
    """Say on what the run computes, with which models, and where their weights come from."""
    session = engine.runners[0].session
    progress.note(f"galcli {__version__} on {session.provider.removesuffix('ExecutionProvider')}, {session.precision}")
    progress.note(f"catalogue {catalog.path}: {catalog.nrows:,} rows; cutouts: {engine.source.describe()}")
    for runner in engine.runners:
        card = runner.model.card
        front = card.fronts[runner.front].name if card.fronts else "columns"
        progress.note(f"model {card.name} {card.version} ({runner.model.sha256[:12]}), pixels as {front}")
    mock = [runner.model.name for runner in engine.all_runners() if runner.model.card.training.mock]
    if mock:
        progress.note(
            f"note: {', '.join(mock)} learned from a MOCK survey: good for trying galcli, not for science on real galaxies"
        )


def finish(plan: Plan, progress: Progress, *, keep: bool, began: float, target: Path | None = None) -> Summary:
    """Merge all tiles, list the problems, sum up, and remove the run folder."""
    out = target or plan.paths.out
    counts = merge(plan, out)
    problems = RunPaths(out).problems
    reasons = write_problems(plan, problems)
    seconds = time.monotonic() - began
    _say(counts, out, seconds, reasons, problems, progress)
    _remove_run(plan.paths, keep)
    return Summary(out, counts, seconds)


def _work(plan: Plan, engine: Engine, options: PredictOptions, progress: Progress) -> None:
    """Make every tile that does not exist yet."""
    todo = [tile for tile in plan.tiles if not is_whole(plan.paths.tile(tile))]
    if options.shard is not None:
        index, count = options.shard
        mine = {tile.path for tile in plan.tiles[index::count]}
        todo.sort(key=lambda tile: tile.path not in mine)
    done = sum(tile.stop - tile.start for tile in plan.tiles) - sum(tile.stop - tile.start for tile in todo)
    if done:
        progress.note(f"going on with an unfinished run: {done:,} of {len(plan.rows):,} rows are there")
    progress.start(len(plan.rows), done)
    try:
        for tile in todo:
            interrupts.check()
            _make(plan, engine, tile)
            progress.advance(tile.stop - tile.start)
    except Interrupted:
        raise
    finally:
        progress.finish()


def _make(plan: Plan, engine: Engine, tile: Tile) -> None:
    with claim(plan.paths.claim(tile)) as ours:
        # Another shard may hold it, or have finished it since the list was made.
        if ours and not plan.paths.tile(tile).exists():
            run_tile(plan, engine, tile)


def _already_done(options: PredictOptions, plan: Plan) -> bool:
    """Whether the output exists with this identity.

    Raises
    ------
    IdentityError
        If it exists, was made from something else, and --overwrite was not given.
    """
    out = options.out
    if not out.exists() or options.overwrite:
        return False
    from astropy.io import fits

    try:
        with fits.open(out) as hdus:
            entries = {str(row["KEY"]): str(row["VALUE"]) for row in hdus[RUN].data}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{out} exists and is not a table that galcli wrote",
            "give --overwrite to replace it, or another name with -o",
        ) from error
    lines = difference(entries, flatten(plan.table.identity))
    if lines:
        raise IdentityError(
            f"{out} exists and was made with other inputs or settings ({'; '.join(lines[:6])})",
            "give --overwrite to replace it, or another name with -o",
        )
    return True


def write_problems(plan: Plan, path: Path) -> dict[str, int]:
    """Write the rows that went wrong as CSV beside the output.

    Returns
    -------
    dict of str to int
        How often each reason occurs (file names left out).
    """
    import csv
    from collections import Counter

    reports = [plan.paths.report(tile) for tile in plan.tiles]
    entries = sorted(entry for report in reports if report.exists() for entry in json.loads(report.read_text()))
    bad = np.concatenate([plan.rows[t.start : t.stop] for t in plan.tiles if t.order < 0] or [np.empty(0, np.int64)])
    entries += [(int(row), "RA or Dec is missing, not finite or out of range") for row in bad]
    if not entries:
        path.unlink(missing_ok=True)
        return {}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "id", "reason"])
        for row, reason in sorted(entries):
            identifier = plan.catalog["id"][row]
            writer.writerow([row, identifier.decode() if isinstance(identifier, bytes) else identifier, reason])
    return dict(Counter(reason.split(": ")[-1] for _, reason in entries).most_common(5))


def _say(
    counts: Counts, out: Path, seconds: float, reasons: dict[str, int], problems: Path, progress: Progress
) -> None:
    """The last lines of a run."""
    good = counts.rows - counts.unpredicted
    progress.note(f"{counts.rows:,} rows in {duration(seconds)}: {good:,} predicted, {counts.unpredicted:,} without a prediction")
    for name, bits, kind in [("STATUS", counts.status, RowStatus), *((n, b, ModelStatus) for n, b in counts.models.items())]:
        met = [f"{kind(bit).name} {number:,}" for bit, number in sorted(bits.items()) if number]
        if met:
            progress.note(f"  {name}: {', '.join(met)}")
    for reason, number in reasons.items():
        progress.note(f"  {number:,} x {reason}")
    if reasons:
        progress.note(f"  rows with problems are listed in {problems}")
    progress.note(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _remove_run(paths: RunPaths, keep: bool) -> None:
    if not keep:
        shutil.rmtree(paths.root, ignore_errors=True)
