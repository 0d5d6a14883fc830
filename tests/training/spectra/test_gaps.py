"""Gaps of spectra: what lies on a linear model is found again, and nothing that a spectrum does not tell matters."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.training.spectra import gaps
from galcli.training.spectra.gaps import EIGENVECTORS, Filler, fit_filler
from galcli.training.spectra.grid import POINTS, Floats

Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def truth() -> Floats:
    """Spectra that are sums of ten smooth ones, in any unit."""
    random = np.random.default_rng(1)
    waves = np.cos(np.pi * np.outer(np.arange(EIGENVECTORS), np.linspace(0, 1, POINTS)))
    amounts = random.normal(0, 0.15, (300, EIGENVECTORS))
    amounts[:, 0] = 1
    return np.asarray(random.uniform(1, 100, (300, 1)) * (amounts @ waves))


@pytest.fixture(scope="module")
def good(truth: Floats) -> Mask:
    """A fifth of the pixels is missing."""
    return np.random.default_rng(2).random(truth.shape) > 0.2


@pytest.fixture(scope="module")
def filler(truth: Floats, good: Mask) -> Filler:
    return fit_filler(truth, good)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, truth: Floats, good: Mask) -> Filler:
    """What two iterations find; so do all that are compared with it."""
    monkeypatch.setattr(gaps, "ITERATIONS", 2)
    return fit_filler(truth, good)


def unit(spectra: Floats) -> Floats:
    return np.asarray(spectra / np.linalg.norm(spectra, axis=1)[:, None])


def test_a_linear_model_is_learnt_from_spectra_with_gaps(truth: Floats, good: Mask, filler: Filler) -> None:
    filled, norm = filler.fill(np.where(good, truth, np.nan), good)
    np.testing.assert_allclose(filled, unit(truth), atol=1e-6)
    np.testing.assert_allclose(norm, np.linalg.norm(truth, axis=1), rtol=1e-6)
    np.testing.assert_allclose(filler.vectors @ filler.vectors.T, np.eye(EIGENVECTORS), atol=1e-9)
    np.testing.assert_allclose(filler.mean, unit(truth).mean(0), atol=1e-6)


def test_missing_ends_are_found_again(truth: Floats) -> None:
    mean = unit(truth).mean(0)
    known = Filler(mean, np.linalg.svd(unit(truth) - mean, full_matrices=False)[2][:EIGENVECTORS])
    good = np.ones(truth.shape, np.bool_)
    good[::2, :100] = good[1::2, -150:] = good[::3, 400:450] = False
    filled, norm = known.fill(truth, good)
    np.testing.assert_allclose(filled, unit(truth), atol=1e-6)
    np.testing.assert_allclose(norm, np.linalg.norm(truth, axis=1), rtol=1e-6)


def test_data_are_kept_and_norms_are_one(truth: Floats, good: Mask, filler: Filler) -> None:
    noisy = truth + np.random.default_rng(3).normal(0, 3, truth.shape)
    filled, norm = filler.fill(noisy, good)
    np.testing.assert_array_equal(filled[good], (noisy / norm[:, None])[good])
    np.testing.assert_allclose(np.linalg.norm(filled, axis=1), 1, rtol=1e-6)


def test_what_gaps_hold_is_not_looked_at(truth: Floats, good: Mask, short: Filler) -> None:
    dirty = np.where(good, truth, np.random.default_rng(4).choice([np.nan, np.inf, -1e30], truth.shape))
    for one, other in zip(short.fill(dirty, good), short.fill(truth, good), strict=True):
        np.testing.assert_array_equal(one, other)
    again = fit_filler(dirty, good)
    np.testing.assert_array_equal(again.mean, short.mean)
    np.testing.assert_array_equal(again.vectors, short.vectors)


@pytest.mark.parametrize("factor", [1e3, 1e-17])
def test_the_unit_of_flux_does_not_matter(truth: Floats, good: Mask, short: Filler, factor: float) -> None:
    again = fit_filler(factor * truth, good)
    np.testing.assert_allclose(again.mean, short.mean, atol=1e-10)
    np.testing.assert_allclose(again.vectors, short.vectors, atol=1e-8)
    (filled, norm), (expected, expected_norm) = short.fill(factor * truth, good), short.fill(truth, good)
    np.testing.assert_allclose(filled, expected, atol=1e-12)
    np.testing.assert_allclose(norm, factor * expected_norm, rtol=1e-12)


def test_a_spectrum_alone_is_filled_as_among_others(truth: Floats, good: Mask, filler: Filler) -> None:
    filled, norm = filler.fill(truth, good)
    for row in range(0, len(truth), 60):
        alone, its_norm = filler.fill(truth[row : row + 1], good[row : row + 1])
        np.testing.assert_allclose(alone[0], filled[row], atol=1e-12)
        assert its_norm[0] == pytest.approx(norm[row], rel=1e-12)


def test_degenerate_spectra_give_finite_numbers(truth: Floats, good: Mask, filler: Filler) -> None:
    flux, mask = truth[:6].copy(), good[:6].copy()
    mask[0] = False
    mask[1] = np.arange(POINTS) == 500
    mask[2] = np.arange(POINTS) < 3
    flux[3] = 0
    flux[4] *= -1
    flux[5], mask[5] = 0, True
    filled, norm = filler.fill(flux, mask)
    assert np.isfinite(filled).all()
    assert np.isfinite(norm).all()
    assert (norm > 0).all()
    np.testing.assert_allclose(np.linalg.norm(filled, axis=1), [1, 1, 1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(filled[0], unit(filler.mean[None])[0])
    assert (filled[4][mask[4]] * flux[4][mask[4]] >= 0).all()


def test_spectra_of_zeros_teach_nothing(truth: Floats, good: Mask, short: Filler) -> None:
    nothing, none = np.zeros((2, POINTS)), np.stack([np.ones(POINTS, np.bool_), np.zeros(POINTS, np.bool_)])
    with_nothing = fit_filler(np.concatenate([truth, nothing]), np.concatenate([good, none]))
    np.testing.assert_array_equal(with_nothing.mean, short.mean)
    np.testing.assert_array_equal(with_nothing.vectors, short.vectors)


def test_fit_that_runs_away_keeps_the_mean() -> None:
    """Vectors that the data cannot tell apart would make the gap, and with it the norm, grow without end."""
    mean = np.full(1000, 1000**-0.5)
    steep = np.where(np.arange(1000) < 400, 1.0, 1e-4)  # all of it in the gap
    filler = Filler(mean, (steep / np.linalg.norm(steep))[None])
    good = np.arange(1000)[None] >= 400
    flux = np.where(good, 3.0 + np.linspace(0, 2, 1000), 0.0)
    filled, norm = filler.fill(flux, good)
    assert np.isfinite(filled).all()
    assert 0.4 < norm[0] / np.linalg.norm(flux) < 2.6
    np.testing.assert_allclose(filled[good], flux[good] / norm[0])
    assert filled[0, :400] == pytest.approx(filled[0, 0])
