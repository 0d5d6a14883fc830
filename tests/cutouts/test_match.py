from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from galcli.cutouts.match import ARCSEC, IdIndex, SkyIndex, separation

BIG = 2**62 + np.arange(5, dtype=np.int64)  # neighbours that float64 cannot tell apart


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2]])
def test_every_digit_counts(order: list[int]) -> None:
    index = IdIndex(BIG[order])
    np.testing.assert_array_equal(index.find(BIG), np.argsort(order))
    np.testing.assert_array_equal(index.find(BIG + 10), [-1] * 5)


@pytest.mark.parametrize("dtype", [">i8", "<i4", "u8", ">u2"])
def test_any_integer_type(dtype: str) -> None:
    assert IdIndex(np.array([5, 1, 9], dtype)).find(np.array([9, 5, 2])).tolist() == [2, 0, -1]


def test_unsigned_ids_beyond_int64() -> None:
    huge = np.array([2**63 + 1, 2**63 + 2], np.uint64)
    assert IdIndex(huge).find(huge[::-1]).tolist() == [1, 0]
    assert IdIndex(np.array([7, 8])).find(np.array([8, 2**63 + 8], np.uint64)).tolist() == [1, -1]


def test_text_is_stripped_and_matches_numbers() -> None:
    index = IdIndex(np.array([b"b1   ", b" 17", b"a"]))
    assert index.find(np.array([b"a", b"17  ", b"b1", b"c"])).tolist() == [2, 1, 0, -1]
    assert index.find(np.array([17, 3])).tolist() == [1, -1]
    assert IdIndex(np.array([17, 3])).find(np.array([b"3", b"x", b"17"])).tolist() == [1, -1, 0]


def test_first_of_equal_ids_counts() -> None:
    assert IdIndex(np.array([4, 9, 4, 9])).find(np.array([9, 4])).tolist() == [1, 0]


def test_nothing_listed() -> None:
    assert IdIndex(np.zeros(0, np.int64)).find(np.array([1])).tolist() == [-1]
    empty = np.zeros(0)
    assert SkyIndex(empty, empty).find(np.array([1.0]), np.array([1.0]), 1.0).tolist() == [-1]


def test_nearest_position_equals_brute_force() -> None:
    rng = np.random.default_rng(5)
    n = 400
    ra, dec = rng.uniform(0, 0.05, n) % 360 - 0.025, rng.uniform(-0.05, 0.05, n)
    ra %= 360  # around the meridian
    there = SkyIndex(ra, dec)
    lon, lat = (ra + rng.normal(0, 8 * ARCSEC, n)) % 360, dec + rng.normal(0, 8 * ARCSEC, n)
    found = there.find(lon, lat, 10 * ARCSEC)
    distance = np.stack([separation(np.full(n, lon[i]), np.full(n, lat[i]), ra, dec) for i in range(n)])
    best = distance.argmin(axis=1)
    expected = np.where(distance.min(axis=1) <= 10 * ARCSEC, best, -1)
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.count_nonzero(found < 0) < n


def test_poles_and_bad_positions() -> None:
    index = SkyIndex(np.array([10.0, np.nan, 0.0]), np.array([90.0, 5.0, -90.0]))
    found = index.find(np.array([250.0, np.nan, 77.0]), np.array([90.0, 5.0, -90.0]), ARCSEC)
    assert found.tolist() == [0, -1, 2]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 129, 1000])
@pytest.mark.parametrize("kind", [">i8", "S"])
def test_lists_around_the_size_of_a_sample(n: int, kind: str, in_order: bool) -> None:
    draw = np.random.default_rng(n)
    ids = draw.integers(0, 3 * n + 1, n).astype(kind)
    ids = np.sort(ids) if in_order else ids
    wanted = draw.integers(-2, 3 * n + 5, 200).astype(kind)
    first: dict[object, int] = {}
    for entry, name in enumerate(ids.tolist()):
        first.setdefault(name, entry)
    index = IdIndex(ids)
    assert index.find(wanted).tolist() == [first.get(name, -1) for name in wanted.tolist()]
    assert index.repeats == (len(first) < n)


def test_list_in_order_stays_on_disk(tmp_path: Path) -> None:
    rows = np.zeros(1_000_000, [("RA", ">f8"), ("ID", ">i8")])
    rows["ID"] = np.arange(len(rows)) * 3
    rows.tofile(tmp_path / "index")
    listed = np.asarray(np.memmap(tmp_path / "index", rows.dtype, "r"))["ID"]
    tracemalloc.start()
    try:
        found = IdIndex(listed).find(np.array([0, 3, 4, 2_999_997]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tolist() == [0, 1, -1, 999_999]
    assert peak < rows["ID"].nbytes / 2
