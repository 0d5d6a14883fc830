"""A HATS folder in place of one table: the tiles stay where they lie on the sky, and nothing is sorted or merged.

The folder is built inside the run folder and gets its name by one rename.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.predict.existing import require_replaceable
from galcli.predict.hats_files import file_table
from galcli.predict.hats_tree import MAP_ORDERS, HatsTree, write_maps, write_partitions, write_properties
from galcli.predict.layout import HPX
from galcli.predict.leaves import LEAF_BYTES, LEAF_ROWS, Leaf, join_tiles
from galcli.predict.merge import Counts, read_tile, row_type
from galcli.predict.options import HATS
from galcli.predict.paths import RunPaths
from galcli.predict.plan import Plan
from galcli.predict.table import PREDICTIONS
from galcli.sky.tiles import Tile
from galcli.tables.atomic import atomic_write, output_error, put_in_place
from galcli.tables.fits import StreamingTable, TableHDU, write_table
from galcli.tables.parquet import ParquetTable, write_schema


def write_hats(plan: Plan, out: Path) -> Counts:
    """Write the HATS folder of a run, whole or not at all.

    Parameters
    ----------
    plan : Plan
        Its tiles are all there: see `require_tiles`.
    out : Path
        A folder of galcli's that stands there is replaced.

    Returns
    -------
    Counts

    Raises
    ------
    InputError
        If a tile does not belong to the plan.
    OutputError
        If the folder cannot be written, or what stands at ``out`` is not galcli's.
    """
    paths, layout = RunPaths(out), plan.table.layout
    tree = HatsTree.of_layout(paths.building, layout)
    most = min(LEAF_ROWS, LEAF_BYTES // row_type(plan.table).itemsize)
    leaves = join_tiles(plan.tiles, most if layout == HATS else 0)
    counts = Counts()
    try:
        shutil.rmtree(tree.root, ignore_errors=True)
        tree.dataset.mkdir(parents=True)
        if layout == HATS:
            _write_parquet(plan, tree, leaves, counts)
        else:
            _write_fits(plan, tree, leaves, counts)
        _describe(plan, tree, leaves, out.name)
        _put(paths, layout)
    except OSError as error:
        raise output_error(paths.building, error) from error
    return counts


def _describe(plan: Plan, tree: HatsTree, leaves: list[Leaf], name: str) -> None:
    """Write everything but rows."""
    spec = plan.table
    nothing = {column.name: column.blank(0) for column in spec.columns}
    first = TableHDU(PREDICTIONS, list(spec.columns), nothing, list(spec.header))
    write_partitions(tree, leaves)
    order = int(np.clip(max((tile.order for tile in plan.tiles), default=0), *MAP_ORDERS))
    write_maps(tree, plan.catalog[HPX], order)
    write_properties(tree, name, leaves, order)
    write_table(tree.record, [first, *spec.further_hdus(), file_table(tree)])


def _write_parquet(plan: Plan, tree: HatsTree, leaves: list[Leaf], counts: Counts) -> None:
    """One Parquet file per leaf, and the two files that describe all of them."""
    import pyarrow.parquet as pq

    footers: Any = None
    for leaf in leaves:
        path = tree.leaf(leaf.order, leaf.pix)
        _parquet(plan, path, leaf.tiles, counts)
        footer = pq.read_metadata(path)
        footer.set_file_path(path.relative_to(tree.dataset).as_posix())
        if footers is None:
            footers = footer
        else:
            footers.append_row_groups(footer)
    write_schema(tree.schema, plan.table.columns)
    write_schema(tree.statistics, plan.table.columns, footers)
    if bad := _bad_tiles(plan):
        _parquet(plan, tree.bad, bad, counts)


def _parquet(plan: Plan, path: Path, tiles: Iterable[Tile], counts: Counts) -> None:
    """Write the rows of tiles along the curve."""
    with ParquetTable(path, plan.table.columns) as table:
        for tile in tiles:
            rows = _counted(plan, tile, counts)
            table.append(rows[np.argsort(rows["HPX"], kind="stable")])
        table.finish()


def _write_fits(plan: Plan, tree: HatsTree, leaves: list[Leaf], counts: Counts) -> None:
    """One FITS file per leaf: the tile that was made, or its parts joined."""
    places = [(tree.leaf(leaf.order, leaf.pix), leaf.tiles) for leaf in leaves]
    if bad := _bad_tiles(plan):
        places.append((tree.bad, bad))
    for path, tiles in places:
        if len(tiles) == 1:
            _counted(plan, tiles[0], counts)
            _place_tile(plan.paths.tile(tiles[0]), path)
        else:
            _join_parts(plan, path, tiles, counts)


def _join_parts(plan: Plan, path: Path, tiles: tuple[Tile, ...], counts: Counts) -> None:
    first = TableHDU(PREDICTIONS, list(plan.table.columns), {}, list(plan.table.header))
    with StreamingTable(path, first, sum(map(len, tiles))) as table:
        for tile in tiles:
            table.append(_counted(plan, tile, counts))
        table.finish()


def _place_tile(tile: Path, path: Path) -> None:
    """A second name for a finished tile, which nobody writes to any more; a copy where the disk knows no such names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.hardlink_to(tile)
    except OSError:
        atomic_write(path, tile.read_bytes())


def _counted(plan: Plan, tile: Tile, counts: Counts) -> NDArray[Any]:
    interrupts.check()
    rows = read_tile(plan, tile)
    counts.add(rows, plan.table)
    return rows


def _bad_tiles(plan: Plan) -> tuple[Tile, ...]:
    return tuple(tile for tile in plan.tiles if tile.order < 0)


def _put(paths: RunPaths, layout: str) -> None:
    """Give the finished folder its name; what it replaces steps aside into the run folder first."""
    require_replaceable(paths.out, layout)
    if paths.out.exists():
        shutil.rmtree(paths.replaced, ignore_errors=True)
        paths.out.rename(paths.replaced)
    put_in_place(paths.building, paths.out)
    shutil.rmtree(paths.replaced, ignore_errors=True)
    with contextlib.suppress(OSError):  # it holds the run, unless the output is put elsewhere
        os.rmdir(paths.root)  # noqa: PTH106
