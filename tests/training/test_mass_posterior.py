"""Numbers of posteriors: known distributions, and galaxies drawn from the posteriors themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from galcli.training.networks.mass import BINS, LOWEST, STEP
from galcli.training.recipes.mass_posterior import (
    bins_of,
    centres,
    cumulative,
    log_softmax,
    quantile,
    scores,
    transform,
)

Doubles = NDArray[np.float64]


def gaussian(mean: Doubles, sigma: Doubles) -> NDArray[np.float32]:
    """Log posteriors of normal distributions, bin by bin."""
    edges = LOWEST + STEP * np.arange(BINS + 1)
    p = np.diff(norm.cdf(edges, mean[:, None], sigma[:, None]), axis=1)
    return np.log(np.maximum(p / p.sum(1, keepdims=True), 1e-30)).astype(np.float32)


def test_softmax_is_one_in_sum_and_stands_large_logits() -> None:
    logits = np.array([[1e4] + [0.0] * (BINS - 1), [-1e4] * BINS], np.float32)
    p = np.exp(log_softmax(logits))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert p[0, 0] == 1
    np.testing.assert_allclose(p[1], 1 / BINS, rtol=1e-5)


def test_quantiles_of_known_distributions() -> None:
    flat = np.full((1, BINS), -math.log(BINS), np.float32)
    for level in (0.16, 0.5, 0.84):
        assert quantile(cumulative(flat), level)[0] == pytest.approx(LOWEST + level * BINS * STEP, abs=1e-6)
    sharp = np.full((1, BINS), -1e4, np.float32)
    sharp[0, 100] = 0
    assert quantile(cumulative(sharp), 0.5)[0] == pytest.approx(LOWEST + 100.5 * STEP)
    assert quantile(cumulative(sharp), 0.16)[0] == pytest.approx(LOWEST + 100.16 * STEP)
    wide = gaussian(np.array([9.3]), np.array([0.4]))
    for level in (0.16, 0.5, 0.84):
        assert quantile(cumulative(wide), level)[0] == pytest.approx(norm.ppf(level, 9.3, 0.4), abs=1e-4)


def test_quantiles_at_the_ends_of_the_range() -> None:
    for place in (0, BINS - 1):
        ends = np.full((1, BINS), -1e4, np.float32)
        ends[0, place] = 0
        for level in (0.16, 0.5, 0.84):
            assert quantile(cumulative(ends), level)[0] == pytest.approx(LOWEST + STEP * (place + level))


def test_transforms_are_the_cumulative_probability() -> None:
    below = cumulative(gaussian(np.array([9.0]), np.array([0.3])))
    for mass in (8.2, 9.0, 9.41):
        assert transform(below, np.array([mass]))[0] == pytest.approx(norm.cdf(mass, 9.0, 0.3), abs=2e-4)
    assert transform(below, np.array([5.0]))[0] == 0
    assert transform(below, np.array([13.0]))[0] == 1


def test_scores_of_galaxies_that_are_drawn_from_their_posteriors() -> None:
    draw = np.random.default_rng(4)
    n = 40_000
    mean, sigma = draw.uniform(8, 11, n), draw.uniform(0.1, 0.4, n)
    truth = (mean + sigma * draw.standard_normal(n)).astype(np.float32)
    found = scores(gaussian(mean, sigma), truth)
    assert found.objects == n
    assert found.bias == pytest.approx(0, abs=0.005)
    np.testing.assert_allclose(found.coverage, (0.68, 0.95), atol=0.006)
    np.testing.assert_allclose(found.pit, 0.1, atol=0.006)
    assert found.crps == pytest.approx(sigma.mean() / math.sqrt(math.pi), rel=0.02)  # of a normal distribution
    expected = np.mean(np.log(sigma * math.sqrt(2 * math.pi * math.e) / STEP))
    assert found.cross_entropy == pytest.approx(expected, abs=0.01)


def test_scores_tell_posteriors_that_are_too_narrow_or_shifted() -> None:
    draw = np.random.default_rng(5)
    mean = draw.uniform(8, 11, 20_000)
    truth = (mean + 0.2 * draw.standard_normal(len(mean))).astype(np.float32)
    narrow = scores(gaussian(mean, np.full(len(mean), 0.1)), truth)
    assert narrow.coverage[0] == pytest.approx(norm.cdf(0.4972) * 2 - 1, abs=0.01)  # 0.9945 / 2 sigma
    assert narrow.pit[0] > 0.2 < narrow.pit[-1]
    shifted = scores(gaussian(mean + 0.3, np.full(len(mean), 0.2)), truth)
    assert shifted.bias == pytest.approx(0.3, abs=0.005)
    assert shifted.sigma_mad == pytest.approx(0.2, rel=0.02), "the shift does not count"


def test_outliers_are_those_beyond_three_deviations() -> None:
    mean, sigma = np.full(1000, 9.0), np.full(1000, 0.1)
    truth = (9 + 0.1 * np.random.default_rng(0).standard_normal(1000).clip(-2.5, 2.5)).astype(np.float32)
    truth[:30] = 10.5
    assert scores(gaussian(mean, sigma), truth).outliers == pytest.approx(0.03)


def test_bins_and_middles_agree() -> None:
    np.testing.assert_array_equal(bins_of(centres()), np.arange(BINS))
    assert bins_of(np.array([3.0, 20.0])).tolist() == [0, BINS - 1]
