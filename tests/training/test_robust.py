"""Images in units of the noise of their own border."""

import numpy as np
import pytest
import torch

from galcli.training.networks.robust import BORDER, NORMAL, STEP, RobustPixels

FRONTS = ("flux:gri", "display")


def images(n: int = 3, side: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def ones(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(x), 1, *x.shape[2:])


def flux(x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    return RobustPixels(FRONTS)(x, ones(x) if valid is None else valid, torch.zeros(len(x), dtype=torch.int64))


def border(x: np.ndarray) -> np.ndarray:
    inside = np.zeros(x.shape[-2:], bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return x[..., ~inside]


def test_each_band_is_in_units_of_its_own_border() -> None:
    x = images()
    edge = border(x.numpy())
    sky = np.sort(edge, -1)[..., (edge.shape[-1] - 1) // 2][..., None]
    away = np.abs(edge - sky)
    noise = NORMAL * np.sort(away, -1)[..., (edge.shape[-1] - 1) // 2][..., None]
    known = np.arcsinh((x.numpy() - sky[..., None]) / noise[..., None])
    np.testing.assert_allclose(flux(x), known, rtol=2e-5, atol=1e-5)


def test_neither_unit_nor_sky_matter() -> None:
    x = images()
    torch.testing.assert_close(flux(1e-3 * x + 0.25), flux(x), rtol=1e-4, atol=1e-3)


def test_pixels_without_data_are_sky_and_are_not_counted() -> None:
    x, valid = images(), ones(images())
    valid[:, :, :6] = 0
    bad = torch.where(valid > 0, x, 1e4)
    said = flux(bad, valid)
    assert not said[:, :, :6].any()
    cut = torch.where(valid > 0, x, torch.zeros(()))
    torch.testing.assert_close(said, flux(cut, valid))
    assert not torch.equal(said, flux(x))


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_a_border_that_does_not_vary_divides_by_nothing(level: float) -> None:
    x = torch.full((1, 3, 40, 40), level)
    assert not flux(x).any()
    x[:, :, 18:22, 18:22] += 5
    said = flux(x)
    assert said.isfinite().all()
    assert said[0, 0, 20, 20] > 1


def test_without_any_data_there_is_nothing() -> None:
    x = images(1)
    assert not flux(x, torch.zeros(1, 1, 40, 40)).any()


def test_display_images_have_no_less_noise_than_a_step_of_eight_bits() -> None:
    x = 0.1 + 1e-5 * images(1)
    said = RobustPixels(FRONTS)(x, ones(x), torch.ones(1, dtype=torch.int64))
    torch.testing.assert_close(said, torch.asinh((x - x.median()) / STEP), atol=1e-2, rtol=0)
