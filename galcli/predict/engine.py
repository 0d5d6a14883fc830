"""What a process needs to make tiles: the cutout source and the models, opened once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures, PixelBatch
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.parallel import cores
from galcli.cutouts.resolve import FIELD, find_source
from galcli.errors import DeviceMemoryError, InputError, ModelError, UsageError
from galcli.models import library
from galcli.models.bound import Lane, next_power_of_two
from galcli.models.card import Card, Chain
from galcli.models.devices import Device, find_device
from galcli.models.fronts import choose_front
from galcli.models.int8 import int8_device
from galcli.models.library import ModelFile
from galcli.models.session import Graph, Session, open_resampler
from galcli.predict.job import Job
from galcli.predict.options import PredictOptions
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
        The requested models; their chained models hang below them.
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

    def predict(self, request: CutoutRequest, table: Columns) -> Iterator[PixelBatch | Failures]:
        """Read the rows of a request and write their predictions into the columns of a table.

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
        items = self.source.read(request, self.batch_size)
        # On one core a thread that is all Python would only hand the interpreter's lock to and fro.
        if self.lanes or cores() > 1 or not self.source.all_python:
            items = prefetch(items)
        if self.lanes:
            yield from side_by_side(items, lambda item, lane: self._work(item, table, lane), self.lanes)
            return
        for item in items:
            self._work(item, table, None)
            yield item

    def _work(self, item: PixelBatch | Failures, table: Columns, lane: Lane | None) -> None:
        """Run all models on a batch, in parts where it is larger than memory holds."""
        if isinstance(item, Failures):
            return
        waiting = [item]
        while waiting:
            batch = waiting.pop()
            size = len(batch)
            try:
                if size <= self.batch_size:
                    job = Job(batch, lane)
                    for runner in self.runners:
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
        """Every model that writes columns, chained ones after the model that feeds them."""
        waiting = list(self.runners)
        while waiting:
            runner = waiting.pop(0)
            yield runner
            waiting = [child for child, _ in runner.children] + waiting


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
    asked = [library.find(name, options.precision) for name in options.models]
    candidates = asked or library.default_models(options.precision)
    if any(model.card.precision == "int8" for model in candidates):
        options = replace(options, device=int8_device(options.device))
    source = find_source(
        catalog, options.cutouts, bands=options.bands, zeropoint=options.zeropoint, pixel_scale=options.pixel_scale,
        bricks=options.bricks, field=max((model.card.field for model in candidates), default=0.0) or FIELD,
        note=note,
    )  # fmt: skip
    device = find_device(options.device)
    resampler = open_resampler(options.device, options.threads)
    runners = []
    chosen = _choose_models(options, source, candidates, asked=bool(asked))
    chosen = _told_of_blind(chosen, source, note) if asked else _without_blind(chosen, source, note)
    if isinstance(source, CoaddSource):  # no larger stamps than these models want
        source.field = max(model.card.field for model, _ in chosen) or FIELD
    whole = [model.name for model, _ in chosen if model.card.precision != "int8"]
    if options.precision == "int8" and whole:
        note(f"note: computed in float32, for want of an int8 twin: {', '.join(whole)}")
    for model, front in chosen:
        runners.append(_open_runner(model, front, options, resampler, taken))
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


def _choose_models(
    options: PredictOptions, source: CutoutSource, models: list[ModelFile], *, asked: bool
) -> list[tuple[ModelFile, int]]:
    """The models asked for (a misfit is an error), or every default model that fits."""
    fronts = dict.fromkeys(front.name for model in models for front in model.card.fronts)
    if fronts and options.front is not None and options.front not in fronts:
        raise UsageError(f"no model has a front {options.front!r}", f"their fronts are {', '.join(fronts)}")
    chosen, misfits = [], []
    for model in models:
        if model.card.columns or model.card.inputs:
            misfits.append(
                f"{model.name} wants catalogue columns, which this version does not feed" if model.card.columns else
                f"{model.name} is fed by another model, not by cutouts"
            )  # fmt: skip
            continue
        try:
            chosen.append((model, choose_front(model.card, source.kind, source.bands, source.survey, options.front)))
        except (InputError, UsageError) as error:
            if asked:
                raise
            misfits.append(error.message)
    if asked and misfits:
        raise ModelError(
            misfits[0], "use a model that works on pixels; it runs those that it feeds (see `galcli models list`)"
        )
    if not chosen and not misfits:
        raise ModelError(
            "no model is installed with this galcli", "name a model file with --model PATH, or install galcli again"
        )
    if not chosen:
        raise InputError(
            f"no default model fits these cutouts ({source.describe()}): " + "; ".join(misfits),
            f"{'check --bands' if options.bands else 'give cutouts with these bands'}, "
            "or choose a model with --model (see `galcli models list`)",
        )
    return chosen


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


def _without_blind(
    chosen: list[tuple[ModelFile, int]], source: CutoutSource, note: Callable[[str], None]
) -> list[tuple[ModelFile, int]]:
    """Default models that the cutouts are large enough for; all of them where none is."""
    seeing = [(model, front) for model, front in chosen if _sees(model.card, source)]
    if not seeing:
        return _told_of_blind(chosen, source, note)
    for model, _ in chosen:
        if not _sees(model.card, source):
            note(f"note: without {model.name}, which sees {_fields(model, source)}")
    return seeing


def _told_of_blind(
    chosen: list[tuple[ModelFile, int]], source: CutoutSource, note: Callable[[str], None]
) -> list[tuple[ModelFile, int]]:
    """The models asked for; those that the cutouts are too small for are named."""
    for model, _ in chosen:
        if not _sees(model.card, source):
            note(f"note: {model.name} sees {_fields(model, source)}: rows with so small ones get no prediction")
    return chosen


def _sees(card: Card, source: CutoutSource) -> bool:
    """Whether the first cutouts fill enough of a model's field; also where it is unknown."""
    # Pixels at the edge count where half of them is covered.
    shown = min(1.0, (source.field + (card.pixel_scale or 0)) / card.field) ** 2 if card.field else 1.0
    return not shown < 1 - card.max_masked


def _fields(model: ModelFile, source: CutoutSource) -> str:
    return f"{model.card.field:.3g} arcsec; the first cutouts show {source.field:.3g} arcsec"


def _open_runner(model: ModelFile, front: int, options: PredictOptions, resampler: Graph, taken: Taken) -> ModelRunner:
    # Models without a twin, and what a twin is chained to, stay in float32 beside int8.
    precision = "auto" if options.precision == "int8" != model.card.precision else options.precision
    session = Session(model, options.device, precision, options.threads)
    outputs, status, tables = bind_outputs(model, options.groups, taken)
    children = []
    for link in model.card.chain:
        if link.group is None or link.group in options.groups:
            child = _open_runner(chained_file(model, link), 0, options, resampler, taken)
            _require_bindings(session, child.session, link)
            children.append((child, dict(link.bindings)))
    return ModelRunner(model, session, resampler, front, outputs, status, tables, tuple(children))


def chained_file(model: ModelFile, link: Chain) -> ModelFile:
    """The model that another one feeds: beside its file, or among those installed."""
    beside = model.path.with_name(f"{link.name}.onnx")
    child = library.find(beside if beside.is_file() else link.name)
    if child.sha256 != link.sha256:
        raise ModelError(
            f"{model.name} is chained to another version of {link.name} than {child.path}",
            "export both models together",
        )
    return child


def _require_bindings(feeding: Session, fed: Session, link: Chain) -> None:
    """Refuse a chain whose tensors do not exist, or do not fit, before any work is done."""
    if fault := next(_binding_faults(feeding, fed, link), None):
        raise ModelError(fault, "export both models together")


def _binding_faults(feeding: Session, fed: Session, link: Chain) -> Iterator[str]:
    name, wanted = feeding.model.name, {tensor.name: tensor for tensor in fed.model.card.inputs}
    if missing := sorted(set(link.bindings) - set(feeding.outputs)):
        yield f"{name} has no output {', '.join(missing)} to feed {link.name}"
    if sorted(link.bindings.values()) != sorted(wanted):
        bound, inputs = (", ".join(sorted(names)) or "none" for names in (link.bindings.values(), wanted))
        yield f"{name} feeds {link.name} with {bound}, but its inputs are {inputs}"
    for source, target in link.bindings.items():
        if fault := library.feeding_fault(feeding.outputs[source], wanted[target]):
            yield f"{name} cannot feed input {target} of {link.name}: {source} {fault}"


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
