"""A batch on its way through the models, which share what was made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import PixelBatch
from galcli.models.bound import Lane, Value
from galcli.models.card import Card, Front
from galcli.models.grid import GridBatch, to_grid
from galcli.models.session import Graph
from galcli.tables.status import NULL_BITS


@dataclass(frozen=True)
class Usable:
    """What a model sees of a batch.

    Attributes
    ----------
    grid : GridBatch
    rows : ndarray (M,), int64
        Rows of the batch that can get a prediction.
    pixels, valid : ndarray (M, ...), float32
        Those rows of the grid.
    """

    grid: GridBatch
    rows: NDArray[np.int64]
    pixels: NDArray[np.float32]
    valid: NDArray[np.float32]


@dataclass(frozen=True)
class RowJob:
    """Rows of a tile on their way through the models that need no pixels.

    Attributes
    ----------
    numbers : ndarray (rows of the tile,), int64
        Rows of the catalogue.
    index : ndarray (N,), int64
        Rows of the tile that are worked on.
    catalog : mapping of str to ndarray (rows of the tile, ...)
        Catalogue columns that the models want.
    """

    numbers: NDArray[np.int64]
    index: NDArray[np.int64]
    catalog: Mapping[str, NDArray[Any]]

    def rows_of(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Catalogue columns of the rows."""
        return {name: self.catalog[name][self.index] for name in names}


@dataclass
class Job:
    """One batch, and where it is computed.

    Models with equal grids share one resampling and, on a GPU, one upload.

    Attributes
    ----------
    batch : PixelBatch
    lane : Lane or None
        Memory on the GPU; None on the CPU, which takes the arrays as they are.
    catalog : mapping of str to ndarray (rows of the request, ...)
        Catalogue columns that the models want.
    """

    batch: PixelBatch
    lane: Lane | None = None
    catalog: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    _grids: dict[Any, Usable] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.batch)

    def rows_of(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Catalogue columns of the batch."""
        return {name: self.catalog[name][self.batch.index] for name in names}

    def on_grid(self, card: Card, front: Front, resampler: Graph) -> Usable:
        """The batch on a model's grid, made once for all models with that grid."""
        key = (front.bands, card.size, card.pixel_scale, card.max_masked, card.least_side)
        if key not in self._grids:
            grid = to_grid(self.batch, front, card, resampler)
            rows = np.flatnonzero((grid.status & int(NULL_BITS)) == 0)
            whole = rows.size == len(self.batch)
            self._grids[key] = Usable(
                grid, rows, grid.pixels if whole else grid.pixels[rows], grid.valid if whole else grid.valid[rows]
            )
        return self._grids[key]

    def run(self, graph: Graph, feeds: dict[str, Value], outputs: list[str], kept: Collection[str]) -> dict[str, Value]:
        """Run a graph; on a GPU the outputs ``kept`` stay there."""
        if self.lane is None:
            return graph.run(feeds, outputs)  # type: ignore[arg-type,return-value]  # Tensors come from lanes only
        return self.lane.run(graph, feeds, outputs, kept)
