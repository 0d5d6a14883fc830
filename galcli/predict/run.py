"""A whole prediction run: open, plan, work through the tiles, merge, sum up."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galcli import interrupts
from galcli.errors import GalcliError, InputError, Interrupted, OutputError, TooManyFailures
from galcli.predict.claims import run_lock, waiting_lock
from galcli.predict.dispatch import Dispatcher
from galcli.predict.engine import Engine
from galcli.predict.executors import open_crew
from galcli.predict.existing import entries_of, require_identity, require_replaceable
from galcli.predict.hats import write_hats
from galcli.predict.inputs import announce, open_inputs
from galcli.predict.merge import Counts, merge, missing_tiles, require_tiles
from galcli.predict.options import TABLE, PredictOptions, require_name
from galcli.predict.output_rows import counts_of
from galcli.predict.paths import RunPaths, paths_of
from galcli.predict.plan import Plan, load_plan, make_plan, was_to_be_kept
from galcli.predict.problems import given_up_in, write_problems
from galcli.predict.sites import Site, load_site, require_means
from galcli.predict.tile import is_made
from galcli.progress import Progress, duration
from galcli.tables.atomic import clear_partial
from galcli.tables.status import ModelStatus, RowStatus

#: What a cutout source counts -> what that means.
_COUNTED = {
    "no_checksum": "cutout files carry no checksum: damage in them can go unseen",
    "unreadable": "files of images could not be used, and were left out",
    "zeros": "stamps are exactly zero in more than a tenth of their pixels, and no weight map says why: they count as sky",
}

#: What most often stands behind a table of rows that are all flagged.
_MOSTLY_OUTSIDE = (
    "most rows are unlike what that model learned: look at units, zero points, bands, and AB or Vega "
    "(`galcli models show` tells what it takes)"
)


@dataclass
class Summary:
    """What came of a run.

    Attributes
    ----------
    out : Path
    counts : Counts or None
        None where this process did not merge (a shard).
    seconds : float
    given_up : int
        Tiles that could not be made; their rows have no prediction.
    """

    out: Path
    counts: Counts | None
    seconds: float = 0.0
    given_up: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        counts = None if self.counts is None else self.counts.to_dict()
        return {
            "out": str(self.out), "seconds": round(self.seconds, 3), "counts": counts, "counters": self.counters,
            "given_up": self.given_up,
        }  # fmt: skip

    def require_predictions(self, max_fail: float) -> None:
        """Raise `TooManyFailures` where more than ``max_fail`` percent of the rows have no prediction, or tiles failed."""
        if self.given_up:
            raise TooManyFailures(
                f"{self.given_up} tile{'s' * (self.given_up > 1)} given up: worker after worker failed in the same place",
                f"{RunPaths(self.out).problems} lists the rows; once the cause is gone, try these tiles again with --overwrite",
            )
        if self.counts is None or self.counts.rows == 0:
            return
        percent = 100 * self.counts.unpredicted / self.counts.rows
        if percent > max_fail:
            raise TooManyFailures(
                f"{self.counts.unpredicted:,} of {self.counts.rows:,} rows ({percent:.3g} %) have no prediction, "
                f"--max-fail allows {max_fail:g} %",
                f"the table is written; STATUS and {RunPaths(self.out).problems} say why",
            )


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
    summary = _predict(options, progress)
    paths = RunPaths(options.out)
    if options.shard is not None and summary.counts is not None:
        # It came when all was done; its folder goes once it has let go of it, unless other shards look at it.
        with contextlib.suppress(OutputError), run_lock(paths.lock, shared=False):
            _remove_run(paths, keep=was_to_be_kept(paths, fresh=False))
    return summary


def _predict(options: PredictOptions, progress: Progress) -> Summary:
    began = time.monotonic()
    paths = RunPaths(options.out)
    site = load_site(options)
    if site is not None:
        require_means(site)  # before there is anything of a run
    elsewhere = None if site is None else site.device
    before = entries_of(options.out, options.layout, replaced=options.overwrite)
    with interrupts.graceful(), open_inputs(options, progress.note, elsewhere) as (catalog, layout, engine):
        announce(engine, catalog, options, progress)
        if site is not None:
            progress.note(f"site {options.site}: {site.describe()}")
        with run_lock(paths.lock, shared=options.shard is not None):
            if before is None:  # unless another process has finished it just now
                before = entries_of(options.out, options.layout, replaced=options.overwrite)
            fresh = not paths.record.exists()
            with waiting_lock(paths.planning):
                plan = make_plan(options, catalog, engine, layout)
            if before is not None and _is_finished(options, plan, before, fresh=fresh):
                progress.note(f"{options.out} is complete, made from the same inputs and settings: nothing to do")
                counts = counts_of(options.out, plan.table)
                return Summary(options.out, counts, time.monotonic() - began, given_up_in(paths.problems))
            counted = _work(plan, engine, options, site, progress)
            if options.shard is not None:
                left = len(missing_tiles(plan))
                others = (
                    f"other shards are still making {left} of {len(plan.tiles)} tiles (`galcli status {options.out}`); then"
                    if left
                    else "all tiles are done;"
                )
                progress.note(
                    f"shard {options.shard[0]}/{options.shard[1]}: {others} join them with: galcli merge {paths.root}"
                )
                return Summary(options.out, None, time.monotonic() - began)
            summary = finish(plan, progress, keep=options.keep_tiles, began=began)
            summary.counters = counted
            for name, words in _COUNTED.items():
                if summary.counters.get(name):
                    progress.note(f"{summary.counters[name]:,} {words}")
            return summary


def merge_run(root: Path, out: Path | None, progress: Progress, *, keep: bool, overwrite: bool) -> Summary:
    """Merge a run folder whose tiles were made by shards.

    Raises
    ------
    InputError
        If the folder holds no run, or tiles are missing (they are listed).
    UsageError
        If ``out`` is no name of what the run writes.
    """
    began = time.monotonic()
    if not (root.name.endswith(".run") and root.is_dir()):
        raise InputError(f"{root} is not a run folder", "give the folder <output>.run of a `galcli predict`")
    paths = paths_of(root)
    target = out or paths.out
    with interrupts.graceful(), run_lock(paths.lock, shared=False):
        plan = load_plan(paths)
        require_name(target, plan.table.layout)
        require_replaceable(target, plan.table.layout)
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists", "give --overwrite to replace it, or another name with -o")
        return finish(plan, progress, keep=keep, began=began, target=target)


def finish(plan: Plan, progress: Progress, *, keep: bool, began: float, target: Path | None = None) -> Summary:
    """List the problems, write the output from the tiles, sum up, and remove the run folder if all tiles were made.

    The list comes first: an output that is complete is not made again, so its list must be there.
    """
    out = target or plan.paths.out
    require_tiles(plan)
    problems = RunPaths(out).problems
    _sweep(plan.paths, out, problems)
    reasons = write_problems(plan, problems)
    counts = merge(plan, out) if plan.table.layout == TABLE else write_hats(plan, out)
    seconds = time.monotonic() - began
    _say(counts, out, seconds, reasons, problems, progress)
    _remove_run(plan.paths, keep or plan.paths.gave_up)  # those can be tried again, and no other
    return Summary(out, counts, seconds, given_up_in(problems))


def _work(plan: Plan, engine: Engine, options: PredictOptions, site: Site | None, progress: Progress) -> dict[str, int]:
    """Make every tile that does not exist yet; returns what the cutouts counted."""
    todo = [tile for tile in plan.tiles if not is_made(plan, tile)]
    if options.shard is not None:
        index, count = options.shard
        mine = {tile.path for tile in plan.tiles[index::count]}
        todo.sort(key=lambda tile: tile.path not in mine)
    done = sum(tile.stop - tile.start for tile in plan.tiles) - sum(tile.stop - tile.start for tile in todo)
    if done:
        progress.note(f"going on with an unfinished run: {done:,} of {len(plan.rows):,} rows are there")
    counted, files = Counter(engine.source.counters()), engine.source.files()
    progress.start(len(plan.rows), done)
    try:
        if todo:
            with open_crew(plan, engine, options, site) as crew:
                dispatcher = Dispatcher(crew, plan, engine, progress.note, shared=options.shard is not None)
                for report in dispatcher.make(todo):
                    counted.update(report.counters)
                    files |= {fact: files[fact] | names for fact, names in report.files.items()}
                    progress.advance(len(report.tile))
    except Interrupted:
        kept = len(plan.tiles) - len(missing_tiles(plan))
        progress.note(f"{kept:,} of {len(plan.tiles):,} tiles are finished; the others begin anew")
        raise
    finally:
        progress.finish()
    counted.update({fact: len(names) for fact, names in files.items()})
    return dict(counted)


def _is_finished(options: PredictOptions, plan: Plan, before: dict[str, str], *, fresh: bool) -> bool:
    """Refuse an output made from something else; whether nothing in it is to be made again.

    In both cases a run folder that this run began does not stay.
    """
    try:
        require_identity(options.out, before, plan.table.identity)
    except GalcliError:
        if fresh:
            _remove_run(plan.paths, keep=False)
        raise
    if plan.paths.gave_up:
        return False
    # Another shard may still be looking at the folder.
    _remove_run(plan.paths, keep=options.shard is not None or options.keep_tiles or was_to_be_kept(plan.paths, fresh))
    return True


def _say(
    counts: Counts, out: Path, seconds: float, reasons: dict[str, int], problems: Path, progress: Progress
) -> None:
    """The last lines of a run."""
    good = counts.rows - counts.unpredicted
    progress.note(
        f"{counts.rows:,} rows in {duration(seconds)}: {good:,} predicted, {counts.unpredicted:,} without a prediction"
    )
    for name, bits, kind in [
        ("STATUS", counts.status, RowStatus),
        *((n, b, ModelStatus) for n, b in counts.models.items()),
    ]:
        met = [f"{kind(bit).name} {number:,}" for bit, number in sorted(bits.items()) if number]
        if met:
            progress.note(f"  {name}: {', '.join(met)}")
        if kind is ModelStatus and bits.get(int(ModelStatus.OUT_OF_DOMAIN), 0) > counts.predicted[name] / 2:
            progress.note(f"  {_MOSTLY_OUTSIDE}")
    for reason, number in reasons.items():
        progress.note(f"  {number:,} x {reason}")
    if reasons:
        progress.note(f"  rows with problems are listed in {problems}")
    for bad in out.glob("bad-coordinates.*"):
        progress.note(f"  rows with bad coordinates lie in no pixel: they are in {bad}")
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    progress.note(f"written: {out} ({sum(path.stat().st_size for path in files) / 1e6:.1f} MB)")


def _sweep(paths: RunPaths, out: Path, problems: Path) -> None:
    """Remove what killed processes left half-written; the caller holds the run alone."""
    for written in (out, problems, paths.record):
        clear_partial(written)
    for folder in {paths.tile(tile).parent for tile in load_plan(paths).tiles} | {paths.reports}:
        for stray in folder.glob(".*.tmp"):
            stray.unlink(missing_ok=True)
    for plan in paths.root.glob(f"{paths.plan.name}.new-*"):
        shutil.rmtree(plan, ignore_errors=True)


def _remove_run(paths: RunPaths, keep: bool) -> None:
    if not keep:
        shutil.rmtree(paths.root, ignore_errors=True)
