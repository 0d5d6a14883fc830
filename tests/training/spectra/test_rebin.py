"""Rebinning: known answers, conservation, and noise against draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from galcli.training.spectra.grid import DLOGLAM, Floats, edges, wavelengths
from galcli.training.spectra.rebin import MIN_OVERLAP, Rebinned, borders, combine, good_pixels, rebin

LOG = 10 ** (3.55 + 1e-4 * np.arange(4300))  # as SDSS, 3548-9546 Angstrom
LINEAR = np.arange(3600, 9824.1, 0.8)  # as DESI


def clean(wavelength: Floats) -> NDArray[np.bool_]:
    return np.ones(len(wavelength), bool)


@settings(max_examples=30, deadline=None)
@given(z=st.floats(0, 0.6), level=st.floats(-50, 50), native=st.sampled_from([LOG, LINEAR, LOG[::7]]))
def test_flat_stays_flat(z: float, level: float, native: Floats) -> None:
    ones = np.ones(len(native))
    out = rebin(native, level * ones, ones, clean(native), z)
    has_data = out.ivar > 0
    ends = borders(native)[[0, -1], [0, 1]] / (1 + z)
    inside = (edges()[:-1] >= ends[0]) & (edges()[1:] <= ends[1])
    assert has_data[inside].all()
    np.testing.assert_allclose(out.flux[has_data], (1 + z) * level, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(out.native_sigma[has_data], 1, rtol=1e-9)
    assert not any(values[~has_data].any() for values in out)


@pytest.mark.parametrize("native", [LOG, LINEAR], ids=["log", "linear"])
@pytest.mark.parametrize("z", [0.0, 0.021, 0.37])
def test_line_keeps_its_flux_and_place(native: Floats, z: float) -> None:
    centre = 5008.24 * (1 + z)
    sigma = centre * 120 / 299792.458
    shape = 37 * np.exp(-0.5 * ((native - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    out = rebin(native, shape, np.ones(len(native)), clean(native), z)
    width, wave = np.diff(edges()), wavelengths()
    near = np.abs(wave / 5008.24 - 1) < 0.01
    flux = (out.flux * width)[near]
    assert flux.sum() == pytest.approx(37, rel=1e-3)
    middle = (edges()[1:] + edges()[:-1])[near] / 2
    assert (flux * middle).sum() / flux.sum() == pytest.approx(5008.24, abs=0.05)  # 1 % of a pixel


@pytest.mark.parametrize("native", [LOG, LINEAR, LOG[::6]], ids=["log", "linear", "coarse"])
def test_errors_are_those_of_drawn_noise(native: Floats) -> None:
    random = np.random.default_rng(5)
    sigma = 1 + 0.5 * np.sin(np.arange(len(native)) / 50)
    draws = [rebin(native, random.normal(0, sigma), sigma**-2, clean(native), 0.1) for _ in range(400)]
    has_data = draws[0].ivar > 0
    pull = np.array([draw.flux[has_data] * np.sqrt(draw.ivar[has_data]) for draw in draws])
    assert pull.std() == pytest.approx(1, abs=0.01)
    assert np.abs(pull.std(axis=0) - 1).max() < 0.2


def test_own_grid_changes_nothing() -> None:
    random = np.random.default_rng(0)
    flux, ivar = random.normal(10, 3, 1000), random.uniform(0.5, 2, 1000)
    out = rebin(wavelengths(), flux, ivar, clean(flux), 0.0)
    # Borders midway in wavelength lie 1e-4 of a pixel off those midway in its logarithm.
    np.testing.assert_allclose(out.flux, flux, atol=5e-3)
    np.testing.assert_allclose(out.ivar, ivar, rtol=1e-3)
    np.testing.assert_allclose(out.native_sigma, ivar**-0.5, rtol=1e-3)


def test_four_equal_pixels_quarter_the_variance() -> None:
    fine = 10 ** (3.53 + DLOGLAM * (np.arange(4000) / 4 - 0.375))
    out = rebin(fine, np.ones(4000), np.full(4000, 0.25), clean(fine), 0.0)
    np.testing.assert_allclose(out.ivar[1:-1], 1, rtol=1e-3)
    np.testing.assert_allclose(out.native_sigma, 2, rtol=1e-9)


def test_bad_pixels_are_left_out_and_half_a_pixel_is_needed() -> None:
    fine = 10 ** (3.53 + DLOGLAM * (np.arange(4000) / 4 - 0.375))
    flux, bad = np.full(4000, 3.0), ~clean(fine)
    for pixels, junk in ((slice(400, 401), 1e30), (slice(800, 802), -1e30), (slice(1200, 1203), 1e30)):
        flux[pixels], bad[pixels] = junk, True
    ivar = np.ones(4000)
    flux[1600], ivar[1604], ivar[1608], ivar[1612] = np.nan, np.inf, np.nan, -1
    out = rebin(fine, flux, ivar, good_pixels(flux, ivar, bad), 0.0)
    np.testing.assert_allclose(out.flux[np.r_[99:102, 400:404]], 3)
    np.testing.assert_allclose(out.ivar[np.r_[100, 400:404]], 3, rtol=1e-3)
    assert out.ivar[300] == out.flux[300] == 0  # three quarters are bad
    assert np.count_nonzero(out.ivar == 0) <= 2
    assert MIN_OVERLAP == 0.5


def test_what_no_line_can_be_is_no_data() -> None:
    random = np.random.default_rng(2)
    flux = random.normal(3, 1, (3, 5000))
    flux[2] *= 1e-3
    none = np.zeros(flux.shape, bool)
    assert good_pixels(flux, np.ones(flux.shape), none).all()
    flux[0, 100], flux[1, [7, 8]], flux[2, 9] = 2500, [1e30, -3500], 4  # a line, two faults, a fault of a faint one
    for dtype in (np.float32, np.float64):
        good = good_pixels(flux.astype(dtype), np.ones(flux.shape), none)
        assert np.argwhere(~good).tolist() == [[1, 7], [1, 8], [2, 9]]
        np.testing.assert_array_equal(good_pixels(flux[1].astype(dtype), np.ones(5000), none[0]), good[1])
    bad = none.copy()
    bad[:, 1:], flux[:] = True, 1e30
    assert good_pixels(flux, np.ones(flux.shape), bad).sum() == 3
    assert not good_pixels(flux, np.zeros(flux.shape), none).any()


@pytest.mark.parametrize("native", [LOG, LINEAR], ids=["log", "linear"])
@pytest.mark.parametrize(
    "rows", [np.r_[1000:1500], np.r_[1], np.r_[2000:2003], np.r_[0:1000], np.r_[1001:1499, 1500:1600]],
    ids=["many", "second", "three", "first", "one alone between two holes"],
)  # fmt: skip
def test_pixels_that_are_not_in_the_table_are_no_data(native: Floats, rows: NDArray[np.int64]) -> None:
    """A table without rows gives what one with these rows flagged gives."""
    kept = clean(native)
    kept[rows] = False
    flux, ivar = np.linspace(1, 3, len(native)), np.linspace(4, 1, len(native))
    flagged = rebin(native, flux, ivar, kept, 0.02)
    missing = rebin(native[kept], flux[kept], ivar[kept], kept[kept], 0.02)
    for values, expected in zip(missing, flagged, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-3)


def test_spectrum_elsewhere_has_no_data() -> None:
    out = rebin(LOG, np.ones(4300), np.ones(4300), clean(LOG), 9.0)
    assert not any(values.any() for values in out)


def test_arms_combine_by_inverse_variance() -> None:
    blue = Rebinned(np.array([1.0, 1, 0]), np.array([1.0, 3, 0]), np.array([2.0, 2, 0]))
    red = Rebinned(np.array([0.0, 5, 7]), np.array([0.0, 1, 4]), np.array([0.0, 2, 3]))
    both = combine([blue, red])
    np.testing.assert_allclose(both.flux, [1, 2, 7])
    np.testing.assert_allclose(both.ivar, [1, 4, 4])
    np.testing.assert_allclose(both.native_sigma, [2, 2 / np.sqrt(2), 3])
    for alone, same in zip(combine([blue]), blue, strict=True):
        np.testing.assert_allclose(alone, same)
