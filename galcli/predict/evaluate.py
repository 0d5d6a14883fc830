"""How good a model is on labelled galaxies, measured on the table that predict writes."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.models.card import Label
from galcli.models.library import ModelFile
from galcli.predict.choice import asked_model
from galcli.predict.classes import ClassScores, confusion, scores
from galcli.predict.feeding import backbone_file, chained_file
from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from galcli.predict.runner import Taken, bind_outputs
from galcli.predict.table import PREDICTIONS
from galcli.progress import Progress, Quiet
from galcli.sky.catalog import open_catalog
from galcli.sky.rows import open_table
from galcli.tables.status import ModelStatus

#: A residual beyond this many sigma_MAD is an outlier.
OUTLIER = 3.0


@dataclass(frozen=True)
class Scores:
    """Residuals of one output, or of one component of a vector, prediction minus label.

    Attributes
    ----------
    column, label : str
        Of a vector with the component: ``NAME[0]``.
    objects : int
        Rows with a usable label and a prediction.
    unpredicted : int
        Rows with a usable label but no prediction.
    rmse, bias, sigma_mad, scatter, r2 : float
        ``scatter`` is the standard deviation of the labels: what predicting their mean would give.
    outliers : float
        Fraction beyond 3 sigma_MAD.
    coverage : float or None
        Fraction of labels within the 68 % interval of ``<column>_ERR``.
    out_of_domain : float
        Fraction flagged OUT_OF_DOMAIN.
    """

    column: str
    label: str
    objects: int
    unpredicted: int
    rmse: float
    bias: float
    sigma_mad: float
    scatter: float
    r2: float
    outliers: float
    coverage: float | None
    out_of_domain: float


@dataclass(frozen=True)
class Classified:
    """How well an output that is a class is predicted.

    Attributes
    ----------
    column, label : str
    names : tuple of str
        Names of the classes, by their numbers.
    objects, unpredicted, out_of_domain
        As in `Scores`.
    confusion : ndarray (C, C), int64
        Rows are true classes.
    """

    column: str
    label: str
    names: tuple[str, ...]
    objects: int
    unpredicted: int
    out_of_domain: float
    confusion: NDArray[np.int64]

    @property
    def figures(self) -> ClassScores:
        """Precision, recall and F1, of each class and on average."""
        return scores(self.confusion)


def evaluate(
    options: PredictOptions, model: str, labels: dict[str, str], progress: Progress
) -> list[Scores | Classified]:
    """Predict a labelled catalogue into a temporary table and compare.

    Parameters
    ----------
    options : PredictOptions
        ``models``, ``out``, ``columns`` and ``groups`` are set here.
    model : str
    labels : dict of str to str
        Output column -> label column, instead of those the card names.
    progress : Progress

    Returns
    -------
    list of Scores or Classified
        One per labelled output, and per component where it is a vector.

    Raises
    ------
    InputError
        If no label is known or usable.
    """
    found = asked_model(model, options.precision)
    wanted = [Label(output=output.upper(), column=column) for output, column in labels.items()] or list(
        found.card.training.labels
    )
    if not wanted:
        raise InputError(f"the card of {found.name} names no labels", "name them with --label OUTPUT=COLUMN")
    writers = [_writer(found, label.output) for label in wanted]
    columns = tuple(dict.fromkeys(name for label in wanted for name in (label.column, label.error) if name))
    if not labels:
        _require_columns(options, wanted)
    groups = tuple(sorted({group for writer in writers for group in writer.groups if group}))
    with tempfile.TemporaryDirectory(prefix="galcli-evaluate-") as folder:
        out = Path(folder) / "predictions.fits"
        predict(dataclasses.replace(options, models=(model,), out=out, columns=columns, groups=groups), Quiet(progress))
        table = _by_its_own_names(read_table(out), found, groups)
    # As in training, a row counts when all its labels are usable: bright lines alone would be another sample.
    pairs = [(*pair, writer) for label, writer in zip(wanted, writers, strict=True)
             for pair in components(table, label)]  # fmt: skip
    usable = np.all([label_values(table, label, component)[1] for label, component, _ in pairs], axis=0)
    return [
        classify(table, label, table[writer.status], usable, writer.classes)
        if writer.classes
        else score(table, label, table[writer.status], usable, component)
        for label, component, writer in pairs
    ]


@dataclass(frozen=True)
class _Writer:
    """What writes a column: the model or one chained to it, with the groups to ask for and its status column.

    ``classes`` are the names of what a column of class numbers tells.
    """

    column: str
    groups: frozenset[str | None]  # None: nothing to ask for
    status: str
    classes: tuple[str, ...]


def _require_columns(options: PredictOptions, wanted: list[Label]) -> None:
    """Refuse a catalogue without the label columns that the card names, before anything is predicted."""
    with open_catalog(
        options.catalogs, options.hdu, options.id_column, options.ra_column, options.dec_column
    ) as catalog:
        known = {name.lower() for name in catalog.names}
    for label in wanted:
        if label.column.lower() not in known:
            raise InputError(
                f"{', '.join(map(str, options.catalogs))} has no column {label.column}, the label of {label.output}",
                f"name your own with --label {label.output}=COLUMN",
            )


def _writer(model: ModelFile, column: str) -> _Writer:
    for writer in _writers(model):
        if writer.column == column:
            return writer
    names = ", ".join(sorted({writer.column for writer in _writers(model)}))
    raise InputError(f"{model.name} has no output {column}", f"its outputs are {names}")


def _writers(model: ModelFile, groups: frozenset[str | None] = frozenset()) -> Iterator[_Writer]:
    """Every column, those of chained models last, and only then are their files opened."""
    card = model.card
    for output in card.outputs:
        # Numbers of which another column holds the names are classes.
        named = [other.labels for other in card.outputs if other.tensor == output.tensor and other.labels]
        classes = named[0] if named and output.labels is None else ()
        yield _Writer(output.column, groups | {output.group}, f"{card.prefix}_STATUS", classes)
    for link in card.chain:
        yield from _writers(chained_file(model, link), groups | {link.group})


def _by_its_own_names(
    table: dict[str, NDArray[Any]], model: ModelFile, groups: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """The table with a model's columns as its card calls them: those of its backbone come first, and may be called so."""
    if model.card.backbone is None:
        return table
    taken = Taken(set(), set())
    for before in _family(backbone_file(model, model.card.backbone), groups):
        bind_outputs(before, groups, taken)
    named = dict(table)
    for one in _family(model, groups):
        outputs, status, _ = bind_outputs(one, groups, taken)
        named |= {bound.output.column: table[bound.column.name] for bound in outputs}
        named[f"{one.card.prefix}_STATUS"] = table[status.name]
    return named


def _family(model: ModelFile, groups: tuple[str, ...]) -> Iterator[ModelFile]:
    """A model and those chained to it that run with these groups, in the order of their columns."""
    yield model
    for link in model.card.chain:
        if link.group is None or link.group in groups:
            yield from _family(chained_file(model, link), groups)


def components(table: dict[str, NDArray[Any]], label: Label) -> list[tuple[Label, int | None]]:
    """What of a label is compared: each component of a vector, or (None) the one number that there is.

    Raises
    ------
    InputError
        If output and label differ in shape.
    """
    value, truth = table[label.output], passed(table, label.column)
    if value.shape != truth.shape or value.ndim > 2:
        raise InputError(
            f"{label.output} holds {_shape(value)} per row, {label.column} {_shape(truth)}",
            "name a column of the same shape with --label OUTPUT=COLUMN: numbers, or vectors",
        )
    return [(label, None)] if value.ndim == 1 else [(label, number) for number in range(value.shape[1])]


def read_table(path: Path) -> dict[str, NDArray[Any]]:
    """Columns of a predictions table, native byte order; whole numbers with nulls among them as float64 with NaN."""
    table = open_table(path, PREDICTIONS)
    try:
        columns = table.read(0, table.nrows, list(table.fields))
    finally:
        table.close()
    for name, field in table.fields.items():
        nulls = columns[name] == field.null if field.null is not None else np.zeros(1, bool)
        if nulls.any():
            columns[name] = np.where(nulls, np.nan, columns[name])
    return columns


def score(
    table: dict[str, NDArray[Any]], label: Label, status: NDArray[np.int32], usable: NDArray[np.bool_],
    component: int | None = None,
) -> Scores:  # fmt: skip
    """Compare one output, or a component of it, with its label in the usable rows.

    Raises
    ------
    InputError
        If no row has a usable label and a prediction, or one of them is no number.
    """
    truth = label_values(table, label, component)[0]
    value = numbers(table[label.output], label.output, component)
    both = _compared(usable, value, label)
    residual, target = value[both] - truth[both], truth[both]
    center = float(np.median(residual))
    mad = 1.4826 * float(np.median(np.abs(residual - center)))
    error = table.get(f"{label.output}_ERR")
    if error is not None:
        error = numbers(error, f"{label.output}_ERR", component)
    coverage = None if error is None else float(np.mean(np.abs(residual) <= error[both]))
    variance = float(np.var(target))
    part = "" if component is None else f"[{component}]"
    return Scores(
        column=f"{label.output}{part}", label=f"{label.column}{part}",
        objects=int(both.sum()), unpredicted=int((usable & ~both).sum()),
        rmse=float(np.sqrt(np.mean(residual**2))), bias=float(np.mean(residual)), sigma_mad=mad,
        scatter=variance**0.5, r2=1 - float(np.mean(residual**2)) / variance if variance else 0.0,
        outliers=float(np.mean(np.abs(residual - center) > OUTLIER * mad)), coverage=coverage,
        out_of_domain=_outside(status[both]),
    )  # fmt: skip


def classify(
    table: dict[str, NDArray[Any]], label: Label, status: NDArray[np.int32], usable: NDArray[np.bool_],
    names: tuple[str, ...],
) -> Classified:  # fmt: skip
    """Compare predicted classes with the true ones in the usable rows.

    Raises
    ------
    InputError
        If a usable label is no class, or no row has a usable label and a prediction.
    """
    truth, value = label_values(table, label)[0], numbers(table[label.output], label.output)
    usable = usable & ~(truth < 0)
    wrong = np.flatnonzero(usable & ~np.isin(truth, np.arange(len(names))))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} labels in {label.column} are no class, the first {truth[wrong[0]]:g} in row {wrong[0]}",
            f"classes are the whole numbers 0 to {len(names) - 1}; negative or missing is no label",
        )
    both = _compared(usable, value, label)
    matrix = confusion(truth[both].astype(np.int64), value[both].astype(np.int64), len(names))
    return Classified(
        label.output, label.column, names, int(both.sum()), int((usable & ~both).sum()),
        _outside(status[both]), matrix,
    )  # fmt: skip


def _compared(usable: NDArray[np.bool_], value: NDArray[np.float64], label: Label) -> NDArray[np.bool_]:
    """Rows with a usable label and a prediction; there must be some."""
    both: NDArray[np.bool_] = usable & np.isfinite(value)
    if not both.any():
        raise InputError(
            f"no row has both usable labels and a prediction of {label.output} to compare with {label.column}",
            "check the label column, or name another with --label OUTPUT=COLUMN",
        )
    return both


def _outside(status: NDArray[np.int32]) -> float:
    """Fraction of rows outside the domain."""
    return float(np.mean((status & int(ModelStatus.OUT_OF_DOMAIN)) != 0))


def label_values(
    table: dict[str, NDArray[Any]], label: Label, component: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Labels in the units of the output, and which of them may be used (sentinels and weak lines may not)."""
    raw = numbers(passed(table, label.column), label.column, component)
    usable = np.isfinite(raw)
    if label.minimum is not None:
        usable &= raw > label.minimum
    if label.maximum is not None:
        usable &= raw < label.maximum
    if label.error is not None and label.min_snr is not None:
        error = numbers(passed(table, label.error), label.error, component)
        usable &= (error > 0) & (raw > label.min_snr * error)
    if label.transform == "log10":
        usable &= raw > 0
        raw = np.log10(np.where(usable, raw, 1.0))
    return raw, usable


def numbers(values: NDArray[Any], name: str, component: int | None = None) -> NDArray[np.float64]:
    """A column, or a component of a column of vectors, as float64.

    Raises
    ------
    InputError
        If it does not hold one number per row.
    """
    if component is not None and values.ndim == 2:
        values = values[:, component]
    if values.ndim != 1 or values.dtype.kind not in "iufb":
        raise InputError(
            f"{name} does not hold one number per row",
            "name columns of numbers with --label OUTPUT=COLUMN; classes are numbers from 0, too",
        )
    return values.astype(np.float64)


def passed(table: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """A catalogue column that was passed through, under its own name or as IN_<NAME>."""
    upper = name.upper()
    return table[f"IN_{upper}"] if f"IN_{upper}" in table else table[upper]


def _shape(values: NDArray[Any]) -> str:
    return "x".join(map(str, values.shape[1:])) + " values" if values.ndim > 1 else "one value"
