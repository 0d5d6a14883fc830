from __future__ import annotations

import numpy as np
import pytest

from galcli.cutouts.interpolate import cubic


def test_quadratic_surfaces_are_exact() -> None:
    y, x = np.mgrid[:12, :15].astype(np.float64)
    image = np.stack([1 + 2 * x - y, 0.5 * x**2 - x * y + 0.25 * y**2]).astype(np.float32)
    rng = np.random.default_rng(0)
    at_x, at_y = rng.uniform(1, 12.9, (8, 9)), rng.uniform(1, 9.9, (8, 9))
    found = cubic(image, at_x, at_y)
    np.testing.assert_allclose(found[0], 1 + 2 * at_x - at_y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[1], 0.5 * at_x**2 - at_x * at_y + 0.25 * at_y**2, rtol=1e-5, atol=1e-4)


def test_pixels_themselves_are_given_back() -> None:
    image = np.random.default_rng(0).normal(size=(3, 9, 9)).astype(np.float32)
    y, x = np.mgrid[1:7, 1:7].astype(np.float64)
    np.testing.assert_allclose(cubic(image, x, y), image[:, 1:7, 1:7], rtol=1e-6)


def test_no_value_without_all_sixteen_pixels() -> None:
    image = np.ones((1, 10, 10), np.float32)
    image[0, 5, 5] = np.nan
    y, x = np.mgrid[:10, :10] + 0.5
    found = cubic(image, x, y)[0]
    without = np.isnan(found)
    assert without[0].all()
    assert without[-2:].all()
    assert without[3:7, 3:7].all()
    assert without.sum() == 100 - 49 + 16
    assert cubic(image[:, :3], x, y).shape == (1, 10, 10)
    assert np.isnan(cubic(image[:, :3], x, y)).all()


@pytest.mark.parametrize("shift", [0.25, 0.5, 0.9])
def test_flux_is_kept(shift: float) -> None:
    y, x = np.mgrid[:40, :40].astype(np.float64)
    star = np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / (2 * 1.5**2)).astype(np.float32)[None]
    moved = cubic(star, x + shift, y - shift)
    assert np.nansum(moved) == pytest.approx(star.sum(), rel=1e-4)
