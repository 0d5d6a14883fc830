"""Pixels against an independent implementation, and positions that are not on the sky."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galcli.errors import UsageError
from galcli.sky.healpix import center, good, overlapping, pixel


def slow_pixel(ra: float, dec: float, order: int) -> int:
    """NESTED pixel by the formulas of Gorski et al. 2005, sections 4 and 5, one position at a time."""
    nside = 1 << order
    z = math.sin(math.radians(dec))
    tt = (ra % 360.0) / 90.0
    if abs(z) <= 2 / 3:
        up, down = nside * (0.5 + tt), nside * z * 0.75
        jp, jm = math.floor(up - down), math.floor(up + down)
        ifp, ifm = jp // nside, jm // nside
        face = (ifp % 4 + 4) if ifp == ifm else (ifp % 4 if ifp < ifm else ifm % 4 + 8)
        ix, iy = jm % nside, nside - jp % nside - 1
    else:
        quadrant = min(int(tt), 3)
        # sqrt(3 (1 - |z|)) without loss at the poles: 1 - sin(d) = 2 sin^2((90 - d) / 2)
        root = nside * math.sqrt(6.0) * math.sin(math.radians(90 - abs(dec)) / 2)
        part = tt - quadrant
        jp = min(int(part * root), nside - 1)
        jm = min(int((1 - part) * root), nside - 1)
        face, ix, iy = (quadrant, nside - jm - 1, nside - jp - 1) if z > 0 else (quadrant + 8, jp, jm)
    inside = sum(((ix >> bit) & 1) << (2 * bit) | ((iy >> bit) & 1) << (2 * bit + 1) for bit in range(order))
    return face * nside * nside + inside


@pytest.mark.parametrize("order", [0, 1, 5, 12, 20])
def test_agrees_with_the_published_formulas(order: int) -> None:
    rng = np.random.default_rng(order)
    ra = rng.uniform(0, 360, 3000)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    expected = [slow_pixel(*position, order) for position in zip(ra, dec, strict=True)]
    assert pixel(ra, dec, order).tolist() == expected


def test_known_pixels() -> None:
    assert pixel([45, 0, 90, 45], [41.0, 0, 0, -41.0], 0).tolist() == [0, 4, 5, 8]
    # The north pole is the last corner of a polar base pixel, the south pole the first.
    assert pixel([45], [90], 29).tolist() == [4**29 - 1]
    assert pixel([45], [-90], 29).tolist() == [8 * 4**29]


def test_right_ascension_wraps() -> None:
    dec = np.array([-30.0, 0.0, 60.0])
    assert (pixel(np.full(3, -10.0), dec) == pixel(np.full(3, 350.0), dec)).all()
    assert (pixel(np.full(3, 360.0), dec) == pixel(np.zeros(3), dec)).all()
    assert (pixel(np.full(3, -180.0), dec) == pixel(np.full(3, 180.0), dec)).all()


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (np.nan, 0), (np.inf, 0), (-np.inf, 0), (0, np.nan), (0, np.inf), (360.0001, 0), (400, 0), (-180.1, 0),
        (0, 90.0001), (0, -91), (-9999, -9999), (1e300, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", [0, 5, 29])
def test_bad_positions_have_no_pixel(ra: float, dec: float, order: int) -> None:
    found = pixel([10.0, ra, 20.0], [5.0, dec, -5.0], order)
    assert found[1] == -1
    assert found[[0, 2]].tolist() == pixel([10.0, 20.0], [5.0, -5.0], order).tolist()
    assert good([ra], [dec]).tolist() == [False]


@given(st.lists(st.tuples(st.floats(width=64), st.floats(width=64)), max_size=20), st.integers(0, 29))
@settings(max_examples=100, deadline=None)
def test_any_numbers_give_a_pixel_or_none(positions: list[tuple[float, float]], order: int) -> None:
    ra, dec = np.array(positions, float).reshape(-1, 2).T
    pix = pixel(ra, dec, order)
    assert ((pix >= 0) == good(ra, dec)).all()
    assert (pix < 12 * 4**order).all()


def test_orders_are_nested() -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 5000), rng.uniform(-90, 90, 5000)
    deep = pixel(ra, dec, 29)
    for order in range(29):
        assert (pixel(ra, dec, order) == deep >> (2 * (29 - order))).all()


@pytest.mark.parametrize("order", [0, 3, 29])
def test_center_lies_in_its_pixel(order: int) -> None:
    pix = np.unique(np.linspace(0, 12 * 4**order - 1, 500).astype(np.int64).clip(0, 12 * 4**order - 1))
    assert (pixel(*center(order, pix), order) == pix).all()


def test_overlapping_is_the_family_of_a_pixel() -> None:
    available = [(0, 0), (0, 1), (2, 3), (3, 12), (3, 16), (5, 12 * 16 + 5), (2, 4)]
    assert overlapping(3, 12, available) == [(0, 0), (2, 3), (3, 12), (5, 197)]


def test_orders_out_of_range_are_refused() -> None:
    for order in (-1, 30):
        with pytest.raises(UsageError):
            pixel([0.0], [0.0], order)
    with pytest.raises(UsageError, match="0 to 11"):
        center(0, [12])


def test_healpy_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, galcli.sky.catalog, galcli.sky.tiles; print({'healpy', 'astropy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
