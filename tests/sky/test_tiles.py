"""Every row is in exactly one tile, and tiles are pixels of a useful size."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galcli.errors import OutputError, UsageError
from galcli.sky.healpix import overlapping, pixel
from galcli.sky.tiles import Tile, make_tiles

SPHERE = 12 * 4**29


def check(
    hpx: NDArray[np.int64], tiles: list[Tile], rows_path: Path, order: int | None, max_rows: int
) -> NDArray[np.int64]:
    """Facts that hold for any tiling; returns the rows in the order of the tiles."""
    rows = np.load(rows_path)
    limit = max_rows if order is None else 4 * max_rows
    assert sorted(rows.tolist()) == list(range(len(hpx)))
    assert [tile.start for tile in tiles] == [0, *(tile.stop for tile in tiles)][: len(tiles)]
    assert (tiles[-1].stop if tiles else 0) == len(hpx)
    for tile in tiles:
        inside = rows[tile.start : tile.stop]
        assert 0 < len(inside) <= limit
        assert (np.diff(inside) > 0).all()
        if tile.order < 0:
            assert (hpx[inside] == -1).all()
        else:
            assert (hpx[inside] >> (2 * (29 - tile.order)) == tile.pix).all()
            assert order is None or tile.order >= order
    assert len({tile.path for tile in tiles}) == len(tiles)
    return rows


# Positions crowded around few places, so that splitting goes deep.
crowded = st.builds(
    lambda base, spread, n, seed: (base + np.random.default_rng(seed).integers(0, spread, n)) % SPHERE,
    st.integers(0, SPHERE - 1),
    st.sampled_from([1, 2, 4**3, 4**10, 4**20, 4**27, SPHERE]),
    st.integers(0, 200),
    st.integers(0, 99),
)


@given(st.lists(crowded, max_size=4), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 29)), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_tiles_partition_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[NDArray[np.int64]],
    bad: int,
    order: int | None,
    max_rows: int,
) -> None:
    hpx = np.concatenate([np.full(bad, -1), *groups]).astype(np.int64)
    np.random.default_rng(0).shuffle(hpx)
    path = tmp_path_factory.mktemp("tiles") / "rows.npy"
    tiles = make_tiles(hpx, path, order, max_rows)
    check(hpx, tiles, path, order, max_rows)
    pixels = [(tile.order, tile.pix) for tile in tiles if tile.order >= 0]
    for tile in tiles:
        if tile.order >= 0:
            assert set(overlapping(tile.order, tile.pix, pixels)) == {(tile.order, tile.pix)}
    if order is None:  # no tile is finer than it must be: its parent would hold too many rows
        for tile in tiles:
            if tile.order > 0:
                parent = hpx[hpx >= 0] >> (2 * (30 - tile.order)) == tile.pix >> 2
                assert parent.sum() > max_rows


def test_tiles_follow_the_sky_with_bad_rows_last(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hpx = pixel(rng.uniform(0, 360, 20000), rng.uniform(-90, 90, 20000))
    hpx[::500] = -1
    tiles = make_tiles(hpx, tmp_path / "rows.npy", max_rows=500)
    first = [tile.pix << (2 * (29 - tile.order)) for tile in tiles if tile.order >= 0]
    assert first == sorted(first)
    assert [tile.path for tile in tiles if tile.order < 0] == ["bad-coordinates/part=0.fits"]
    assert tiles[-1].order == -1


def test_sparse_catalogue_makes_few_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hpx = pixel(rng.uniform(0, 360, 3000), rng.uniform(-90, 90, 3000))
    tiles = make_tiles(hpx, tmp_path / "rows.npy")
    assert len(tiles) == 12
    assert {tile.order for tile in tiles} == {0}


def test_even_sky_gives_tiles_of_a_thousand_rows_and_more(tmp_path: Path) -> None:
    hpx = np.random.default_rng(3).integers(0, SPHERE, 300_000)
    tiles = make_tiles(hpx, tmp_path / "rows.npy")
    sizes = [len(tile) for tile in tiles]
    assert min(sizes) > 1000
    assert max(sizes) <= 4096
    check(hpx, tiles, tmp_path / "rows.npy", None, 4096)


def test_one_position_is_cut_into_parts(tmp_path: Path) -> None:
    hpx = np.full(250, 12345)
    tiles = make_tiles(hpx, tmp_path / "rows.npy", max_rows=100)
    assert [tile.path for tile in tiles] == [
        "Norder=29/Dir=10000/Npix=12345.fits",
        "Norder=29/Dir=10000/Npix=12345_part1.fits",
        "Norder=29/Dir=10000/Npix=12345_part2.fits",
    ]
    assert [len(tile) for tile in tiles] == [100, 100, 50]


def test_fixed_order_keeps_its_pixels_and_splits_huge_ones(tmp_path: Path) -> None:
    hpx = np.concatenate([np.arange(10) * 4**29, np.random.default_rng(4).integers(0, 4**29, 1000)])
    tiles = make_tiles(hpx, tmp_path / "rows.npy", order=0, max_rows=100)
    check(hpx, tiles, tmp_path / "rows.npy", 0, 100)
    assert {tile.order for tile in tiles if tile.pix > 0 and tile.order == 0} == {0}
    assert max(tile.order for tile in tiles) >= 1


def test_no_rows_no_tiles(tmp_path: Path) -> None:
    assert make_tiles(np.empty(0, np.int64), tmp_path / "rows.npy") == []
    assert np.load(tmp_path / "rows.npy").shape == (0,)


def test_same_rows_same_tiles(tmp_path: Path) -> None:
    hpx = np.random.default_rng(5).integers(-1, SPHERE, 50_000)
    first = make_tiles(hpx, tmp_path / "a.npy", max_rows=300)
    second = make_tiles(hpx, tmp_path / "b.npy", max_rows=300)
    assert first == second
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_order_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make_tiles(np.zeros(1, np.int64), tmp_path / "rows.npy", order=30)


def test_full_disk_is_an_error_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"No space left.*8000 bytes"):
        make_tiles(np.zeros(1000, np.int64), tmp_path / "rows.npy")


def test_twenty_thousand_small_tiles_in_seconds(tmp_path: Path) -> None:
    hpx = np.random.default_rng(6).integers(0, SPHERE, 200_000)
    start = time.perf_counter()
    tiles = make_tiles(hpx, tmp_path / "rows.npy", order=6)
    assert len(tiles) > 20_000
    assert time.perf_counter() - start < 5


def test_rows_are_put_in_order_on_disk(tmp_path: Path) -> None:
    """Six million rows, and a tenth of them in one crowded field, in memory that holds neither list."""
    draw = np.random.default_rng(0)
    hpx = np.lib.format.open_memmap(tmp_path / "hpx.npy", mode="w+", dtype=np.int64, shape=(6_000_000,))
    hpx[:] = draw.integers(0, SPHERE, len(hpx))
    hpx[::10] = draw.integers(0, 4**22, len(hpx) // 10)
    tracemalloc.start()
    try:
        tiles = make_tiles(hpx, tmp_path / "rows.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(map(len, tiles)) == len(hpx)
    assert peak < 32_000_000
