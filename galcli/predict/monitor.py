"""How far a run is, read from its folder alone."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galcli.errors import InputError
from galcli.predict.hats_tree import HatsTree
from galcli.predict.paths import RunPaths, paths_of
from galcli.predict.plan import Plan, load_plan
from galcli.predict.record import read_record
from galcli.progress import duration


@dataclass(frozen=True)
class RunState:
    """Progress of a run.

    Attributes
    ----------
    out : str
    complete : bool
        The output exists and no run folder is left.
    rows, rows_done, tiles, tiles_done : int
    rows_per_second : float or None
        Over the tiles finished so far; None before the second one.
    seconds_left : float or None
    idle_seconds : float or None
        Since the last tile was finished.
    started, host : str
    """

    out: str
    complete: bool
    rows: int = 0
    rows_done: int = 0
    tiles: int = 0
    tiles_done: int = 0
    rows_per_second: float | None = None
    seconds_left: float | None = None
    idle_seconds: float | None = None
    started: str = ""
    host: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """What people read."""
        if self.complete:
            return [f"{self.out} is complete"]
        percent = 100 * self.rows_done / self.rows if self.rows else 100.0
        lines = [
            f"{self.out}: started {self.started} on {self.host}",
            f"{self.rows_done:,} of {self.rows:,} rows ({percent:.1f} %), {self.tiles_done} of {self.tiles} tiles",
        ]
        if self.rows_per_second:
            lines.append(f"{self.rows_per_second:,.0f} rows/s, {duration(self.seconds_left or 0)} left at that rate")
        if self.idle_seconds is not None:
            lines.append(f"the last tile was finished {duration(self.idle_seconds)} ago")
        return lines


def run_status(out: Path) -> RunState:
    """State of the run that makes ``out``.

    Parameters
    ----------
    out : Path
        The output table or its run folder.

    Raises
    ------
    InputError
        If there is neither a table nor a run.
    """
    paths = paths_of(out)
    record = read_record(paths)
    if record is None:
        return _without_run(paths)
    try:
        plan = load_plan(paths)
    except InputError:
        if paths.planned:
            raise
        return _without_run(paths)  # finished and removed just now
    times = sorted(_finished(plan))
    done = sum(rows for _, rows in times)
    rate = left = None
    idle = max(time.time() - times[-1][0], 0.0) if times else None
    if len(times) > 1 and times[-1][0] > times[0][0]:
        rate = (done - times[0][1]) / (times[-1][0] - times[0][0])
        left = (len(plan.rows) - done) / rate
    return RunState(
        str(paths.out), False, len(plan.rows), done, len(plan.tiles), len(times), rate, left, idle,
        record.started, record.host,
    )  # fmt: skip


def _without_run(paths: RunPaths) -> RunState:
    """Not planned yet, or finished."""
    if paths.out.is_file() or HatsTree(paths.out, "").record.is_file():
        return RunState(str(paths.out), complete=True)
    raise InputError(f"there is no run for {paths.out}", "give the output table of a `galcli predict`")


def _finished(plan: Plan) -> Iterator[tuple[float, int]]:
    """When each finished tile was committed, and its rows."""
    for tile in plan.tiles:
        with contextlib.suppress(FileNotFoundError):
            yield plan.paths.tile(tile).stat().st_mtime, len(tile)
