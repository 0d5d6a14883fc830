"""Training stamps from a real survey, through the same catalogue reader, cutout readers and grid as predict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures
from galcli.cutouts.resolve import find_source
from galcli.errors import InputError
from galcli.models.card import Card, Front
from galcli.models.fronts import choose_front
from galcli.models.grid import to_grid
from galcli.models.session import Graph, open_resampler
from galcli.sky import healpix
from galcli.sky.catalog import Catalog, open_catalog
from galcli.tables.status import NULL_BITS
from galcli.training import cache
from galcli.training.data import Stamps

Labels = dict[str, NDArray[np.float32]]
_READ = 256
#: Catalogue rows in memory at a time.
_ROWS = 65_536
#: Label that is 1 where a row has usable pixels, else NaN.
USABLE = "usable"


@dataclass(frozen=True)
class Reading:
    """How a survey is read where it does not say so itself; the options of predict with the same names.

    Attributes
    ----------
    hdu : int or None
    id_column, ra_column, dec_column : str or None
    bands : tuple of str or None
    zeropoint, pixel_scale : float or None
    """

    hdu: int | None = None
    id_column: str | None = None
    ra_column: str | None = None
    dec_column: str | None = None
    bands: tuple[str, ...] | None = None
    zeropoint: float | None = None
    pixel_scale: float | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What was given."""
        return {name: value for name, value in vars(self).items() if value is not None}


class SurveyStamps:
    """A labelled catalogue with its cutouts.

    Parameters
    ----------
    catalog : Path
        FITS table.
    cutouts : Path or str, optional
        Folder, file, glob or template; looked for beside the catalogue without it.
    columns : mapping of str to str
        Label name to catalogue column.
    select : callable
        Rows that are fit to learn from.
    limit : int, optional
        Rows used at most: the first ones that are selected.
    reading : Reading, optional
    option : str
        Where label columns are named, for messages.

    Raises
    ------
    InputError
        If the catalogue or the cutouts cannot be used, or no row is selected.
    """

    def __init__(
        self, catalog: Path, cutouts: Path | str | None, columns: Mapping[str, str],
        select: Callable[[Labels], NDArray[np.bool_]], limit: int | None = None, reading: Reading | None = None,
        option: str = "--label-columns",
    ) -> None:  # fmt: skip
        self.reading = how = reading or Reading()
        self.catalog: Catalog = open_catalog(catalog, how.hdu, how.id_column, how.ra_column, how.dec_column)
        try:
            labels = read_labels(self.catalog, columns, option)[0]
            self.rows = np.flatnonzero(select(labels))[:limit]
            if not len(self.rows):
                raise InputError(
                    f"{catalog}: none of its {self.catalog.nrows} rows has the labels {', '.join(columns.values())}",
                    f"name the label columns with {option}",
                )
            self.labels = {name: values[self.rows] for name, values in labels.items()}
            self.source: CutoutSource = find_source(
                self.catalog, None if cutouts is None else str(cutouts), how.bands, how.zeropoint, how.pixel_scale
            )
        except BaseException:
            self.catalog.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    def stamps(
        self, folder: Path, fronts: list[dict[str, Any]], size: int, pixel_scale: float, say: Callable[[str], None],
        name: str,
    ) -> Stamps:  # fmt: skip
        """Stamps of the selected rows on one grid, made once; a row without usable pixels has NaN labels.

        Parameters
        ----------
        folder : Path
            Where caches are kept.
        fronts : list of dict
            Fronts as a model card lists them.
        size, pixel_scale : int, float
            Pixels along a side; arcsec per pixel.
        say : callable
            Takes lines for the user.
        name : str
            Of the model, for messages.

        Returns
        -------
        Stamps
        """
        card = Card.model_construct(name=name, size=(size, size), pixel_scale=pixel_scale, max_masked=0.1,
                                    fronts=tuple(Front(**front) for front in fronts))  # fmt: skip
        front = choose_front(card, self.source.kind, self.source.bands, self.source.survey)
        say(f"{self.source.describe()}: {len(self.rows)} labelled rows seen through {card.fronts[front].name}")
        resampler = open_resampler("cpu")
        names = (USABLE, *self.labels)
        facts = {
            "catalog": self.catalog.fingerprint(), "cutouts": self.source.fingerprint(), "front": front,
            "rows": _digest(self.rows, *self.labels.values()),
        } | self.reading.told  # fmt: skip
        bands = len(card.fronts[front].bands)
        recipe = cache.Recipe(self.catalog.path.stem, len(self.rows), size, pixel_scale, names, facts, bands)

        def make(chunk: int, count: int) -> cache.Chunk:
            part = slice(chunk * cache.CHUNK, chunk * cache.CHUNK + count)
            return self._chunk(self.rows[part], part, card, front, resampler)

        return cache.build(folder, recipe, make, say)

    def _chunk(self, rows: NDArray[np.int64], part: slice, card: Card, front: int, resampler: Graph) -> cache.Chunk:
        """Stamps and labels of some rows."""
        table = self.catalog.read(rows, self.source.needs)
        columns = {name: table[name] for name in self.source.needs}
        request = CutoutRequest(table["id"], table["ra"], table["dec"], rows, columns)
        height, width = card.size or (0, 0)
        pixels = np.full((len(rows), len(card.fronts[front].bands), height, width), np.nan, np.float32)
        known = [values[part] for values in self.labels.values()]
        labels = np.stack([np.ones(len(rows), np.float32), *known], axis=1)
        usable = np.zeros(len(rows), np.bool_)
        for batch in self.source.read(request, _READ):
            if isinstance(batch, Failures):
                continue
            grid = to_grid(batch, card.fronts[front], card, resampler)
            pixels[batch.index] = np.where(grid.valid > 0, grid.pixels, np.float32(np.nan))
            usable[batch.index] = (grid.status & int(NULL_BITS)) == 0
        labels[~usable] = np.nan
        number = np.full(len(rows), front, np.int8)
        return cache.Chunk(pixels, number, labels, healpix.pixel(table["ra"], table["dec"]))


def read_labels(
    catalog: Catalog, columns: Mapping[str, str], option: str = "--label-columns",
    rows: NDArray[np.int64] | None = None,
) -> tuple[Labels, NDArray[np.int64]]:  # fmt: skip
    """Columns of numbers, and where the rows are.

    Parameters
    ----------
    catalog : Catalog
    columns : mapping of str to str
        Label name to catalogue column.
    option : str
        Where columns are named, for messages.
    rows : ndarray (N,), int64, optional
        Rows in ascending order; all of them by default.

    Returns
    -------
    labels : dict of str to ndarray (N,), float32
        NaN where there is no value.
    healpix : ndarray (N,), int64
        NESTED order-29 pixel; -1 where there is no position.

    Raises
    ------
    InputError
        If there is no such column, or it does not hold one number per row.
    """
    try:
        found = {name: catalog.find(column) for name, column in columns.items()}
    except InputError as error:
        hint = f"tell with {option} where to find {', '.join(columns)}, in this order"
        raise InputError(error.message, hint) from error
    parts = list(stream(catalog, list(dict.fromkeys(found.values())), rows))
    labels, places = {}, [healpix.pixel(part["ra"], part["dec"]) for part in parts]
    for name, column in found.items():
        null = catalog.column_meta(column).null
        values = [_numbers(part[column], null, column, option) for part in parts]
        labels[name] = np.concatenate(values) if values else np.zeros(0, np.float32)
    return labels, np.concatenate(places) if places else np.zeros(0, np.int64)


def stream(
    catalog: Catalog, names: Sequence[str], rows: NDArray[np.int64] | None = None
) -> Iterator[NDArray[Any]]:  # fmt: skip
    """Rows of a catalogue, some thousands at a time, as `Catalog.dtype` has them.

    Parameters
    ----------
    catalog : Catalog
    names : sequence of str
        Columns.
    rows : ndarray (N,), int64, optional
        Rows in ascending order; all of them by default.
    """
    if rows is None:
        yield from catalog.chunks(names)
        return
    for first in range(0, len(rows), _ROWS):
        interrupts.check()
        yield catalog.read(rows[first : first + _ROWS], names)


def catalogue_rows(path: Path, reading: Reading) -> NDArray[Any]:
    """Identifiers and positions of all rows: fields ``id``, ``ra`` and ``dec`` [degrees] of a structured array."""
    catalog = open_catalog(path, reading.hdu, reading.id_column, reading.ra_column, reading.dec_column)
    try:
        return np.concatenate(list(catalog.chunks()))
    finally:
        catalog.close()


def _numbers(values: NDArray[Any], null: int | None, column: str, option: str) -> NDArray[np.float32]:
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise InputError(
            f"column {column} holds {values.dtype}, not one number per row",
            f"check {option}; classes are numbers from 0",
        )
    numbers = values.astype(np.float32)
    if null is not None:
        numbers[values == null] = np.nan
    return numbers


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
