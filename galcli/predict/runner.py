"""One model at work: cutouts or catalogue columns in, finished table columns out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import PixelBatch
from galcli.errors import ModelError
from galcli.models.bound import Value
from galcli.models.card import Output
from galcli.models.columns import CatalogColumns
from galcli.models.library import ModelFile
from galcli.models.session import Graph, Session
from galcli.predict.job import Job, RowJob
from galcli.predict.rowwise import Rowwise, works_rowwise
from galcli.tables.columns import Column, from_output, renamed, status_column
from galcli.tables.status import NULL_BITS, ModelStatus

Columns = dict[str, NDArray[Any]]


@dataclass
class Taken:
    """Names that are in use in the output file: columns of the predictions, and HDUs."""

    columns: set[str]
    hdus: set[str]


@dataclass(frozen=True)
class BoundOutput:
    """An output tensor and the table column it is written to (renamed where two models share a name)."""

    output: Output
    column: Column


@dataclass(frozen=True)
class Rows:
    """Rows that get a prediction.

    Attributes
    ----------
    index : ndarray (M,), int64
        Their places in the tile.
    arcsec : ndarray (M,), float64
        Unit in which models give offsets on the sky: 1 where they know the scale of their grid, that of the cutout's
        pixels where those come at native size. NaN where the image has no scale.
    middle : ndarray (M, 2), float64
        Where models give offsets from, in that unit from the object to the east and to the north: the middle of the
        cutout at native size, else the object itself.
    status : ndarray (M,), int32
        `ModelStatus` bits; grows while the model is at work.
    """

    index: NDArray[np.int64]
    arcsec: NDArray[np.float64]
    middle: NDArray[np.float64]
    status: NDArray[np.int32]

    def take(self, kept: NDArray[np.bool_]) -> Rows:
        """Some of the rows, with a status of their own."""
        return Rows(self.index[kept], self.arcsec[kept], self.middle[kept], self.status[kept])


@dataclass
class ModelRunner:
    """A model with its session, its front and the columns it writes.

    Attributes
    ----------
    model : ModelFile
    rowwise : Rowwise
        The session, and how it computes single rows.
    resampler : Graph
        Brings pixels to the model's grid; shared by all models of a run.
    front : int
        Index of the card's front that this run uses.
    outputs : tuple of BoundOutput
        Outputs of the requested groups.
    status : Column
        The ``<PREFIX>_STATUS`` column.
    tables : dict of str to str
        Name of each of the card's tables -> its name in the output file.
    children : tuple of (ModelRunner, dict)
        Models that this one feeds, by its card or by theirs, with their bindings: tensor of this model -> input of the
        child.
    wants : CatalogColumns or None
        Catalogue columns that it takes.
    """

    model: ModelFile
    rowwise: Rowwise
    resampler: Graph
    front: int
    outputs: tuple[BoundOutput, ...]
    status: Column
    tables: dict[str, str]
    children: tuple[tuple[ModelRunner, dict[str, str]], ...] = field(default=())
    wants: CatalogColumns | None = None

    @property
    def session(self) -> Session:
        """What computes a batch."""
        return self.rowwise.session

    @property
    def front_name(self) -> str:
        """How it takes pixels; ``columns`` or ``chained`` where it takes none."""
        if self.sees:
            return self.model.card.fronts[self.front].name
        return "chained" if self.wants is None else "columns"

    @property
    def sees(self) -> bool:
        """Whether it takes pixels."""
        return bool(self.model.card.fronts)

    @property
    def columns(self) -> list[Column]:
        """All columns of this model and of those it feeds, in table order."""
        own = [bound.column for bound in self.outputs] + [self.status]
        return own + [column for child, _ in self.children for column in child.columns]

    @property
    def _tensors(self) -> list[str]:
        wanted = [bound.output.tensor for bound in self.outputs]
        return list(dict.fromkeys([*wanted, *self._passed_on]))

    @property
    def _passed_on(self) -> set[str]:
        """Tensors that feed other models."""
        return {tensor for _, bindings in self.children for tensor in bindings}

    def family(self) -> Iterator[ModelRunner]:
        """The model and those that it feeds, each after the one that feeds it."""
        yield self
        for child, _ in self.children:
            yield from child.family()

    def run(self, job: Job, table: Columns) -> None:
        """Predict a batch and write the values into the tile's columns.

        Parameters
        ----------
        job : Job
        table : dict of str to ndarray (rows of the tile, ...)
            Filled with nulls beforehand; rows of the batch are overwritten in place.

        Raises
        ------
        ModelError
            If the model fails on every row.
        DeviceMemoryError
            If memory does not hold the batch; a smaller one may be tried.
        """
        card = self.model.card
        seen = job.on_grid(card, card.fronts[self.front], self.resampler)
        status, good = seen.grid.status.copy(), seen.rows
        feeds: dict[str, Value] = {"pixels": seen.pixels, "valid": seen.valid}
        if self.wants is not None:
            columns, lacking = self.wants.take(job.rows_of(self.wants.needs))
            status[lacking] |= int(ModelStatus.MISSING_COLUMN)
            if lacking[good].any():
                feeds = {name: values[~lacking[good]] for name, values in feeds.items()}
                good = good[~lacking[good]]
            feeds["columns"] = columns[good]
        if good.size:
            feeds["front"] = np.full(good.size, self.front, np.int64)
            unit = job.batch.pixel_scale if card.native else 1.0
            arcsec = np.where(seen.grid.has_scale, unit, np.nan)
            middle = _middle(job.batch) if card.native else np.zeros((len(job), 2))
            rows = Rows(job.batch.index[good], arcsec[good], middle[good], status[good])
            self._predict(feeds, rows, table, job)
            status[good] = rows.status
        table[self.status.name][job.batch.index] = status
        self._pass_on(job.batch.index, table)

    def run_rows(self, job: RowJob, table: Columns) -> None:
        """Predict rows from the catalogue alone; arguments and errors are those of `run`."""
        assert self.wants is not None
        columns, lacking = self.wants.take(job.rows_of(self.wants.needs))
        status = np.where(lacking, int(ModelStatus.MISSING_COLUMN), 0).astype(np.int32)
        good = np.flatnonzero(~lacking)
        if good.size:
            rows = Rows(job.index[good], np.ones(good.size), np.zeros((good.size, 2)), status[good])
            self._predict({"columns": columns[good]}, rows, table, job)
            status[good] = rows.status
        table[self.status.name][job.index] = status
        self._pass_on(job.index, table)

    def _pass_on(self, index: NDArray[np.int64], table: Columns) -> None:
        """Tell the models that this one feeds why they got nothing for some of these rows."""
        status = table[self.status.name][index]
        nothing = (status & int(NULL_BITS)) != 0
        for child, _ in self.children:
            table[child.status.name][index[nothing]] = status[nothing]
            child._pass_on(index, table)

    def _run_fed(self, feeds: dict[str, Value], rows: Rows, table: Columns, job: Job | RowJob) -> None:
        """Predict from another model's tensors; what that model met in a row holds for this one too."""
        if rows.index.size:
            self._predict(feeds, rows, table, job)
            table[self.status.name][rows.index] = rows.status

    def _predict(self, feeds: dict[str, Value], rows: Rows, table: Columns, job: Job | RowJob) -> None:
        """Compute, write the values, and add to the status of the rows."""
        results, failed = self._infer(feeds, rows, job)
        rows.status[failed] |= int(ModelStatus.MODEL_ERROR)
        if not failed.all():
            self._store(results, ~failed, rows, table, job)

    def _infer(
        self, feeds: dict[str, Value], rows: Rows, job: Job | RowJob
    ) -> tuple[dict[str, Value], NDArray[np.bool_]]:
        """Run the session; if the batch fails, find the rows that make it fail.

        A row that came alone fails as it would among others: there are no results then. A larger batch of which
        nothing works shows that the model does not. On the CPU some models take row by row (`works_rowwise`), and rows
        without pixels are taken in blocks of one size.
        """
        n = len(rows.index)
        try:
            if isinstance(job, RowJob):
                whole = self.rowwise.run_blocks(feeds, job.numbers[rows.index], self._tensors)
                return dict(whole), np.zeros(n, bool)
            if job.lane is not None or not works_rowwise(self.model.card):
                return job.run(self.session, feeds, self._tensors, self._passed_on), np.zeros(n, bool)
        except ModelError:
            if n == 1:
                return {}, np.ones(1, bool)
        if isinstance(job, RowJob):
            parts = self.rowwise.run_alone(feeds, job.numbers[rows.index], self._tensors)
        else:
            parts = self.rowwise.run(feeds, n, self._tensors)
        worked = [part for part in parts if part is not None]
        if not worked and n == 1:
            return {}, np.ones(1, bool)
        if not worked:
            raise ModelError(
                f"model {self.model.name} fails on every row of a batch",
                "check the model file with `galcli models verify`, or run with --debug",
            )
        filled = [part if part is not None else worked[0] for part in parts]
        joined: dict[str, Value] = {name: np.concatenate([part[name] for part in filled]) for name in worked[0]}
        return joined, np.array([part is None for part in parts])

    def _store(
        self, results: dict[str, Value], kept: NDArray[np.bool_], rows: Rows, table: Columns, job: Job | RowJob
    ) -> None:
        """Write finite results; rows with any value that is not finite become nulls with MODEL_ERROR."""
        arrays: Columns = {bound.output.tensor: results[bound.output.tensor][:] for bound in self.outputs}
        for bound in self.outputs:
            values = arrays[bound.output.tensor]
            if values.dtype.kind == "f" and not bound.output.sky_offset:
                kept &= np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        rows.status[~kept] |= int(ModelStatus.MODEL_ERROR)
        domain = self.model.card.domain
        for bound in self.outputs:
            values = arrays[bound.output.tensor]
            if domain is not None and bound.output.column == domain.column:
                rows.status[kept & (values > domain.threshold)] |= int(ModelStatus.OUT_OF_DOMAIN)
            if bound.output.sky_offset:
                values = _on_sky(values, bound.output, rows)
            table[bound.column.name][rows.index[kept]] = _as_column(values[kept], bound)
        for child, bindings in self.children:
            # Whole tensors stay where they are; a part of one is cut out on the host.
            fed = {target: results[source] for source, target in bindings.items()}
            if not kept.all():
                fed = {target: values[kept] for target, values in fed.items()}
            child._run_fed(fed, rows.take(kept), table, job)


def _middle(batch: PixelBatch) -> NDArray[np.float64]:
    """Offset (N, 2) of the middle of each cutout from its object, px to the east and to the north."""
    height, width = batch.pixels.shape[2:]
    along = (np.array([width, height]) - 1) / 2 - batch.center
    found: NDArray[np.float64] = along * [-1, 1]  # columns go to the west
    return found


def _on_sky(values: NDArray[Any], output: Output, rows: Rows) -> NDArray[Any]:
    """Offsets and extents of a model in arcsec; offsets from the object."""
    shape = (-1, *[1] * (values.ndim - 1))
    if output.axis is not None:
        values = values + rows.middle[:, ("east", "north").index(output.axis)].reshape(shape)
    return values * rows.arcsec.reshape(shape)


def _as_column(values: NDArray[Any], bound: BoundOutput) -> NDArray[Any]:
    """Tensor values as they stand in the table: class numbers become names where the card has labels."""
    labels = bound.output.labels
    if labels is None:
        return values.astype(bound.column.numpy, copy=False)
    names = np.array([label.encode("ascii") for label in labels] + [b""], bound.column.numpy)
    known = (values >= 0) & (values < len(labels))
    return names[np.where(known, values, len(labels))]


def bind_outputs(
    model: ModelFile, groups: tuple[str, ...], taken: Taken
) -> tuple[tuple[BoundOutput, ...], Column, dict[str, str]]:
    """Choose the outputs of the requested groups, and give each column and table a name that no other model uses.

    Parameters
    ----------
    model : ModelFile
    groups : tuple of str
        Optional groups asked for.
    taken : Taken
        Names already in the file; the chosen ones are added.

    Returns
    -------
    outputs : tuple of BoundOutput
    status : Column
        The model's status column.
    tables : dict of str to str
        Name of each of the card's tables -> its name in the file.
    """
    card = model.card
    tables = {table.name: free_name(table.name, taken.hdus) for table in card.tables}
    chosen = [output for output in card.outputs if output.group is None or output.group in groups]
    names = [free_name(output.column, taken.columns) for output in chosen]
    status = status_column(card.prefix, model.name)
    status = renamed(status, free_name(status.name, taken.columns))
    bound = []
    for output, name in zip(chosen, names, strict=True):
        column = from_output(output)
        text = told(column.description, tables)
        bound.append(BoundOutput(output, replace(column, name=name, description=text, status=status.name)))
    return tuple(bound), status, tables


def told(description: str, tables: dict[str, str]) -> str:
    """A description that names the tables as they are called in this file."""
    return re.sub(r"\w+", lambda word: tables.get(word[0], word[0]), description)


def free_name(name: str, taken: set[str]) -> str:
    """``name``, or ``name_2``, ``name_3`` ... if another model writes it already; the result is marked as taken."""
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
