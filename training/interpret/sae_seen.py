"""What a sparse autoencoder says of the galaxies of a catalogue, and what of some of them it looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.batch import CutoutRequest, Failures, PixelBatch
from galcli.errors import GalcliError, InputError, ModelError
from galcli.models.card import Card, Output
from galcli.models.library import ModelFile
from galcli.predict.choice import asked_model
from galcli.predict.engine import Engine
from galcli.predict.inputs import announce, open_inputs
from galcli.predict.job import Job
from galcli.predict.layout import HPX
from galcli.predict.options import PredictOptions
from galcli.predict.plan import write_catalog
from galcli.predict.runner import BoundOutput, ModelRunner
from galcli.predict.tile import null_columns
from galcli.progress import Progress
from galcli.sky.catalog import Catalog
from galcli.tables.columns import Column
from galcli.tables.status import NULL_BITS, ModelStatus
from galcli.training.interpret.predictions import Seen, coloured
from galcli.training.interpret.sae_catalogue import Floats, known_columns, numeric_columns
from galcli.training.interpret.sae_frames import Frame, Picture, cell_frame, pixel_frame, shrunk, shrunk_image
from galcli.training.viewer import VIEWER_PIXEL_SCALE

Singles = NDArray[np.float32]
Whole = NDArray[np.int64]

#: The network whose features concepts are compared with.
SFNET = "sfnet-metallicity"
STRENGTH, CODES = "inner/strength", "inner/codes"
#: Tensors without which there is nothing to explain.
NEEDED = ("idx", "energy", "dx", "dy", "size", "fvu", "l0", STRENGTH, CODES, "inner/data")
#: Rows that are read and predicted in one go, and numbers of codes that are in memory at once.
_ROWS, _CODES = 2048, 1 << 24


@dataclass(frozen=True)
class Sample:
    """What was said of a catalogue; G galaxies have a prediction.

    Attributes
    ----------
    rows : int
        Of the catalogue.
    chosen : ndarray (G,), int64
        Rows with a prediction, ascending.
    said : dict of str to ndarray (G, ...)
        Tensors of the model by name, as the table has them: offsets in arcsec.
    strength : ndarray (G, p), float32
        Root mean square of each concept's map.
    outside : int
        Galaxies out of the model's domain.
    columns : dict of str to ndarray (G,)
        Numbers of the catalogue; NaN where unknown.
    features : ndarray (G, F), float32, or None
        Activation of the features of `SFNET`, 0 where they are not active; None: it did not run.
    compared : ndarray (G,), bool
        Galaxies of which `SFNET` has a prediction; of others its features mean nothing.
    mock : bool
        Whether the galaxies are simulated.
    """

    rows: int
    chosen: Whole
    said: dict[str, NDArray[Any]]
    strength: Singles
    outside: int
    columns: dict[str, Floats]
    features: Singles | None
    compared: NDArray[np.bool_]
    mock: bool

    @property
    def scaled(self) -> bool:
        """Whether any galaxy has a pixel scale."""
        return bool(np.isfinite(self.said["dx"]).any())


@dataclass(frozen=True)
class Look:
    """A galaxy with the maps of some concepts.

    Attributes
    ----------
    place : int
        Among the galaxies of the sample.
    image : Picture
        Red, green, blue from 0 to 1.
    maps : dict of int to Picture
        By concept.
    scaled : bool
        Whether frames are in arcsec; else in px.
    """

    place: int
    image: Picture
    maps: dict[int, Picture]
    scaled: bool


@dataclass
class View:
    """A catalogue with its cutouts, and the models that look at it; made by `open_view`.

    Attributes
    ----------
    model : ModelFile
        The autoencoder.
    without_sfnet : str
        Why `SFNET` does not run; '' if it does.
    """

    model: ModelFile
    without_sfnet: str
    _catalog: Catalog
    _engine: Engine
    _table: NDArray[Any]
    _numeric: list[str]

    @property
    def card(self) -> Card:
        """The card of the autoencoder."""
        return self.model.card

    @property
    def front(self) -> str:
        """The front through which the galaxies are seen."""
        runner = self._chain[0]
        return runner.model.card.fronts[runner.front].name

    @property
    def _chain(self) -> tuple[ModelRunner, ModelRunner, dict[str, str]]:
        """The model that works on pixels, the autoencoder, and the bindings between them; both may be one."""
        for runner in self._engine.runners:
            if runner.model.sha256 == self.model.sha256:
                return runner, runner, {}
            for child, bindings in runner.children:
                if child.model.sha256 == self.model.sha256:
                    return runner, child, bindings
        raise ModelError(f"{self.model.path} does not run", "report this")

    def predict(self, progress: Progress) -> Sample:
        """Predict the whole catalogue as `galcli predict` does, and keep what concepts say.

        Raises
        ------
        InputError
            If no galaxy gets a prediction.
        Interrupted
            After a signal.
        """
        told = _Told.of(self._chain[1], self._sfnet, self._engine, len(self._table))
        order = np.argsort(self._table[HPX], kind="stable")  # neighbours on the sky have neighbouring cutouts
        order = order[self._table[HPX][order] >= 0]
        progress.start(len(order), 0)
        for first in range(0, len(order), _ROWS):
            rows = np.sort(order[first : first + _ROWS])
            columns = null_columns(told.columns, len(rows))
            lost = np.zeros(len(rows), np.bool_)
            for item in self._engine.predict(self._request(rows), columns):
                interrupts.check()
                if isinstance(item, Failures):  # may take back what was predicted
                    lost[item.index] = True
                progress.advance(len(item.index))
            told.take(rows[~lost], {name: values[~lost] for name, values in columns.items()})
        progress.finish()
        if not told.good.any():
            raise InputError(f"{self._catalog.where}: no galaxy got a prediction",
                             "see the reasons with `galcli predict`, given the same options")  # fmt: skip
        if not told.good.all():
            progress.note(f"{np.count_nonzero(~told.good):,} of {len(told.good):,} galaxies have no prediction")
        chosen = np.flatnonzero(told.good)
        numbers = known_columns(self._catalog, self._table[chosen], self._numeric)
        return told.sample(chosen, numbers, self._catalog.mock)

    def look(self, sample: Sample, wanted: Sequence[int], concepts: Sequence[int], patch: int) -> Iterator[Look]:
        """Look at galaxies again, and at where concepts are active in them.

        Parameters
        ----------
        sample : Sample
        wanted : sequence of int
            Places in it.
        concepts : sequence of int
        patch : int
            Side of the cells of codes, in px.
        """
        top, runner, bindings = self._chain
        front = top.model.card.fronts[top.front]
        rows = sample.chosen[np.sort(np.asarray(wanted, np.int64))]
        for item in self._engine.source.read(self._request(rows), self._engine.batch_size):
            if isinstance(item, Failures):
                continue
            seen = Job(item).on_grid(top.model.card, front, top.resampler)
            for places, pixels, valid in _parts(seen.rows, seen.pixels, seen.valid, runner):
                interrupts.check()
                feeds: dict[str, NDArray[Any]] = {
                    "pixels": pixels,
                    "valid": valid,
                    "front": np.full(len(places), top.front, np.int64),
                }
                if bindings:
                    tensors = top.session.run(feeds, list(bindings))
                    feeds = {target: tensors[source] for source, target in bindings.items()}
                codes = runner.session.run(feeds, [CODES])[CODES][:, list(concepts)]
                for number, at in enumerate(places.tolist()):
                    frames, unit = self._frames(item, at, pixels.shape[2:], codes.shape[2:], patch)
                    image = coloured(Seen(pixels[number], valid[number]), front, unit or VIEWER_PIXEL_SCALE)
                    maps = {c: shrunk(Picture(codes[number, i], frames[1])) for i, c in enumerate(concepts)}
                    place = int(np.searchsorted(sample.chosen, rows[item.index[at]]))
                    yield Look(place, shrunk_image(Picture(image, frames[0])), maps, unit > 0)

    def _frames(
        self, batch: PixelBatch, at: int, shape: tuple[int, ...], cells: tuple[int, ...], patch: int
    ) -> tuple[tuple[Frame, Frame], float]:  # fmt: skip
        """Where image and codes of a cutout lie, and arcsec per px; 0 where that is unknown: px then."""
        card = self._chain[0].model.card
        scale, center = float(batch.pixel_scale[at]), batch.center[at]
        if card.size is not None:  # it was brought to the model's grid
            scale, center = card.pixel_scale or 0.0, (np.array(card.size[::-1]) - 1) / 2
        scale = scale if np.isfinite(scale) and scale > 0 else 0.0
        whole = pixel_frame(shape, center, scale or 1.0)
        inner = (
            cell_frame(cells, shape, center, scale or 1.0, patch)
            if self.card.native
            else whole.of_strides(cells, shape)
        )
        return (whole, inner), scale

    @property
    def _sfnet(self) -> ModelRunner | None:
        named = (runner for runner in self._engine.all_runners() if runner.model.card.name == SFNET)
        return next(named, None)

    def _request(self, rows: Whole) -> CutoutRequest:
        part = self._table[rows]
        columns = {name: part[name] for name in self._engine.source.needs}
        return CutoutRequest(part["id"], part["ra"], part["dec"], rows, columns)


@contextmanager
def open_view(options: PredictOptions, name: str, progress: Progress) -> Iterator[View]:
    """Open a catalogue with its cutouts, an autoencoder, and beside it `SFNET` where the cutouts fit that too.

    Parameters
    ----------
    options : PredictOptions
        ``models`` is set here.
    name : str
        Name or path of the autoencoder.
    progress : Progress

    Raises
    ------
    ModelError
        If the model is no sparse autoencoder.
    GalcliError
        As `galcli predict` does.
    """
    model = asked_model(name, options.precision)
    if model.card.system != "sae":
        raise ModelError(f"{model.path}: not a sparse autoencoder", "give a model file of `galcli train sae`")
    with interrupts.graceful(), TemporaryDirectory(prefix="galcli-explain-") as folder:
        why = ""
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(
                    open_inputs(dataclasses.replace(options, models=(name, SFNET)), progress.note)
                )
            except GalcliError as error:
                opened = stack.enter_context(open_inputs(dataclasses.replace(options, models=(name,)), progress.note))
                why = error.message  # the autoencoder itself is in order
            catalog, _, engine = opened
            announce(engine, catalog, options, progress)
            numeric, table = numeric_columns(catalog), Path(folder) / "catalog.npy"
            fields = tuple(dict.fromkeys([*engine.source.needs, *numeric]))
            write_catalog(catalog, fields, options.limit, table)
            view = View(model, why, catalog, engine, np.load(table, mmap_mode="r"), numeric)
            _require_tensors(view._chain[1])
            yield view


def _require_tensors(runner: ModelRunner) -> None:
    if missing := [name for name in NEEDED if name not in runner.session.outputs]:
        raise ModelError(f"{runner.model.path}: its graph lacks the output {missing[0]}",
                         "give a model file of `galcli train sae`")  # fmt: skip


@dataclass
class _Told:
    """What is said of a catalogue, row by row, while it is said."""

    columns: tuple[Column, ...]
    names: dict[str, str]
    status: str
    sfnet: dict[str, str]
    good: NDArray[np.bool_]
    said: dict[str, NDArray[Any]]
    strength: Singles
    features: Singles | None
    compared: NDArray[np.bool_]
    outside: int = 0

    @classmethod
    def of(cls, runner: ModelRunner, sfnet: ModelRunner | None, engine: Engine, rows: int) -> _Told:
        """Nothing yet; from here on the autoencoder tells its strengths as well."""
        concepts = int(runner.session.outputs[STRENGTH].shape[1] or 0)
        inner = Output(tensor=STRENGTH, column="INNER_STRENGTH", dtype="f4", shape=(concepts,), description="")
        column = Column("INNER_STRENGTH", "f4", (concepts,))
        runner.outputs = (*runner.outputs, BoundOutput(inner, column))
        columns = tuple(column for one in engine.runners for column in one.columns)
        names = {bound.output.tensor: bound.column.name for bound in runner.outputs}
        said = {bound.output.tensor: bound.column.blank(rows) for bound in runner.outputs if bound.output is not inner}
        theirs, features = {}, None
        if sfnet is not None:
            theirs = {bound.output.tensor: bound.column.name for bound in sfnet.outputs} | {"status": sfnet.status.name}
            count = len(sfnet.model.card.tables[0].columns[0].values)
            features = np.zeros((rows, count), np.float32)
        return cls(columns, names, runner.status.name, theirs, np.zeros(rows, np.bool_), said,
                   np.zeros((rows, concepts), np.float32), features, np.zeros(rows, np.bool_))  # fmt: skip

    def take(self, rows: Whole, table: dict[str, NDArray[Any]]) -> None:
        """Take in what was said of some rows."""
        status = table[self.status]
        kept = _predicted(status)
        rows = rows[kept]
        self.good[rows] = True
        self.outside += int(((status[kept] & int(ModelStatus.OUT_OF_DOMAIN)) != 0).sum())
        self.strength[rows] = table[self.names[STRENGTH]][kept]
        for tensor, values in self.said.items():
            values[rows] = table[self.names[tensor]][kept]
        if self.features is not None:
            index, act = table[self.sfnet["idx"]][kept], table[self.sfnet["act"]][kept]
            self.compared[rows] = _predicted(table[self.sfnet["status"]][kept])
            at, slot = np.nonzero((index >= 0) & self.compared[rows][:, None])
            self.features[rows[at], index[at, slot]] = act[at, slot]

    def sample(self, chosen: Whole, columns: dict[str, Floats], mock: bool) -> Sample:
        """The rows with a prediction."""
        rows = slice(None) if len(chosen) == len(self.good) else chosen  # a slice copies nothing
        said = {tensor: values[rows] for tensor, values in self.said.items()}
        features = None if self.features is None else self.features[rows]
        return Sample(len(self.good), chosen, said, self.strength[rows], self.outside, columns, features,
                      self.compared[rows], mock)  # fmt: skip


def _predicted(status: Whole) -> NDArray[np.bool_]:
    """Rows of which a model says something."""
    found: NDArray[np.bool_] = (status >= 0) & ((status & int(NULL_BITS)) == 0)  # negative: it did not run
    return found


def _parts(
    rows: Whole, pixels: Singles, valid: Singles, runner: ModelRunner
) -> Iterator[tuple[Whole, Singles, Singles]]:
    """Parts of a batch whose codes fit memory."""
    concepts, height, width = runner.session.outputs[CODES].shape[1:]
    sides = [
        length if isinstance(length, int) else pixels.shape[2 + axis] for axis, length in enumerate((height, width))
    ]
    step = max(1, _CODES // (int(concepts or 1) * sides[0] * sides[1]))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        yield rows[part], pixels[part], valid[part]
