"""Cutouts in an array column of the catalogue itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures, Kind, PixelBatch, survey_pixels, without_signal
from galcli.cutouts.header import NO_OVERRIDES, Convention, Overrides, convention
from galcli.errors import InputError
from galcli.sky.catalog import Catalog

#: Columns that may hold images; compared without case.
IMAGE_NAMES = ("IMAGE", "IMG", "STAMP", "CUTOUT", "IMAGES")


def image_column(catalog: Catalog) -> str | None:
    """The catalogue's image column, None if it has none."""
    known = {name.upper(): name for name in catalog.names}
    for name in IMAGE_NAMES:
        if name in known:
            try:
                shape = catalog.column_meta(known[name]).shape
            except InputError:
                continue
            if len(shape) in (2, 3):
                return known[name]
    return None


class ColumnSource:
    """Cutouts in an array column (B, H, W) or (H, W) of the catalogue.

    Pixels are read by row when they are wanted: the catalogue in memory never holds them.

    Parameters
    ----------
    catalog : Catalog
    name : str
    overrides : Overrides, optional
        Bands in file order, zero point, pixel scale; else the cards BANDS, BUNIT, PIXSCALE of the table's header.

    Raises
    ------
    InputError
        If bands or units cannot be known.
    """

    kind: Kind = "flux"
    needs: tuple[str, ...] = ()
    all_python = False

    def __init__(self, catalog: Catalog, name: str, overrides: Overrides = NO_OVERRIDES) -> None:
        self._catalog, self._name = catalog, name
        shape = catalog.column_meta(name).shape
        self._shape = (1, *shape) if len(shape) == 2 else shape
        cards = dict(catalog.header)
        cards.setdefault("BUNIT", catalog.column_meta(name).unit)
        try:
            self._rule: Convention = convention(cards, self._shape[0], overrides)
        except InputError as error:
            raise InputError(f"column {name} of {catalog.where}: {error.message}", error.hint) from error
        self._sum = catalog.header.get("DATASUM") if len(catalog.files) == 1 else None
        self.bands = self._rule.bands
        self.survey = self._rule.survey
        self.field = max(self._shape[1:]) * self._rule.pixel_scale
        self.side = min(self._shape[1:])

    def fingerprint(self) -> dict[str, Any]:
        """DATASUM of the table; sizes and modification times of its files where there is none."""
        facts = [path.stat() for path in self._catalog.files]
        marks = [f"{fact.st_size} bytes, {fact.st_mtime_ns}" for fact in facts]
        mark = str(self._sum) if self._sum is not None else "; ".join(marks)
        return {"source": "column", "name": self._name, "sum": mark}

    def describe(self) -> str:
        """One line for people."""
        return f"column {self._name} of {self._catalog.where}, bands {''.join(self.bands)}"

    def counters(self) -> dict[str, int]:
        """Nothing: see ``files``."""
        return {}

    def files(self) -> dict[str, frozenset[str]]:
        """The catalogue, if it carries no checksum."""
        return {"no_checksum": frozenset([self._catalog.where] if self._sum is None else [])}

    def rows_ahead(self, batch_size: int) -> int:
        """One batch is read at a time."""
        return 0

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield the rows in the order of the catalogue; see ``CutoutSource``."""
        order = np.argsort(request.row, kind="stable")
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            raw = self._catalog.read(request.row[index], [self._name])[self._name]
            rest, constant = without_signal(self._settle(index, raw.reshape(len(index), *self._shape)))
            if constant is not None:
                yield constant
            if rest is not None:
                yield rest

    def _settle(self, index: NDArray[np.int64], raw: NDArray[Any]) -> PixelBatch:
        """A batch from the column's values."""
        n, (bands, height, width) = len(index), self._shape
        pixels = np.empty((n, bands, height, width), np.float32)
        self._rule.settle(raw, pixels)
        has_nan, has_data = survey_pixels(pixels)
        center = np.tile([(width - 1) / 2, (height - 1) / 2], (n, 1))
        scale = np.full(n, self._rule.pixel_scale)
        return PixelBatch(index, pixels, self.bands, self.kind, scale, center, has_nan, has_data)
