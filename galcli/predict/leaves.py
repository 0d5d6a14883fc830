"""Leaf pixels of a HATS catalogue: neighbouring tiles joined until a pixel holds enough rows to be worth a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galcli.sky.healpix import ORDER_MAX
from galcli.sky.tiles import Tile

#: Rows of a leaf at most, unless all stand in one tile, and their bytes: readers hold a leaf in memory.
LEAF_ROWS, LEAF_BYTES = 1_000_000, 1_000_000_000


@dataclass(frozen=True)
class Leaf:
    """A pixel of the sky that gets one file, and the tiles in it.

    Attributes
    ----------
    order, pix : int
        NESTED pixel.
    tiles : tuple of Tile
        Along the NESTED curve; parts of one pixel follow each other.
    """

    order: int
    pix: int
    tiles: tuple[Tile, ...]

    def __len__(self) -> int:
        return sum(map(len, self.tiles))


def join_tiles(tiles: Sequence[Tile], limit: int = LEAF_ROWS) -> list[Leaf]:
    """The coarsest pixels that hold at most ``limit`` rows; a pixel that is one tile stays whole whatever it holds.

    Parameters
    ----------
    tiles : sequence of Tile
        Along the NESTED curve, as `make_tiles` gives them; those of bad coordinates are left out.
    limit : int
        With 0 each tile is a leaf of its own, all its parts together.

    Returns
    -------
    list of Leaf
        Along the curve; they do not overlap, and every tile is in exactly one.
    """
    placed = [tile for tile in tiles if tile.order >= 0]
    first = np.array([tile.pix << 2 * (ORDER_MAX - tile.order) for tile in placed], np.int64)
    before = np.concatenate([[0], np.cumsum([len(tile) for tile in placed], dtype=np.int64)])
    leaves: list[Leaf] = []
    waiting = [(0, pix) for pix in reversed(range(12))]
    while waiting:
        order, pix = waiting.pop()
        shift = 2 * (ORDER_MAX - order)
        begin, end = (int(place) for place in np.searchsorted(first, [pix << shift, (pix + 1) << shift]))
        if begin == end:
            continue
        if before[end] - before[begin] <= limit or placed[begin].order == order:
            leaves.append(Leaf(order, pix, tuple(placed[begin:end])))
        else:
            waiting += [(order + 1, child) for child in reversed(range(4 * pix, 4 * pix + 4))]
    return leaves
