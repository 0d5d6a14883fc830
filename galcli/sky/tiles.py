"""Rows of a catalogue -> tiles: NESTED HEALPix pixels that hold a useful number of rows.

A tile is the unit of work, of resume and of output. Its rows stand together in one disk-backed array, in catalogue
order, so that a tile reads the catalogue forwards. Memory stays bounded for any catalogue that looks like a sky:
rows are first counted and distributed by pixels of order 8, then only crowded ones are looked at closely.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import OutputError
from galcli.sky.healpix import ORDER_MAX, check_order

#: Rows a tile holds at most when the order is chosen here; on an evenly filled sky a tile holds a quarter or more.
MAX_ROWS = 4096

#: A tile of a fixed order is split when it exceeds this many times ``max_rows``.
FIXED_ORDER_SLACK = 4

_COARSE = 8  # 786,432 pixels: counting them takes 6 MB
_CHUNK = 1 << 17  # rows handled at a time: the work arrays take a few MB
_INDEX = np.dtype("<i8")


@dataclass(frozen=True)
class Tile:
    """A pixel of the sky and its rows.

    Attributes
    ----------
    order, pix : int
        NESTED pixel; both -1 for rows whose coordinates are bad.
    part : int
        Counts up where even the deepest pixel holds too many rows (many rows at one position).
    start, stop : int
        The tile's rows are ``rows[start:stop]`` of the array that `make_tiles` wrote.
    """

    order: int
    pix: int
    part: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def path(self) -> str:
        """Path of the tile's file in a run folder, in the HATS layout."""
        if self.order < 0:
            return f"bad-coordinates/part={self.part}.fits"
        suffix = f"_part{self.part}" if self.part else ""
        return f"Norder={self.order}/Dir={self.pix // 10000 * 10000}/Npix={self.pix}{suffix}.fits"


def make_tiles(
    hpx: NDArray[np.int64], rows_out: str | Path, order: int | None = None, max_rows: int = MAX_ROWS
) -> list[Tile]:
    """Distribute rows over tiles.

    Parameters
    ----------
    hpx : ndarray or memmap (n,), int64
        NESTED pixel of order 29 of each catalogue row, -1 where the coordinates are bad.
    rows_out : str or Path
        ``.npy`` file that receives the n row numbers (int64), tile by tile, ascending within a tile.
    order : int, optional
        Order of the tiles; by default each tile is as coarse as ``max_rows`` allows.
    max_rows : int
        Most rows of a tile; with a fixed order, four times as many are allowed before a tile is split deeper.

    Returns
    -------
    list of Tile
        Along the NESTED curve; rows with bad coordinates come last. Every row is in exactly one tile.

    Raises
    ------
    UsageError
        If the order is out of range.
    OutputError
        If there is no space for ``rows_out``.
    """
    if order is not None:
        check_order(order)
    limit = max_rows if order is None else max_rows * FIXED_ORDER_SLACK
    first_order = order or 0
    counts, bad = _count(hpx)
    coarse = _coarse_leaves(counts, first_order, limit)
    rows = _create(Path(rows_out), len(hpx))
    edges = np.concatenate([[0], np.cumsum(coarse.counts)])
    _distribute(hpx, coarse, edges, rows)
    tiles: list[Tile] = []
    for leaf in _runs(coarse):
        if coarse.final[leaf[0]]:
            tiles += [Tile(int(coarse.order[i]), int(coarse.pix[i]), 0, int(edges[i]), int(edges[i + 1])) for i in leaf]
        else:
            tiles += _deepen(hpx, rows, int(edges[leaf[0]]), int(edges[leaf[-1] + 1]), first_order, limit)
    tiles += _parts(-1, -1, len(hpx) - bad, len(hpx), max_rows)
    if isinstance(rows, np.memmap):
        rows.flush()
    return tiles


@dataclass(frozen=True)
class _Leaves:
    """Coarse pixels with rows, along the NESTED curve; those not final are looked at closely."""

    order: NDArray[np.int64]
    pix: NDArray[np.int64]
    counts: NDArray[np.int64]
    final: NDArray[np.bool_]


def _count(hpx: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Rows per coarse pixel, and rows with bad coordinates."""
    counts = np.zeros(12 << (2 * _COARSE), np.int64)
    bad = 0
    for start in range(0, len(hpx), _CHUNK):
        pix = np.asarray(hpx[start : start + _CHUNK])
        good = pix[pix >= 0]
        bad += len(pix) - len(good)
        np.add(counts, np.bincount(good >> (2 * (ORDER_MAX - _COARSE)), minlength=len(counts)), out=counts)
    return counts, bad


def _coarse_leaves(counts: NDArray[np.int64], first_order: int, limit: int) -> _Leaves:
    """Go down from the coarsest order allowed; keep each pixel that holds few enough rows."""
    parts: list[tuple[NDArray[Any], ...]] = []
    left = counts.copy()  # rows not yet in a leaf
    for order in range(min(first_order, _COARSE), _COARSE + 1):
        sums = left.reshape(12 << (2 * order), -1).sum(axis=1)
        final = (sums > 0) & (sums <= limit) & (order >= first_order)
        if order == _COARSE:
            chosen = np.flatnonzero(sums > 0)
        else:
            chosen = np.flatnonzero(final)
            left.reshape(len(sums), -1)[chosen] = 0
        parts.append((np.full(len(chosen), order), chosen, sums[chosen], final[chosen]))
    orders, pix, rows, finals = (np.concatenate(column) for column in zip(*parts, strict=True))
    along = np.argsort(pix << (2 * (_COARSE - orders)))  # no two leaves overlap, so their first pixels differ
    return _Leaves(orders[along], pix[along], rows[along], finals[along])


def _distribute(hpx: NDArray[np.int64], leaves: _Leaves, edges: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Write the row numbers leaf by leaf; a counting sort, stable, with one chunk of rows in memory."""
    first = leaves.pix << (2 * (ORDER_MAX - leaves.order))
    slots = np.concatenate([np.searchsorted(first, _coarse_starts(), side="right") - 1, [len(first)]])
    cursor = edges.copy()  # the last one belongs to the bad rows
    for start in range(0, len(hpx), _CHUNK):
        pix = np.asarray(hpx[start : start + _CHUNK])
        # -1 >> any number of bits is -1, and slots[-1] is the slot of the bad rows.
        slot = slots[pix >> (2 * (ORDER_MAX - _COARSE))]
        # Sorting slot and position as one number is a stable sort, and several times faster than argsort.
        key = np.sort(slot * _CHUNK + np.arange(len(pix)))
        slot, local = key // _CHUNK, key % _CHUNK
        begins = np.flatnonzero(np.diff(slot, prepend=-1))
        sizes = np.diff(begins, append=len(slot))
        rank = np.arange(len(slot)) - np.repeat(begins, sizes)
        rows[cursor[slot] + rank] = start + local
        cursor[slot[begins]] += sizes


def _coarse_starts() -> NDArray[np.int64]:
    return np.arange(12 << (2 * _COARSE), dtype=np.int64) << (2 * (ORDER_MAX - _COARSE))


def _runs(leaves: _Leaves) -> Iterator[range]:
    """Consecutive leaves to be treated together: all final, or crowded ones of about one chunk of rows."""
    begin, held = 0, 0
    for i in range(len(leaves.order)):
        changes = leaves.final[i] != leaves.final[begin]
        if i > begin and (changes or (not leaves.final[i] and held + leaves.counts[i] > _CHUNK)):
            yield range(begin, i)
            begin, held = i, 0
        held += int(leaves.counts[i])
    if len(leaves.order):
        yield range(begin, len(leaves.order))


def _deepen(
    hpx: NDArray[np.int64], rows: NDArray[np.int64], start: int, stop: int, first_order: int, limit: int
) -> list[Tile]:
    """Cut the rows of crowded coarse pixels into tiles, and bring ``rows[start:stop]`` into the tiles' order."""
    numbers = np.asarray(rows[start:stop])
    pix = np.asarray(hpx[numbers])
    along = np.argsort(pix, kind="stable")
    ordered = pix[along]
    leaf = np.empty(len(pix), np.int64)  # first position along the curve of the leaf a row is in
    found: list[tuple[int, int, int]] = []  # order, begin, end along the curve
    ranges = np.array([[0, len(pix)]])
    for order in range(max(first_order, _COARSE), ORDER_MAX + 1):
        begins, ends = _cut(ordered, ranges, 2 * (ORDER_MAX - order))
        done = (ends - begins <= limit) | (order == ORDER_MAX)
        found += [(order, int(b), int(e)) for b, e in zip(begins[done], ends[done], strict=True)]
        ranges = np.stack([begins[~done], ends[~done]], axis=1)
        if not len(ranges):
            break
    found.sort(key=lambda item: item[1])
    sizes = [end - begin for _, begin, end in found]
    leaf[along] = np.repeat([begin for _, begin, _ in found], sizes)
    # Rows come in catalogue order within each coarse pixel, so a stable sort by leaf keeps that order.
    rows[start:stop] = numbers[np.argsort(leaf, kind="stable")]
    tiles: list[Tile] = []
    for order, begin, end in found:
        number = int(ordered[begin]) >> (2 * (ORDER_MAX - order))
        tiles += _parts(order, number, start + begin, start + end, limit)
    return tiles


def _cut(
    ordered: NDArray[np.int64], ranges: NDArray[np.int64], shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ends of the pixels, of the order that ``shift`` bits below 29 name, inside ranges of sorted pixels."""
    begins, ends = [], []
    for begin, end in ranges:
        inner = np.flatnonzero(np.diff(ordered[begin:end] >> shift)) + begin + 1
        begins.append(np.concatenate([[begin], inner]))
        ends.append(np.concatenate([inner, [end]]))
    return np.concatenate(begins), np.concatenate(ends)


def _parts(order: int, pix: int, start: int, stop: int, limit: int) -> list[Tile]:
    return [
        Tile(order, pix, part, begin, min(begin + limit, stop)) for part, begin in enumerate(range(start, stop, limit))
    ]


def _create(path: Path, n: int) -> NDArray[np.int64]:
    """A disk-backed array whose space is reserved: a full disk is an error here, not a crash on first use."""
    nbytes = n * _INDEX.itemsize
    try:
        with path.open("wb") as file:
            layout = {"descr": _INDEX.str, "fortran_order": False, "shape": (n,)}
            np.lib.format.write_array_header_1_0(file, layout)
            file.flush()
            total = file.tell() + nbytes
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, total)
            else:
                file.truncate(total)
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error} ({nbytes} bytes are needed)", f"free space in {path.parent}"
        ) from error
    if not n:
        return np.empty(0, _INDEX)  # an empty array cannot be mapped
    return np.lib.format.open_memmap(path, mode="r+")
