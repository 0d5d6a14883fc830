"""Spectra and rows of a catalogue: by identifier, by position, the best of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.training.spectra.grid import POINTS, Spectra
from galcli.training.spectra.match import match_spectra, median_snr, same_object

ARCSEC = 1 / 3600


def made(ids: Any, ra: Any, dec: Any, snr: Any | None = None) -> Spectra:
    n = len(ids)
    flux = np.ones((n, POINTS), np.float32) * np.array(snr if snr is not None else np.ones(n), np.float32)[:, None]
    ones, place = np.ones((n, POINTS), np.float32), (np.array(ra, np.float64), np.array(dec, np.float64))
    return Spectra(flux, ones, ones, np.zeros(n), *place, np.array(ids, np.int64), tuple("x" * n))


def find(ids: NDArray[Any] | None, ra: Any, dec: Any, spectra: Spectra) -> list[int]:
    return match_spectra(ids, np.array(ra, np.float64), np.array(dec, np.float64), spectra).tolist()


NAN = [np.nan] * 3


def test_by_identifier() -> None:
    big = (1 << 60) + 1
    spectra = made([big, 7, big - 1], NAN, NAN)
    assert find(np.array([7, big - 1, 8, big, 7]), [0] * 5, [0] * 5, spectra) == [1, 2, -1, 0, 1]
    assert find(np.array([b"7", b"8"]), [0, 0], [0, 0], spectra) == [-1, -1]
    assert find(None, [0, 0], [0, 0], spectra) == [-1, -1]
    assert find(np.array([-1, -1]), [0, 0], [0, 0], made([-1, -1, 3], NAN, NAN)) == [-1, -1]
    assert find(np.array([7, 8], ">i8"), [0, 0], [0, 0], spectra) == [1, -1]


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.99])
@pytest.mark.parametrize("ra", [0.0, 180.0])
def test_by_position(ra: float, dec: float) -> None:
    east = ARCSEC / np.cos(np.radians(dec))
    spectra = made([-1, -1, -1, 5], [ra, ra + 3 * east, np.nan, ra + 30 * east], [dec, dec, dec, dec])
    rows = [(ra + 0.9 * east) % 360, (ra - 5 * east) % 360, np.nan, ra + 3 * east, ra + 30 * east]
    assert find(None, rows, [dec, dec, dec, dec + 1.01 * ARCSEC, dec - 0.99 * ARCSEC], spectra) == [0, -1, -1, -1, 3]


def test_the_nearest_row_gets_it_and_its_repeats() -> None:
    spectra = made([-1], [10.0], [0.0])
    assert find(None, [10 + 0.5 * ARCSEC, 10 + 0.2 * ARCSEC, 10 + 0.2 * ARCSEC], [0, 0, 0], spectra) == [-1, 0, 0]


def test_the_best_of_several() -> None:
    spectra = made([-1, -1, -1, 4], [10.0, 10 + 0.5 * ARCSEC, 10, 50], [0, 0, 0, 0], [3, 9, 5, 20])
    assert find(None, [10.0, 50.0], [0.0, 0], spectra) == [1, 3]
    assert find(np.array([4, 9]), [10.0, 50], [0.0, 0], spectra) == [3, -1]  # its identifier says whose it is


def test_nothing_to_find() -> None:
    assert find(np.zeros(0, np.int64), [], [], made([1], [0], [0])) == []
    assert find(np.array([3]), [np.nan], [np.nan], made([1], [0], [0])) == [-1]
    assert find(np.array([3]), [0.0], [0.0], made([], [], [])) == [-1]


def test_as_a_search_of_all_pairs() -> None:
    random = np.random.default_rng(3)
    ra, dec = random.uniform(359.99, 360.01, 300) % 360, random.uniform(-0.01, 0.01, 300)
    there = random.choice(300, 200, replace=False)
    shift = random.normal(0, 0.4 * ARCSEC, (2, 200))
    snr = random.uniform(1, 50, 200)
    spectra = made([-1] * 200, ra[there] + shift[0], dec[there] + shift[1], snr)
    apart = np.hypot((ra[:, None] - spectra.ra + 180) % 360 - 180, dec[:, None] - spectra.dec)
    expected = np.full(300, -1)
    for row in range(300):
        own = np.flatnonzero((apart.argmin(axis=0) == row) & (apart[row] <= ARCSEC))
        expected[row] = own[snr[own].argmax()] if len(own) else -1
    assert find(None, ra, dec, spectra) == expected.tolist()
    assert 100 < np.count_nonzero(expected >= 0) < 200


def test_objects_are_told_by_identifier_and_place() -> None:
    at, nan = 10.0, np.nan
    ids = [5, -1, 7, 5, -1, -1, 7, -1]
    ra = [at, at + 0.9 * ARCSEC, nan, at + 1, 359.99995, 0.00005, nan, nan]
    dec = [0, 0, nan, 0, 0, 0, nan, nan]
    # 0 and 3 by identifier, 1 lies at 0, 2 and 6 by identifier, 4 and 5 on both sides of 0 degrees, 7 is unknown
    assert same_object(made(ids, ra, dec)).tolist() == [0, 0, 1, 0, 2, 2, 1, 3]
    assert same_object(made([-1] * 3, [at, at + 1.1 * ARCSEC, at], [0, 0, 1.1 * ARCSEC])).tolist() == [0, 1, 2]
    assert same_object(made([-1] * 3, NAN, NAN)).tolist() == [0, 1, 2], "of what nothing is known, none is another"
    assert same_object(made([], [], [])).tolist() == []


def test_median_snr() -> None:
    spectra = made([1, 2], [0, 0], [0, 0], [4, -2])
    spectra.ivar[0], spectra.ivar[1] = 4, 0
    spectra.ivar[0, :600], spectra.flux[0, :600] = 0, 1e6
    assert median_snr(spectra).tolist() == [8, 0]
