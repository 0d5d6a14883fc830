"""What a process needs to make tiles: the cutout source and the models, opened once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures, PixelBatch
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.parallel import cores
from galcli.cutouts.resolve import FIELD
from galcli.errors import DeviceMemoryError, UsageError
from galcli.models.bound import Lane, next_power_of_two
from galcli.models.devices import Device, find_device
from galcli.models.int8 import int8_device
from galcli.models.library import ModelFile
from galcli.models.session import Graph, Session, open_resampler
from galcli.predict.choice import (
    Choice,
    candidates,
    choose,
    find_cutouts,
    tell_of_float32,
    told_of_blind,
    without_blind,
)
from galcli.predict.feeding import chained_file, require_bindings
from galcli.predict.job import Job, RowJob
from galcli.predict.options import PredictOptions
from galcli.predict.rowwise import Rowwise, works_rowwise
from galcli.predict.runner import Columns, ModelRunner, Taken, bind_outputs
from galcli.predict.stream import DEPTH, prefetch, side_by_side
from galcli.progress import silent
from galcli.sky.catalog import Catalog
from galcli.tables.columns import Column

#: Cutouts per batch: enough to amortise a call, few enough for a network's activations to stay near the processor's
#: cache (a ResNet-18 at 144 pixels on two cores: 294 images/s at 32, 272 at 64, 252 at 128).
MAX_BATCH = 32
#: The same for a GPU, which wants many at once; halved where its memory does not hold them.
GPU_BATCH = 256
#: Batches in work at a time on a GPU: one is uploaded while another is computed.
LANES = 2
#: Memory of the program itself with one model loaded, GB, and of one image inside a ResNet-sized model, GB (measured).
BASE_GB = 0.4
IMAGE_GB = 0.008
#: Rows of a tile at most, unless all stand at one position, and how often a tile is in memory while it is written.
TILE_ROWS, TILE_COPIES = 4096, 3
#: Memory of a cutout of 144 pixels in three bands, GB.
CUTOUT_GB = 3 * 144 * 144 * 4 / 1e9


@dataclass
class Engine:
    """Open resources of one process.

    Attributes
    ----------
    source : CutoutSource
    runners : tuple of ModelRunner
        The requested models and the backbones of those; the models that they feed hang below them.
    batch_size : int
        Cutouts per batch; becomes smaller where memory runs out.
    lanes : tuple of Lane
        One for each batch in work on a GPU; none on the CPU.
    note : callable
        Is told of smaller batches.
    elsewhere : (Device, str or None) or None
        What other machines compute with, and their precision where it is not that of the sessions; None: these do.
    """

    source: CutoutSource
    runners: tuple[ModelRunner, ...]
    batch_size: int
    lanes: tuple[Lane, ...] = ()
    note: Callable[[str], None] = silent
    elsewhere: tuple[Device, str | None] | None = None
    _halving: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seeing(self) -> tuple[ModelRunner, ...]:
        """The models that take pixels."""
        return tuple(runner for runner in self.runners if runner.sees)

    @property
    def needs(self) -> tuple[str, ...]:
        """Catalogue columns that the cutouts or the models want."""
        wanted = (name for runner in self.runners if runner.wants is not None for name in runner.wants.needs)
        return tuple(dict.fromkeys([*self.source.needs, *wanted]))

    def predict_rows(self, numbers: NDArray[np.int64], catalog: Mapping[str, NDArray[Any]], table: Columns) -> None:
        """Write what the models that take no pixels say of all rows of a tile into the columns of a table.

        Parameters
        ----------
        numbers : ndarray (N,), int64
            Rows of the catalogue.
        catalog : mapping of str to ndarray (N, ...)
            The columns of `needs`.
        table : dict of str to ndarray (N, ...)

        Raises
        ------
        ModelError
            If a model fails on every one of many rows.
        Interrupted
            After a signal.
        """
        runners = [runner for runner in self.runners if not runner.sees]
        for start in range(0, len(numbers) if runners else 0, TILE_ROWS):
            interrupts.check()
            job = RowJob(numbers, np.arange(start, min(start + TILE_ROWS, len(numbers))), catalog)
            for runner in runners:
                runner.run_rows(job, table)

    def predict(self, request: CutoutRequest, table: Columns) -> Iterator[PixelBatch | Failures]:
        """Read the cutouts of a request and write what models say of them into the columns of a table.

        Where no model takes pixels, nothing is read.

        Yields
        ------
        What was read, in order, when its predictions are in the table.

        Raises
        ------
        ModelError
            If a model fails on every row of a batch.
        DeviceMemoryError
            If memory does not hold a single cutout.
        """
        if not self.seeing:
            return
        items = self.source.read(request, self.batch_size)
        # On one core a thread that is all Python would only hand the interpreter's lock to and fro.
        if self.lanes or cores() > 1 or not self.source.all_python:
            items = prefetch(items)
        if self.lanes:
            yield from side_by_side(items, lambda item, lane: self._work(item, request, table, lane), self.lanes)
            return
        for item in items:
            self._work(item, request, table, None)
            yield item

    def _work(self, item: PixelBatch | Failures, request: CutoutRequest, table: Columns, lane: Lane | None) -> None:
        """Run all models of pixels on a batch, in parts where it is larger than memory holds."""
        if isinstance(item, Failures):
            return
        waiting = [item]
        while waiting:
            batch = waiting.pop()
            size = len(batch)
            try:
                if size <= self.batch_size:
                    job = Job(batch, lane, request.columns)
                    for runner in self.seeing:
                        runner.run(job, table)
                    continue
            except DeviceMemoryError:
                if size == 1:
                    raise
                self._halve(size)
                if lane is not None:
                    lane.release()
            finally:
                if lane is not None:
                    lane.clear()
            half, rows = next_power_of_two(size) // 2, np.arange(size)
            waiting += [batch.take(rows[half:]), batch.take(rows[:half])]

    def _halve(self, size: int) -> None:
        """Take smaller batches from here on, since ``size`` cutouts were too many."""
        with self._halving:
            if self.batch_size >= size:
                self.batch_size = next_power_of_two(size) // 2
                for lane in self.lanes:
                    lane.least = min(lane.least, self.batch_size)
                self.note(f"memory ran out: {self.batch_size} cutouts at a time from here on")

    def all_runners(self) -> Iterator[ModelRunner]:
        """Every model that writes columns, each after the model that feeds it."""
        for runner in self.runners:
            yield from runner.family()


def open_engine(options: PredictOptions, catalog: Catalog, taken: Taken, note: Callable[[str], None]) -> Engine:
    """Find the cutouts, choose the models that they satisfy, and open everything.

    Parameters
    ----------
    options : PredictOptions
    catalog : Catalog
    taken : Taken
        Names of columns and HDUs of the file so far.
    note : callable
        Is told how far the search for cutouts is where it takes long.

    Returns
    -------
    Engine

    Raises
    ------
    InputError, ModelError, DeviceError
    """
    wanted = candidates(options)
    if any(one.model.card.precision == "int8" for one in wanted):
        options = replace(options, device=int8_device(options.device))
    source, why = find_cutouts(options, catalog, wanted, note)
    device = find_device(options.device)
    chosen = choose(options, catalog, source, wanted, note, why)
    chosen = told_of_blind(chosen, source, note) if options.models else without_blind(chosen, source, note)
    if isinstance(source, CoaddSource):  # no larger stamps than these models want
        source.field = max(one.model.card.field for one in chosen) or FIELD
    if options.precision == "int8":
        tell_of_float32(chosen, note)
    opener = _Opener(options, open_resampler(options.device, options.threads), taken)
    runners = [opener.open_chosen(one) for one in chosen]
    tile = tile_gb(TILE_ROWS, [column for runner in runners for column in runner.columns])
    engine = Engine(source, tuple(runners), _share_memory(options, source, device, BASE_GB + tile), note=note)
    _require_groups(options.groups, engine.all_runners())
    if device.gpu:
        # TensorRT compiles a model for each size of batch: there is one.
        least = engine.batch_size if device.kind == "tensorrt" else 1
        engine.lanes = tuple(Lane(device, least) for _ in range(LANES))
        if not all(runner.session.placed for runner in engine.all_runners()):
            note("note: this version of onnxruntime does not tell whether the GPU runs every node")
    return engine


def _require_groups(groups: tuple[str, ...], runners: Iterable[ModelRunner]) -> None:
    """Refuse a group that no model at work has; those of a chained model count where that is asked for."""
    cards = [runner.model.card for runner in runners]
    known = {output.group for card in cards for output in card.outputs if output.group}
    known |= {link.group for card in cards for link in card.chain if link.group}
    for group in groups:
        if group not in known:
            names = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"no model at work has the optional group {group!r}",
                f"groups of the chosen models: {names}; name the model that has it with --model",
            )


@dataclass(frozen=True)
class _Opener:
    """What the models of a run are opened with; each takes the names of its columns in turn."""

    options: PredictOptions
    resampler: Graph
    taken: Taken

    def open_chosen(self, one: Choice) -> ModelRunner:
        """Open a model of the run."""
        runner = self.open(one.model, one.fed, pixels=one.sees)
        runner.front, runner.wants = one.front, one.wants
        return runner

    def open(self, model: ModelFile, fed: tuple[ModelFile, ...] = (), *, pixels: bool) -> ModelRunner:
        """Open a model and those that it feeds: by its card, and ``fed`` by theirs; ``pixels``: what comes has some."""
        options, card = self.options, model.card
        # Models without a twin, and what a twin is chained to, stay in float32 beside int8.
        precision = "auto" if options.precision == "int8" != card.precision else options.precision
        session = Session(model, options.device, precision, options.threads)
        rowwise, threads = Rowwise(session), options.threads or cores()
        if (works_rowwise(card) or not pixels) and threads > 1 and not session.device.gpu:
            rowwise = Rowwise(session, Session(model, "cpu", precision, 1), threads)
        outputs, status, tables = bind_outputs(model, options.groups, self.taken)
        asked = [link for link in card.chain if link.group is None or link.group in options.groups]
        below = [(chained_file(model, link), link.bindings) for link in asked]
        below += [(other, other.card.backbone.bindings) for other in fed if other.card.backbone]
        children = []
        for other, bindings in below:
            child = self.open(other, pixels=pixels)
            require_bindings(session, child.session, bindings)
            children.append((child, dict(bindings)))
        return ModelRunner(model, rowwise, self.resampler, 0, outputs, status, tables, tuple(children))


def batches_gb(source: CutoutSource, batch_size: int, lanes: int, cutout_gb: float) -> float:
    """Memory of what is read ahead and in work, GB, where a cutout takes ``cutout_gb``."""
    rows = source.rows_ahead(batch_size) + batch_size * (DEPTH + 2 + 2 * lanes)
    inside = 0.0 if lanes else IMAGE_GB  # a GPU has memory of its own for what models make of the pixels
    return rows * cutout_gb + batch_size * inside


def tile_gb(rows: int, columns: Iterable[Column]) -> float:
    """Memory of a tile while it is written, GB."""
    return TILE_COPIES * rows * sum(column.row_bytes for column in columns) / 1e9


def _share_memory(options: PredictOptions, source: CutoutSource, device: Device, fixed: float) -> int:
    """Batch size that stays below ``--max-memory`` (`batches_gb`), where ``fixed`` GB are needed whatever the batch.

    Large images that stamps are cut from may keep a half of what there is beside the program.
    """
    most = options.batch_size or (GPU_BATCH if device.gpu else MAX_BATCH)
    if options.max_memory is None:
        return most
    shares = 2 if isinstance(source, CoaddSource) else 1
    left = (options.max_memory - fixed) / shares
    if isinstance(source, CoaddSource):
        source.kept_bytes = min(source.kept_bytes, int(left * 1e9))
    needed = partial(batches_gb, source, lanes=LANES if device.gpu else 0, cutout_gb=CUTOUT_GB)
    fits = [size for size in range(1, most + 1) if needed(size) <= left]
    if not fits:
        raise UsageError(
            f"--max-memory {options.max_memory} GB is less than the program itself needs",
            f"give at least {math.ceil(100 * (fixed + shares * needed(1))) / 100} GB",
        )
    return options.batch_size or fits[-1]
