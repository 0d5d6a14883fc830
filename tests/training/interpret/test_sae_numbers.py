"""Numbers of concepts: those of scipy, and what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galcli.training.interpret.sae_frames import Frame, Picture, mean_map, shrunk
from galcli.training.interpret.sae_numbers import CHANCE, FEWEST, SHUFFLES, correlate, match, places, together, usage


def sparse(rows: int, concepts: int, part: float = 0.4, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.where(draw.random((rows, concepts)) < part, draw.gamma(2, 1, (rows, concepts)), 0).astype(np.float32)


def test_correlations_are_those_of_scipy() -> None:
    strength, draw = sparse(80, 5), np.random.default_rng(1)
    strength[:, 4] = 0
    strength[: FEWEST - 1, 4] = 1
    gaps = np.where(np.arange(80) % 3 == 0, np.nan, draw.normal(size=80))
    columns = {
        "A": draw.normal(size=80),
        "B": gaps,
        "C": np.round(draw.normal(size=80)),
        "D": strength[:, 2].astype(float) ** 3,
    }
    found = correlate(strength, columns)
    assert found.objects.tolist() == [80, np.isfinite(gaps).sum(), 80, 80]
    for place, values in enumerate(columns.values()):
        known = np.isfinite(values)
        for concept in range(4):
            mine = strength[known, concept].astype(float)
            spearman = stats.spearmanr(mine, values[known])
            assert found.pearson[concept, place] == pytest.approx(stats.pearsonr(mine, values[known])[0], abs=1e-9)
            assert found.spearman[concept, place] == pytest.approx(spearman[0], abs=1e-9)
            assert found.chance[concept, place] == pytest.approx(min(1, 16 * spearman[1]), rel=1e-6, abs=1e-300)
    assert np.isnan(found.pearson[4]).all(), "active in too few"
    assert found.spearman[2, 3] == pytest.approx(1)
    assert found.best(2, 1).tolist() == [3]
    assert found.best(4, 3).tolist() == []


def test_a_class_that_only_chance_gives_is_not_significant() -> None:
    """Concepts and classes of few galaxies, of some, and of most, all independent."""
    draw = np.random.default_rng(12)
    parts = np.repeat([0.015, 0.03, 0.3, 0.9], 10)
    least = []
    for _ in range(300):
        active = draw.random((400, len(parts))) < parts
        strength = np.where(active, draw.gamma(2, 1, active.shape), 0).astype(np.float32)
        columns = {str(part): (draw.random(400) < part).astype(float) for part in (0.01, 0.03, 0.2, 0.8)}
        least.append(np.nanmin(correlate(strength, columns).chance))
    assert np.mean(np.array(least) < CHANCE) <= 2 * CHANCE


def test_the_chance_of_a_class_is_that_of_fisher() -> None:
    strength, draw = sparse(200, 3), np.random.default_rng(2)
    strength[:, 2] = draw.gamma(2, 1, 200)  # active in all
    members = (draw.random(200) < np.where(strength[:, 0] > 0, 0.35, 0.1)).astype(float)
    strong = (strength[:, 2] > np.quantile(strength[:, 2], 0.8)).astype(float)
    absent = np.where(strength[:, 1] > 0, 7.0, 9.0)
    found = correlate(strength, {"CLASS": members, "STRONG": strong, "ABSENT": absent})
    active = strength[:, 0] > 0
    table = [[np.sum((active == a) & (members == b)) for b in (1, 0)] for a in (True, False)]
    assert found.chance[0, 0] == pytest.approx(2 * 9 * stats.fisher_exact(table, "greater").pvalue)
    assert found.chance[2, 1] < 1e-9, "its strength tells the class"
    assert found.chance[1, 2] < 1e-30
    assert found.spearman[1, 2] < -0.8


def test_nothing_to_compare_with_is_no_error() -> None:
    found = correlate(sparse(10, 3), {})
    assert found.names == []
    assert found.best(0, 5).tolist() == []
    assert match(sparse(10, 3), np.zeros((10, 4), np.float32)).feature.tolist() == [-1] * 3


def test_use_counts_galaxies_and_energies() -> None:
    strength = np.array([[1, 0, 0.05, 0], [2, 2, 0, 0], [0, 0, 0, 0]], np.float32)
    found = usage(strength)
    np.testing.assert_allclose(found.active, [2 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found.used, [2 / 3, 1 / 3, 0, 0], err_msg="0.25 % of the energy is not used")
    np.testing.assert_allclose(found.strength, [1.5, 2, 0.05, 0], rtol=1e-6)
    assert found.alive.tolist() == [0, 1, 2]


def test_places_are_means_over_those_that_list_them() -> None:
    index = np.array([[0, 2], [2, -1], [0, 2]])
    east = np.array([[3, 0], [6, np.nan], [np.nan, 0]], np.float32)
    found = places(index, east, np.where(index == 0, 4, 8).astype(np.float32), np.ones((3, 2), np.float32), 4)
    np.testing.assert_allclose(found.offset, [5, np.nan, (8 + 10 + 8) / 3, np.nan])
    np.testing.assert_allclose(found.size, [1, np.nan, 1, np.nan])


def test_matches_beat_shuffles_only_where_there_is_something() -> None:
    strength = sparse(300, 40, seed=3)
    other = sparse(300, 30, 0.2, seed=4)
    other[:, 7] = strength[:, 5] * 2
    other[:, 8] = 0
    found = match(strength, other)
    assert (found.feature[5], found.best[5]) == (7, pytest.approx(1, abs=1e-5))
    assert found.beyond[5]
    assert found.beyond.sum() <= 1 + 4 * 40 / (SHUFFLES + 1), "chance beats so many shuffles rarely"
    assert np.isnan(found.r[:, 8]).all()
    assert found.r[3, 2] == pytest.approx(np.corrcoef(strength[:, 3], other[:, 2])[0, 1], abs=1e-5)
    np.testing.assert_array_equal(match(strength, other).null, found.null)


def test_edges_join_what_goes_together_and_nothing_else() -> None:
    draw = np.random.default_rng(8)
    used = draw.random((400, 12)) < 0.3
    used[:, 3] = used[:, 9]
    used[:, 11] = True
    used[:, 10] = False
    used[:2, 10] = True
    found = together(used.astype(np.float32), np.arange(12))
    assert found.edges == [(3, 9)]
    assert found.closest(1) == [(3, 9)]
    assert found.phi[3, 9] == pytest.approx(1)
    assert found.phi[0, 1] == pytest.approx(np.corrcoef(used[:, 0], used[:, 1])[0, 1])
    assert found.lift[3, 9] == pytest.approx(1 / used[:, 3].mean())
    assert np.isnan(found.phi[11, 0])


def test_two_rare_concepts_of_one_galaxy_prove_nothing() -> None:
    used = np.zeros((100, 20), np.float32)
    used[:, 0] = 1
    used[4, 5] = used[4, 6] = 1
    assert together(used, np.arange(20)).edges == []


def test_mean_maps_lie_on_each_other() -> None:
    """The same spot in cutouts of other sizes and pixels, one of them off its middle."""
    pictures = []
    for side, low in ((40, -20.0), (80, -20.0), (60, -24.0)):
        step = 0.5 if side == 80 else 1.0
        frame = Frame(-low, -low - side * step, low, low + side * step)
        values = np.zeros((side, side))
        across, along = frame.centres((side, side))
        values[(abs(along - 7) < 2)[:, None] & (abs(across + 3) < 2)] = 2.0
        pictures.append(shrunk(Picture(values, frame)))
    mean = mean_map(pictures)
    across, along = mean.frame.centres(mean.values.shape)
    y, x = np.unravel_index(np.nanargmax(mean.values), mean.values.shape)
    assert (across[x], along[y]) == pytest.approx((-3, 7), abs=2)
    assert np.nanmax(mean.values) == pytest.approx(2, rel=0.05)
