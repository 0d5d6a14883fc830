"""Facts about display images: known colours, hue, JPEG, field of view."""

import math

import pytest
import torch

from galcli.training.mock.display import (
    display,
    draw_view,
    field_of_view,
    jpeg,
    lupton_rgb,
    select,
    to_rgb,
    viewer_rgb,
)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1).expand(1, len(values), 4, 4)


def test_decals_colours_by_hand() -> None:
    """Flux (0.01, 0.02, 0.03) of g, r, z: u_g = 6 f_g + 0.03 ..., I = mean, colour = u asinh(20 I) / sqrt(20) / I."""
    u = [0.06 + 0.03, 0.068 + 0.03, 0.066 + 0.03]
    mean = sum(u) / 3.0
    wanted = [x * math.asinh(20.0 * mean) / math.sqrt(20.0) / mean for x in u]
    assert wanted[0] == pytest.approx(0.2965, abs=1e-4)
    got = viewer_rgb(flat(0.01, 0.02, 0.03), "flux:grz", 0.262)[0, :, 0, 0]
    assert got.tolist() == pytest.approx(wanted, abs=1e-6)


def test_sdss_colours_use_the_flux_scale_of_the_native_grid() -> None:
    """On the 0.262 arcsec grid fluxes are multiplied by (0.396 / 0.262)^2 = 2.284."""
    factor = (0.396 / 0.262) ** 2
    assert factor == pytest.approx(2.284, abs=1e-3)
    u = [2.5 * 0.02 * factor + 0.02, 1.5 * 0.03 * factor + 0.02, 0.04 * factor + 0.02]
    mean = sum(u) / 3.0
    wanted = [x * math.asinh(20.0 * mean) / math.sqrt(20.0) / mean for x in u]
    got = viewer_rgb(flat(0.02, 0.03, 0.04), "flux:gri", 0.262)[0, :, 0, 0]
    assert got.tolist() == pytest.approx(wanted, abs=1e-6)
    native = viewer_rgb(flat(0.02 * factor, 0.03 * factor, 0.04 * factor), "flux:gri", 0.396)[0, :, 0, 0]
    assert native.tolist() == pytest.approx(wanted, abs=1e-6)


def test_negative_bands_are_black_and_missing_pixels_are_sky() -> None:
    got = viewer_rgb(flat(-0.1, 0.02, 0.02), "flux:grz", 0.262)[0, :, 0, 0]
    assert float(got[0]) == 0.0
    assert float(got[1]) > 0.0
    dark = viewer_rgb(flat(-1.0, -1.0, -1.0), "flux:grz", 0.262)
    assert bool((dark == 0.0).all())
    missing = viewer_rgb(flat(math.nan, math.nan, math.nan), "flux:grz", 0.262)
    torch.testing.assert_close(missing, viewer_rgb(flat(0.0, 0.0, 0.0), "flux:grz", 0.262))


def test_lupton_keeps_the_hue_of_bright_pixels_or_burns_them_out() -> None:
    one = torch.ones(1)
    image = flat(400.0, 200.0, 100.0)
    kept = lupton_rgb(image, torch.ones(1, 3), 8.0 * one, one, torch.tensor([True]))[0, :, 0, 0]
    assert kept.tolist() == pytest.approx([1.0, 0.5, 0.25])
    burnt = lupton_rgb(1e9 * image, torch.ones(1, 3), 8.0 * one, one, torch.tensor([False]))[0, :, 0, 0]
    assert burnt.tolist() == [1.0, 1.0, 1.0]


def test_lupton_is_linear_when_faint() -> None:
    image = flat(0.003, 0.002, 0.001)
    got = lupton_rgb(image, torch.ones(1, 3), torch.tensor([8.0]), torch.tensor([0.5]), torch.tensor([True]))
    assert got[0, :, 0, 0].tolist() == pytest.approx([0.006, 0.004, 0.002], rel=1e-3)


def test_jpeg_of_a_flat_colour_keeps_it_and_quality_matters() -> None:
    # blue first: a saturated blue stays blue, which it would not if channels were swapped on the way
    blue = torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(jpeg(blue, torch.tensor([95])), blue, atol=0.02, rtol=0)
    noisy = torch.rand(1, 3, 32, 32, generator=seeded())
    good, poor = (float((jpeg(noisy, torch.tensor([q])) - noisy).abs().mean()) for q in (95, 20))
    assert good < poor


def test_jpeg_keeps_rows_and_columns_in_place() -> None:
    image = torch.zeros(1, 3, 32, 32)
    image[:, :, 24:28, 4:8] = 1.0
    peak = jpeg(image, torch.tensor([90]))[0].sum(0)
    assert float(peak[25:27, 5:7].min()) > 2.5
    assert float(peak[4:8].max()) < 0.3


def test_a_smaller_field_enlarges_and_keeps_the_centre() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 24:40, 24:40] = 1.0
    half = field_of_view(image, 0.4, torch.tensor([12.8]), 64)[0, 0]
    assert float(half.sum()) == pytest.approx(32.0**2, rel=0.02)
    assert float(half[31:33, 31:33].min()) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(half, half.flip(0), atol=1e-5, rtol=0)
    same = field_of_view(image, 0.4, torch.tensor([25.6]), 64)
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    coarse = field_of_view(image, 0.4, torch.tensor([25.6]), 16)[0, 0]
    assert coarse.shape == (16, 16)
    assert float(coarse.sum()) == pytest.approx(16.0, rel=0.1)


def test_fields_of_view_are_fixed_or_follow_the_galaxy() -> None:
    pop = {"r50": torch.full((4000,), 2.0), "bt": torch.zeros(4000)}
    view = draw_view(pop, 38.0, seeded())
    own = view[view != 38.0] / 4.6
    assert 0.45 < len(own) / 4000 < 0.55
    assert 4.0 <= float(own.min()) < 4.1
    assert 11.8 < float(own.max()) <= 12.0


def test_display_is_reproducible_in_range_and_eight_bit() -> None:
    images = 0.05 * torch.rand(6, 4, 48, 48, generator=seeded())
    images[0, 1, :, 3] = math.nan
    pop = {"r50": torch.full((6,), 2.0), "bt": torch.zeros(6)}
    first, again = (display(images, pop, "griz", 0.396, 40, seeded(3)) for _ in range(2))
    assert first.shape == (6, 3, 40, 40)
    assert torch.equal(first, again)
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0
    torch.testing.assert_close(first * 255, (first * 255).round(), atol=1e-4, rtol=0)


def test_to_rgb_picks_the_bands_of_the_front() -> None:
    images = torch.stack([torch.full((1, 4, 4), 0.01 * (k + 1)) for k in range(5)], 1)
    torch.testing.assert_close(
        to_rgb(images, "ugriz", "flux:gri", 0.396), viewer_rgb(images[:, 1:4], "flux:gri", 0.396)
    )
    with pytest.raises(ValueError, match="wanted"):
        select(images, "ugriz", "gry")
    with pytest.raises(ValueError, match="generator"):
        to_rgb(images, "ugriz", "display", 0.396)
