"""Exact neighbours, against sorting all distances."""

from __future__ import annotations

import time

import numpy as np
import pytest

from galcli.errors import InputError
from galcli.training.interpret import neighbours
from galcli.training.interpret.neighbours import gather, nearest


def brute(query: np.ndarray, training: np.ndarray, k: int, itself: np.ndarray | None = None) -> np.ndarray:
    found = np.full((len(query), min(k, len(training))), -1)
    for n, point in enumerate(query):
        distance = np.square(training.astype(np.float64) - point).mean(1)
        order = sorted(range(len(training)), key=lambda row: (distance[row], row))
        rows = [row for row in order if itself is None or row != itself[n]][: found.shape[1]]
        found[n, : len(rows)] = rows
    return found


@pytest.mark.parametrize("blocks", [1, 7, 10**6])
@pytest.mark.parametrize("k", [1, 20, 150, 151, 400])
def test_neighbours_are_those_of_sorted_brute_force(k: int, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_DISTANCES", blocks * 151)
    rng = np.random.default_rng(k)
    training, query = rng.normal(0, 1, (151, 8)).astype(np.float32), rng.normal(0, 1, (23, 8)).astype(np.float32)
    np.testing.assert_array_equal(nearest(query, training, k), brute(query, training, k))


@pytest.mark.parametrize("k", [1, 5, 40, 99, 100])
def test_equal_distances_are_in_the_order_of_rows(k: int) -> None:
    rng = np.random.default_rng(5)
    training = rng.integers(0, 3, (100, 2)).astype(np.float64)  # 9 places for 100 galaxies
    query = rng.integers(0, 3, (30, 2)).astype(np.float64)
    found = nearest(query, training, k)
    np.testing.assert_array_equal(found, brute(query, training, k))
    order = rng.permutation(30)
    np.testing.assert_array_equal(nearest(query[order], training, k), found[order])


@pytest.mark.parametrize("k", [1, 10, 59, 60])
def test_training_galaxy_leaves_itself_out_and_not_those_at_its_place(k: int) -> None:
    training = np.random.default_rng(6).integers(0, 3, (60, 2)).astype(np.float64)
    itself = np.arange(60)
    itself[::3] = -1  # as if these were no training galaxies
    found = nearest(training, training, k, itself)
    np.testing.assert_array_equal(found, brute(training, training, k, itself))
    assert not (found == itself[:, None])[itself >= 0].any()
    if k == 60:
        assert ((found == -1).sum(1) == (itself >= 0)).all()  # one neighbour fewer than there are galaxies


def test_published_neighbours_begin_with_the_galaxy_itself() -> None:
    training = np.random.default_rng(7).normal(0, 1, (50, 4))
    assert (nearest(training, training, 3)[:, 0] == np.arange(50)).all()


def test_fewer_galaxies_than_neighbours_are_all_there_are() -> None:
    training = np.random.default_rng(8).normal(0, 1, (7, 3))
    found = nearest(training[:2], training, 100)
    assert found.shape == (2, 7)
    assert (np.sort(found, 1) == np.arange(7)).all()
    assert nearest(training[:1], training[:1], 5, np.array([0])).tolist() == [[-1]]


def test_galaxy_without_latents_is_no_neighbour_and_has_none() -> None:
    rng = np.random.default_rng(9)
    training, query = rng.normal(0, 1, (40, 3)), rng.normal(0, 1, (6, 3))
    training[[3, 17], [0, 2]] = np.nan, np.inf
    query[4, 1] = np.nan
    found = nearest(query, training, 40, np.array([5, 3, -1, 39, 0, -1]))
    assert (found[4] == -1).all()
    assert not np.isin(found, (3, 17)).any()
    assert ((found >= 0).sum(1) == (37, 38, 38, 37, 0, 38)).all()
    keep = np.delete(np.arange(40), (3, 17))
    np.testing.assert_array_equal(found[2, :38], keep[nearest(query[2:3], training[keep], 38)[0]])


def test_latents_that_cannot_be_compared_are_refused() -> None:
    points = np.zeros((4, 3))
    for query, training, k in ((points, points[:, :2], 1), (points, points, 0), (points[0], points, 1)):
        with pytest.raises(InputError, match=r"no .* neighbours of latents"):
            nearest(query, training, k)
    for training in (points[:0], np.full((5, 3), np.nan)):
        with pytest.raises(InputError, match=r"none of . training galaxies has a representation"):
            nearest(points, training, 2)


def test_values_are_gathered_and_missing_ones_are_nan() -> None:
    found = gather(np.array([1.0, 2.0, np.nan], np.float32), np.array([[2, 0, -1], [1, 1, 0]]))
    np.testing.assert_array_equal(found, [[np.nan, 1, np.nan], [2, 2, 1]])


def test_thousands_of_neighbours_take_seconds() -> None:
    latents = np.random.default_rng(10).normal(0, 1, (20_000, 8)).astype(np.float32)
    begin = time.perf_counter()
    found = nearest(latents[:2000], latents, 2000, np.arange(2000))
    assert time.perf_counter() - begin < 10  # 0.6 s on one core that has nothing else to do
    assert found.shape == (2000, 2000)
