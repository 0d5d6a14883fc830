"""What a DMAGNet says about the galaxies of a catalogue, and what it looked at in some of them."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.errors import InputError, ModelError
from galcli.predict.evaluate import numbers, passed, read_table
from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from galcli.progress import Progress, Quiet
from galcli.sky.catalog import Catalog, open_catalog
from galcli.training.galaxy10 import NAMES, check_labels
from galcli.training.interpret.predictions import Predictions, Seen, read_predictions, seen_pixels
from galcli.training.interpret.twin import Twin
from galcli.training.progress import track

Singles = NDArray[np.float32]
Whole = NDArray[np.int64]

#: Galaxies of each predicted class over which the use of kernels is averaged, at most.
PER_CLASS = 40
#: Surest galaxies of each predicted class that are shown.
SHOWN = 2
#: Galaxies that go through the network at once.
_BATCH = 16


class Beginning(NamedTuple):
    """The galaxy with which the dreams of a class begin.

    Attributes
    ----------
    row : int
    why : str
        ``predicted`` as the class; where none is, ``labelled`` so; where none is either, the ``likeliest`` one.
    """

    row: int
    why: str


@dataclass(frozen=True)
class Verdicts:
    """What was predicted for a catalogue, and what is true.

    Attributes
    ----------
    table : Predictions
    front : str
        The front through which the galaxies were seen.
    chosen : ndarray (N,), int64
        Predicted class; -1 without a prediction.
    probability : ndarray (N, 10), float32
    truth : ndarray (N,), int64
        -1 where it is not known.
    label_column : str or None
        Where the truth comes from; None: nothing is known.
    mock : bool
        Whether the galaxies are simulated.
    """

    table: Predictions
    front: str
    chosen: Whole
    probability: Singles
    truth: Whole
    label_column: str | None
    mock: bool

    @property
    def scaled(self) -> bool:
        """Whether pixel scales are known: else display images are shown from edge to edge."""
        return bool(np.isfinite(self.table.columns[f"{self.table.cards[0].prefix}_ATT_DX"]).any())

    @property
    def compared(self) -> Whole:
        """Rows with prediction and label."""
        return np.flatnonzero((self.chosen >= 0) & (self.truth >= 0))

    @property
    def absent(self) -> list[str]:
        """Classes that no galaxy is predicted as."""
        return [name for number, name in enumerate(NAMES) if not (self.chosen == number).any()]

    def surest(self, number: int, *, right_first: bool = False) -> Whole:
        """Rows predicted as a class, by falling probability; those that belong to it first where asked for."""
        rows = np.flatnonzero(self.chosen == number)
        wrong = (self.truth[rows] != number) & right_first
        order: Whole = rows[np.lexsort((-self.probability[rows, number], wrong))]
        return order

    def beginning(self, number: int) -> Beginning:
        """The galaxy with which the dreams of a class begin: every class has one.

        It is the surest that is predicted as the class, of those that belong to it where there are any; else, of those
        labelled so, else of all with a prediction, the one to which the class is given the highest probability.
        """
        if len(predicted := self.surest(number, right_first=True)):
            return Beginning(int(predicted[0]), "predicted")
        labelled = np.flatnonzero((self.chosen >= 0) & (self.truth == number))
        rows, why = (labelled, "labelled") if len(labelled) else (np.flatnonzero(self.chosen >= 0), "likeliest")
        return Beginning(int(rows[self.probability[rows, number].argmax()]), why)

    def spread(self, number: int) -> Whole:
        """Rows predicted as a class: all, or as many as are looked at, evenly over the catalogue."""
        rows = np.flatnonzero(self.chosen == number)
        return rows[np.unique(np.linspace(0, len(rows) - 1, min(PER_CLASS, len(rows))).round().astype(np.int64))]


@dataclass(frozen=True)
class Looks:
    """What the network looked at in some galaxies; M of them, in ascending order of their rows.

    Attributes
    ----------
    rows : ndarray (M,), int64
    images : ndarray (M, S, S, 3), float32
        As the network saw them, before normalisation: red, green, blue from 0 to 1, row 0 = south.
    inputs : Tensor (M, 3, S, S)
        Normalised network input, on the device of the network.
    attention : ndarray (M, h, w), float32
        Weight of each position in the pooling; sums to 1.
    lam : ndarray (M, h, w), float32
        Attention map of the last maps, 0 to 1.
    shares : ndarray (M, 3, 3), float32
        Stage, kernel size -> share; sums to 1 over the sizes.
    """

    rows: Whole
    images: Singles
    inputs: Tensor
    attention: Singles
    lam: Singles
    shares: Singles

    def at(self, rows: Whole) -> Whole:
        """Positions of rows that were looked at; the others are left out."""
        return np.flatnonzero(np.isin(self.rows, rows))


def judge(options: PredictOptions, twin: Twin, column: str | None, progress: Progress) -> Verdicts:
    """Predict a catalogue through the runtime of predict, and read the true classes where it has them.

    Parameters
    ----------
    options : PredictOptions
        ``models``, ``out`` and ``columns`` are set here.
    twin : Twin
    column : str, optional
        With the true classes; without it the one that the card names, where the catalogue has it.
    progress : Progress

    Raises
    ------
    ModelError
        If the classes of the model are not those of Galaxy10.
    InputError
        If no galaxy has a prediction, the column is not there, or a label is no class.
    """
    card, prefix = twin.card, twin.card.prefix
    outputs = {output.column: output for output in card.outputs}
    named = outputs.get(f"{prefix}_LABEL")
    if f"{prefix}_PROB" not in outputs or named is None or named.labels != NAMES:
        raise ModelError(f"{twin.file.path}: its classes are not those of Galaxy10",
                         "give a model file of `galcli train dmagnet`")  # fmt: skip
    where = ", ".join(map(str, options.catalogs))
    reading = (options.hdu, options.id_column, options.ra_column, options.dec_column)
    with open_catalog(options.catalogs, *reading) as catalog:
        column, mock = _label_column(catalog, twin, column), catalog.mock
    with tempfile.TemporaryDirectory(prefix="galcli-explain-") as folder:
        out = Path(folder) / "predictions.fits"
        columns = () if column is None else (column,)
        predict(dataclasses.replace(options, models=(str(twin.file.path),), out=out, columns=columns), Quiet(progress))
        table = read_predictions(out)
        given = None if column is None else numbers(passed(read_table(out), column), column)
    good = table.good(prefix)
    if not good.any():
        raise InputError(
            f"{where}: no galaxy got a prediction", "see the reasons with `galcli predict`, given the same options"
        )
    if not good.all():
        progress.note(f"{np.count_nonzero(~good):,} of {len(good):,} galaxies have no prediction")
    truth = np.full(len(good), -1)
    if given is None or not (given >= 0).any():
        column = None
    else:
        truth = check_labels(given, f"{where}, column {column}")
    chosen = np.where(good, table.columns[f"{prefix}_CLASS"], -1).astype(np.int64)
    probability = table.columns[f"{prefix}_PROB"].astype(np.float32)
    return Verdicts(table, table.fronts[prefix], chosen, probability, truth, column, mock)


def _label_column(catalog: Catalog, twin: Twin, wanted: str | None) -> str | None:
    """The column asked for, or the card's where the catalogue has it."""
    if wanted is not None:
        return catalog.find(wanted)
    labels = (label.column for label in twin.card.training.labels if label.output == f"{twin.card.prefix}_CLASS")
    known = {name.lower(): name for name in catalog.names}
    return next((known[name.lower()] for name in labels if name.lower() in known), None)


def look_at(verdicts: Verdicts, options: PredictOptions, twin: Twin) -> Looks:
    """Trace the galaxies of the plots through the network: a fair part of each class, its surest, and its dreamers.

    Parameters
    ----------
    verdicts : Verdicts
    options : PredictOptions
        How the catalogue is read.
    twin : Twin
        On any device.
    """
    numbers = range(len(NAMES))
    wanted = {verdicts.beginning(number).row for number in numbers}
    wanted.update(
        int(row) for number in numbers for row in (*verdicts.spread(number), *verdicts.surest(number)[:SHOWN])
    )
    found = seen_pixels(verdicts.table, twin.card.prefix, options, sorted(wanted))
    rows = np.array(sorted(found), np.int64)
    images, inputs = _given(twin, [found[row] for row in rows.tolist()], verdicts.front)
    starts = range(0, len(rows), _BATCH)
    with torch.no_grad():
        traces = [twin.network.trace(inputs[start : start + _BATCH])
                  for start in track(starts, "looking at galaxies", lambda start: len(rows[start : start + _BATCH]))]  # fmt: skip
    shares = [torch.stack(one.shares, 1) for one in traces]
    attention, lam = [one.attention for one in traces], [one.lam for one in traces]
    return Looks(rows, images, inputs, *(torch.cat(parts).cpu().numpy() for parts in (attention, lam, shares)))


def _given(twin: Twin, found: list[Seen], front: str) -> tuple[Singles, Tensor]:
    """Images (N, S, S, 3) and normalised network input (N, 3, S, S) of galaxies, made as in the model file's graph."""
    device = twin.pixels.mean.device
    pixels, valid = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*found, strict=True))
    fronts = torch.full((len(found),), twin.pixels.fronts.index(front), device=device)
    images = twin.pixels.rgb(pixels, valid, fronts).flip(1).permute(0, 2, 3, 1).contiguous()
    return images.cpu().numpy(), twin.pixels(pixels, valid, fronts)
