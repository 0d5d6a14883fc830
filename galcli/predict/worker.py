"""Making tiles, in this process or in one of many: what a worker opens once, and what it does for each tile."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
from contextlib import ExitStack
from dataclasses import dataclass

from galcli.cutouts.parallel import share_cores
from galcli.errors import DeviceError, InputError
from galcli.predict.claims import claim
from galcli.predict.engine import Engine
from galcli.predict.identity import difference, flatten
from galcli.predict.inputs import open_inputs
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import Plan, describe_models, load_plan
from galcli.predict.record import read_record
from galcli.predict.tile import TileReport, forget_tile, is_made, run_tile
from galcli.sky.tiles import Tile


@dataclass(frozen=True)
class Assignment:
    """What a worker process is told about its run.

    Attributes
    ----------
    options : PredictOptions
        With the one device of this worker.
    folder : str
        Where relative paths begin.
    sharing : int
        Workers that share the cores and the memory of the machine.
    """

    options: PredictOptions
    folder: str
    sharing: int


def make_tile(plan: Plan, engine: Engine, tile: Tile) -> TileReport:
    """Make a tile unless it is there, or somebody else is at it: another shard, or a worker that this run has lost."""
    with claim(plan.paths.claim(tile)) as ours:
        if ours and not is_made(plan, tile):
            forget_tile(plan, tile)
            return run_tile(plan, engine, tile)
    return TileReport(tile, made=False)


def work(assignment: Assignment, tile: Tile) -> TileReport:
    """Make a tile in a worker process.

    Raises
    ------
    GalcliError
        If inputs, models or device cannot be used here, or the tile cannot be written.
    """
    plan, engine = _opened(assignment)
    return make_tile(plan, engine, tile)


@functools.cache
def _opened(assignment: Assignment) -> tuple[Plan, Engine]:
    """The plan and the engine of this process, which it keeps until it ends."""
    os.chdir(assignment.folder)
    given, sharing = assignment.options, assignment.sharing
    share_cores(sharing)
    options = dataclasses.replace(given, max_memory=None if given.max_memory is None else given.max_memory / sharing)
    _, _, engine = _open_for_good.enter_context(open_inputs(options))
    plan = load_plan(RunPaths(options.out))
    _require_planned_models(plan, engine)
    return plan, engine


#: Files and sessions of this worker; they are closed when its process ends.
_open_for_good = ExitStack()


def _require_planned_models(plan: Plan, engine: Engine) -> None:
    """Refuse to add to a run what another device, model or library would give."""
    record = read_record(plan.paths)
    if record is None:
        raise InputError(f"{plan.paths.root} holds no run", "start the run again")
    here = describe_models(engine)
    lines = difference(flatten({name: record.identity[name] for name in here}), flatten(here))
    if lines:
        raise DeviceError(
            f"a worker on {platform.node()} does not compute as planned: {'; '.join(lines)}",
            "give the --device and --precision that the workers have, and the same galcli to all machines",
        )
