"""Tests inside neighbourhoods, on dependence that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from galcli.training.interpret import local_tests as module
from galcli.training.interpret.local_tests import FEWEST, local_tests

N, K = 200, 100


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def residuals(values: np.ndarray, c: np.ndarray) -> np.ndarray:
    """What the tests leave of values (N, k) once c is taken off."""
    valid = np.isfinite(values) & np.isfinite(c)
    left = module._without(module._centred(values, valid)[:, None], module._polynomials(c, valid))[:, 0]
    return np.where(valid, left, np.nan)


def fitted(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.polynomial.Polynomial.fit(x, y, 2)(x)


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_quadratic_is_fitted_without_residual(level: float) -> None:
    c = level + rng().normal(0, 0.1, (N, K))
    x = c - level
    assert np.abs(residuals(3 - 2 * x + 7 * x**2, c)).max() < 1e-8
    noise = rng(1).normal(0, 1, (N, K))
    np.testing.assert_allclose(residuals(1e3 + 5 * x**2 + noise, c), residuals(noise, c), atol=1e-8)


def test_tests_are_those_of_other_implementations() -> None:
    y, q, c = rng(2).normal(0, 1, (3, 20, K)) + 17
    y += 0.5 * c + 0.3 * (q - 17) ** 2
    q += 0.2 * (c - 17) ** 2
    plain, given = (local_tests(y, q, condition, generator=rng()) for condition in (None, c))
    for n in range(20):
        assert plain.r[n] == pytest.approx(pearsonr(y[n], q[n]).statistic, abs=1e-12)
        assert plain.efficiency[n] == pytest.approx(1 - np.var(y[n] - fitted(y[n], q[n])) / np.var(y[n]), abs=1e-10)
        left_y, left_q = y[n] - fitted(y[n], c[n]), q[n] - fitted(q[n], c[n])
        assert given.r[n] == pytest.approx(pearsonr(left_y, left_q).statistic, abs=1e-10)
    np.testing.assert_allclose(residuals(y, c)[3], y[3] - fitted(y[3], c[3]), atol=1e-10)
    assert (plain.efficiency >= np.square(plain.r)).all()
    assert (given.efficiency >= np.square(given.r)).all()
    assert (plain.members == K).all()


def test_efficiency_on_residuals_is_that_of_the_quadratic_in_the_residual_of_q() -> None:
    # the fit on the residual of q and that on c are made one after the other, so that only what is not of c counts
    c = rng(3).normal(0, 1, (N, K))
    q = c + rng(4).normal(0, 1, (N, K))
    left = residuals(q, c)
    y = residuals(np.square(left), c)
    found = local_tests(y + c**2, q, c, generator=rng())
    whole = 1 - residuals(y, left).var(1) / y.var(1)
    np.testing.assert_allclose(found.efficiency, whole, atol=1e-9)
    assert (found.efficiency > 0.85).all()


def test_square_is_seen_by_efficiency_and_not_by_r() -> None:
    q = rng(5).normal(0, 1, (N, K))
    found = local_tests(q**2, q, generator=rng())
    assert found.efficiency == pytest.approx(1)
    assert abs(np.mean(found.r)) < 0.05


def test_chain_is_closed_by_its_middle_and_a_fork_with_a_direct_edge_is_not() -> None:
    noise = rng(6).normal(0, 1, (5, N, K))
    q = noise[0]
    c = 0.8 * q + 0.6 * noise[1]
    y = 0.8 * c + 0.6 * noise[2]
    assert np.median(local_tests(y, q, generator=rng()).r) == pytest.approx(0.64, abs=0.02)
    chain = local_tests(y, q, c, permutations=5, generator=rng())
    assert np.median(np.abs(chain.r)) == pytest.approx(np.median(np.abs(chain.r_permuted)), abs=0.012)
    assert chain.efficiency.mean() == pytest.approx(chain.efficiency_permuted.mean(), abs=0.003)
    fork_q, direct = c + noise[3], noise[4] + c
    fork = local_tests(direct + 0.5 * fork_q, fork_q, c, permutations=5, generator=rng())
    assert np.median(fork.r) == pytest.approx(0.5 / np.sqrt(1.25), abs=0.02)
    assert np.median(np.abs(fork.r)) > 5 * np.median(np.abs(fork.r_permuted))
    assert fork.efficiency.mean() > 5 * fork.efficiency_permuted.mean()


def test_permuted_r_has_the_variance_of_independent_values() -> None:
    y, q, c = rng(7).normal(0, 1, (3, 400, K))
    for condition, fitted_terms in ((None, 0), (c, 2)):
        found = local_tests(y + q, q, condition, permutations=10, generator=rng())
        assert found.r_permuted.shape == found.efficiency_permuted.shape == (400, 10)
        # of n values with p terms taken off, r has a variance of 1 / (n - 1 - p); efficiency has two terms
        expected = 1 / (K - 1 - fitted_terms)
        assert found.r_permuted.var() == pytest.approx(expected, rel=0.1)
        assert abs(found.r_permuted.mean()) < 0.005
        assert found.efficiency_permuted.mean() == pytest.approx(2 * expected, rel=0.1)


def test_missing_members_are_as_if_they_were_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    y, q, c = rng(8).normal(0, 1, (3, N, K))
    y = y + q + c
    holes = rng(9).random((3, N, K)) < 0.1
    broken = [
        np.where(hole, value, v) for hole, v, value in zip(holes, (y, q, c), (np.nan, np.inf, -np.inf), strict=True)
    ]
    whole = ~holes.any(0)
    found = local_tests(*broken, generator=rng())
    assert (found.members == whole.sum(1)).all()
    for n in (0, 1, 2):
        alone = local_tests(*[v[n : n + 1, whole[n]] for v in (y, q, c)], generator=rng())
        assert found.r[n] == pytest.approx(alone.r[0], abs=1e-12)
        assert found.efficiency[n] == pytest.approx(alone.efficiency[0], abs=1e-12)
    assert np.isnan(residuals(broken[0], broken[2])[holes[0] | holes[2]]).all()
    monkeypatch.setattr(module, "_NUMBERS", 1000)  # many blocks
    in_blocks = local_tests(*broken, permutations=3, generator=rng(1))
    monkeypatch.undo()
    at_once = local_tests(*broken, permutations=3, generator=rng(1))
    np.testing.assert_allclose(in_blocks.r_permuted, at_once.r_permuted, atol=1e-12)
    np.testing.assert_allclose(in_blocks.efficiency, at_once.efficiency, atol=1e-12)


def test_permutation_is_of_the_valid_members_alone() -> None:
    y = np.where(np.arange(K) < 30, np.nan, rng(10).normal(0, 1, (N, K)))
    valid = np.isfinite(y)
    found = module._permuted(y, valid, 4, rng())
    assert found.shape == (N, 4, K)
    assert np.isnan(found[..., :30]).all()
    np.testing.assert_array_equal(np.sort(found[..., 30:], 2), np.broadcast_to(np.sort(y[:, None, 30:], 2), (N, 4, 70)))
    moved = (found[..., 30:] != y[:, None, 30:]).mean()
    assert moved == pytest.approx(1 - 1 / 70, abs=0.003)


def test_constant_variables_and_small_neighbourhoods_have_no_test() -> None:
    y, q = rng(11).normal(0, 1, (2, 6, 40))
    c = rng(12).normal(0, 1, (6, 40))
    q[0] = 0.1  # its mean over 40 is not exactly 0.1
    y[1] = 0.1
    q[2] = 2 * c[2] ** 2 - c[2] + 0.3  # nothing of q is left given c
    y[3] = c[3] * 5
    q[4, FEWEST - 1 :] = np.nan
    q[5, FEWEST:] = np.nan
    plain, given = local_tests(y, q, generator=rng()), local_tests(y, q, c, generator=rng())
    assert np.isnan(plain.r).tolist() == [True, True, False, False, True, False]
    assert np.isnan(given.r).tolist() == [True, True, True, True, True, False]
    for found in (plain, given):
        assert (np.isnan(found.r) == np.isnan(found.efficiency)).all()
        assert (np.isnan(found.r_permuted[:, 0]) == np.isnan(found.efficiency_permuted[:, 0])).all()
        assert np.isnan(found.r_permuted[[0, 1, 4]]).all()
    assert plain.members.tolist() == [40, 40, 40, 40, FEWEST - 1, FEWEST]


def test_neighbourhood_without_members_has_no_test() -> None:
    nothing = np.full((2, 30), np.nan)
    found = local_tests(nothing, nothing, nothing, generator=rng())
    assert np.isnan(found.r).all()
    assert (found.members == 0).all()


def test_condition_with_few_values_takes_off_what_it_can() -> None:
    y, q = rng(13).normal(0, 1, (2, 50, 60))
    y += q
    constant = np.full_like(q, 0.1)
    np.testing.assert_allclose(
        local_tests(y, q, constant, generator=rng()).r, local_tests(y, q, generator=rng()).r, atol=1e-12
    )
    two = np.where(rng(14).random((50, 60)) < 0.5, 1e6, 1e6 + 1e-3)
    shifted = local_tests(y + 100 * (two > 1e6), q - 30 * (two > 1e6), two, generator=rng())
    np.testing.assert_allclose(shifted.r, local_tests(y, q, two, generator=rng()).r, atol=1e-9)
    left = residuals(y, two)
    for value in (1e6, 1e6 + 1e-3):  # a line through two points is the mean of each
        assert np.abs(np.where(two == value, left, 0).sum(1)).max() < 1e-10


def test_level_and_scale_do_not_matter() -> None:
    y, q, c = rng(15).normal(0, 1, (3, N, K))
    y += q + c
    found = local_tests(y, q, c, generator=rng())
    other = local_tests(1e4 + 1e-3 * y, 5e3 - 1e2 * q, 1e6 + c / 64, generator=rng())
    np.testing.assert_allclose(other.r, -found.r, atol=1e-7)
    np.testing.assert_allclose(other.efficiency, found.efficiency, atol=1e-7)
