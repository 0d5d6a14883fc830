"""A predictions table with its models' tables of features, and the images that the models saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import fitsio
import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.cutouts.resolve import FIELD, find_source
from galcli.errors import InputError
from galcli.models.card import Card, Front, parse_card
from galcli.models.grid import to_grid
from galcli.models.session import open_resampler
from galcli.predict.options import PredictOptions
from galcli.sky.catalog import open_catalog
from galcli.tables.status import NULL_BITS
from galcli.training.viewer import VIEWERS, colour_image

Columns = dict[str, NDArray[Any]]
#: Cutouts read at once.
_READ = 64


@dataclass(frozen=True)
class Predictions:
    """What `galcli predict` wrote.

    Attributes
    ----------
    path : Path
    columns : dict of str to ndarray (N, ...)
        Columns of the table, in catalogue order.
    cards : list of Card
        Models that ran.
    fronts : dict of str to str
        Prefix of a model -> the front through which it saw the cutouts.
    """

    path: Path
    columns: Columns
    cards: list[Card]
    fronts: dict[str, str]

    def model(self, prefix: str) -> Card:
        """The card of the model with a prefix.

        Raises
        ------
        InputError
            If that model did not run.
        """
        for card in self.cards:
            if card.prefix == prefix:
                return card
        raise InputError(f"{self.path} holds no model with the prefix {prefix}", "choose one of its models")

    def good(self, prefix: str) -> NDArray[np.bool_]:
        """Rows to which a model gave values, (N,)."""
        mask: NDArray[np.bool_] = (self.columns[f"{prefix}_STATUS"] & int(NULL_BITS)) == 0
        return mask

    def features(self, prefix: str) -> Columns:
        """The table ``<PREFIX>_FEATURES``: weight, largest activation and frequency of each feature."""
        self.model(prefix)
        return _read(self.path, f"{prefix}_FEATURES")


def read_predictions(path: Path) -> Predictions:
    """Open the table that `galcli predict` wrote.

    Raises
    ------
    InputError
        If the file is no such table.
    """
    models = _read(path, "MODELS")
    cards = [parse_card(_text(card), str(path)) for card in models["CARD"]]
    fronts = {card.prefix: _text(front) for card, front in zip(cards, models["FRONT"], strict=True)}
    return Predictions(path, _read(path, "PREDICTIONS"), cards, fronts)


class Seen(NamedTuple):
    """A galaxy on the grid on which a model saw it.

    Attributes
    ----------
    pixels : ndarray (B, h, w), float32
        Bands of the front; 0 where there is no data. Row 0 = south.
    valid : ndarray (1, h, w), float32
        1 where there is data, else 0.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.float32]


def seen_pixels(
    predictions: Predictions, prefix: str, options: PredictOptions, rows: Sequence[int]
) -> dict[int, Seen]:  # fmt: skip
    """What a model was given of some galaxies.

    Parameters
    ----------
    predictions : Predictions
    prefix : str
        Prefix of the model's columns.
    options : PredictOptions
        How the table was made: its catalogues and cutouts.
    rows : sequence of int
        Rows of the table.

    Returns
    -------
    dict of int to Seen
        By row; rows without pixels are missing.
    """
    card, front = predictions.model(prefix), _front(predictions, prefix)
    wanted = np.unique(np.asarray(rows, np.int64))
    found: dict[int, Seen] = {}
    where = (options.hdu, options.id_column, options.ra_column, options.dec_column)
    told = (options.bands, options.zeropoint, options.pixel_scale)
    with open_catalog(options.catalogs, *where) as table:
        source = find_source(table, options.cutouts, *told, bricks=options.bricks, field=card.field or FIELD)
        part = table.read(wanted, source.needs)
        columns = {name: part[name] for name in source.needs}
        request = CutoutRequest(part["id"], part["ra"], part["dec"], wanted, columns)
        resampler = open_resampler("cpu")
        for batch in source.read(request, _READ):
            if isinstance(batch, Failures):
                continue
            grid = to_grid(batch, front, card, resampler)
            for row, pixels, valid in zip(wanted[batch.index], grid.pixels, grid.valid, strict=True):
                found[int(row)] = Seen(pixels.copy(), valid)  # a grid may be a view of a far larger batch
    return found


def seen_images(
    predictions: Predictions, prefix: str, options: PredictOptions, rows: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """Colour images of some galaxies on the grid on which a model saw them; the parameters are those of `seen_pixels`.

    Returns
    -------
    dict of int to ndarray (h, w, 3), float32
        Row -> red, green, blue from 0 to 1, row 0 = south; blank sky where there is no data; rows without pixels are
        missing.
    """
    scale, front = predictions.model(prefix).pixel_scale or 1.0, _front(predictions, prefix)
    found = seen_pixels(predictions, prefix, options, rows)
    return {row: coloured(seen, front, scale) for row, seen in found.items()}


def _front(predictions: Predictions, prefix: str) -> Front:
    """The front through which a model saw the cutouts."""
    fronts = predictions.model(prefix).fronts
    return next(front for front in fronts if front.name == predictions.fronts[prefix])


def coloured(seen: Seen, front: Front, pixel_scale: float) -> NDArray[np.float32]:
    """Colours as the viewer makes them, of the front's bands or of three of them."""
    pixels = seen.pixels
    if front.name == "display":
        # The same blank sky as `galcli.training.pixels.Pixels` gives display images.
        return colour_image(np.where(seen.valid > 0.5, pixels, VIEWERS["flux:gri"].sky), front.name, pixel_scale)
    if front.name in VIEWERS:
        return colour_image(pixels, front.name, pixel_scale)
    last = len(front.bands) - 1
    for name in ("flux:grz", "flux:gri"):
        if set(VIEWERS[name].bands) <= set(front.bands):
            chosen = [front.bands.index(band) for band in VIEWERS[name].bands]
            return colour_image(pixels[chosen], name, pixel_scale)
    return colour_image(pixels[[0, (last + 1) // 2, last]], "flux:grz", pixel_scale)


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Numbers out of a catalogue, case ignored; columns that it lacks are left out.

    Parameters
    ----------
    path : Path
    names : sequence of str

    Returns
    -------
    dict of str to ndarray (N,)
    """
    with open_catalog(path) as table:
        known = {name.lower() for name in table.names}
        found = [name for name in names if name.lower() in known]
        parts = list(table.chunks(found))
    return {name: np.concatenate([part[name] for part in parts]) for name in found}


def _read(path: Path, extension: str) -> Columns:
    try:
        with fitsio.FITS(str(path)) as file:
            rows = file[extension].read()
    except OSError as error:
        problem = f"{path} has no table {extension}: {error}"
        raise InputError(problem, "give a table that `galcli predict` wrote") from None
    return {name: rows[name].astype(rows[name].dtype.newbyteorder("=")) for name in rows.dtype.names}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
