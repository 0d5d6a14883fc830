"""Domain randomisation keeps what it should keep, and changes what it should change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.randomise import Variety, blurred, sky_noise

SIZE, SCALE = 65, 0.5
NONE = Variety(0, 1, 0, 0, 0, 0, 0, 0, 0)
FLUX, SHOWN = torch.zeros(1, dtype=torch.int64), torch.full((1,), FRONTS.index(DISPLAY))


def source(width: float = 3.0, x: float = 0.0, y: float = 0.0) -> Tensor:
    """A Gaussian of flux 1 in three bands, (1, 3, SIZE, SIZE)."""
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    light = torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * width**2))
    return (light / light.sum()).expand(1, 3, SIZE, SIZE).clone()


def spread(image: Tensor) -> float:
    """Root mean square size along x of an image (SIZE, SIZE)."""
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    return float(((image * axis**2).sum() / image.sum()).sqrt())


def vary(variety: Variety, images: Tensor, front: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    return variety.on_sky(
        images, torch.ones(len(images), 1, SIZE, SIZE), front, SCALE, torch.Generator().manual_seed(seed)
    )


def test_no_variety_changes_nothing() -> None:
    images = torch.randn(4, 3, SIZE, SIZE)
    pixels, valid = vary(NONE, images, FLUX.expand(4))
    assert (pixels - images).std() < 0.03  # the noise is measured twice, to rounding
    assert valid.min() == 1


@pytest.mark.parametrize("seed", range(5))
def test_zoom_conserves_flux_and_display_values(seed: int) -> None:
    variety = replace(NONE, zoom=1.3)
    images = torch.cat([source(), source()])
    pixels, _ = vary(variety, images, torch.cat([FLUX, SHOWN]), seed)
    assert pixels[0].sum() == pytest.approx(3, rel=0.01)  # as far as bilinear interpolation does
    assert 3 / 1.31 < spread(pixels[0, 0]) < 3 * 1.31
    assert pixels[1].max() == pytest.approx(float(images.max()), rel=0.02)
    assert spread(pixels[0, 0]) != pytest.approx(3, rel=1e-3)


def test_turns_leave_no_corner_empty() -> None:
    images = torch.ones(8, 3, SIZE, SIZE)
    pixels, valid = vary(Variety(180, 1.3, 0, 0, 0, 0, 0, 0, 0), images, SHOWN.expand(8))
    assert valid.min() == 1
    torch.testing.assert_close(pixels, images)


def test_a_turn_moves_a_source_about_the_centre() -> None:
    pixels, _ = vary(replace(NONE, turn=90), source(x=12, y=0), FLUX, 3)
    where = torch.tensor(divmod(int(pixels[0, 0].argmax()), SIZE)) - (SIZE - 1) / 2
    assert where.square().sum().sqrt() == pytest.approx(12, abs=1)
    assert abs(float(where[0])) > 1


def test_masked_pixels_stay_masked() -> None:
    images, valid = source(), torch.ones(1, 1, SIZE, SIZE)
    valid[..., :10] = 0
    pixels, kept = Variety().on_sky(images * valid, valid, FLUX, SCALE, torch.Generator().manual_seed(1))
    assert 0 < float((kept == 0).float().mean()) < 0.5
    assert (pixels[:, 0][kept[:, 0] == 0] == 0).all()


def test_blur_conserves_flux_and_adds_its_width() -> None:
    out = blurred(torch.cat([source(2.0)] * 3), torch.tensor([0.0, 1.0, 1.5]))
    torch.testing.assert_close(out[0], source(2.0)[0])
    for image, width in zip(out[1:], (1.0, 1.5), strict=True):
        assert image[0].sum() == pytest.approx(1, rel=1e-3)
        assert spread(image[0]) == pytest.approx((4 + width**2) ** 0.5, rel=0.01)


def test_noise_is_measured_and_added_in_its_own_units() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(200, 3, SIZE, SIZE, generator=generator) * torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    torch.testing.assert_close(sky_noise(images).mean(0), torch.tensor([0.1, 0.2, 0.4]), rtol=0.03, atol=0)
    pixels, _ = vary(replace(NONE, noise=2.0), images, FLUX.expand(200))
    ratio = sky_noise(pixels) / sky_noise(images)
    assert ratio.min() > 0.85
    assert ratio.square().mean() == pytest.approx(1 + 4 / 3, rel=0.1)  # noise of 0 to 2, evenly
    torch.testing.assert_close(ratio[:, 0], ratio[:, 2], rtol=0.35, atol=0)  # one depth for all bands


def test_no_image_becomes_deeper_than_it_was() -> None:
    """What turning, zooming and blurring take away of the noise comes back."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(100, 3, SIZE, SIZE, generator=generator) * torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    calm = replace(Variety(), noise=0, gain=0, colour=0, background=0, neighbours=0)
    ratio = sky_noise(vary(calm, images, FLUX.expand(100))[0]) / sky_noise(images)
    assert ratio.median() == pytest.approx(1, abs=0.03)
    assert ratio.min() > 0.85  # as well as the noise of one image can be measured
    loud = sky_noise(vary(replace(calm, noise=1.0), images, FLUX.expand(100))[0]) / sky_noise(images)
    assert 1.1 < loud.median() < 2**0.5


def test_a_large_galaxy_is_no_noise() -> None:
    images = 100 * source(12.0) + 0.01 * torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert sky_noise(images).max() < 0.03


def test_gain_is_common_and_colour_is_not() -> None:
    images = source().expand(50, 3, SIZE, SIZE)
    common = vary(replace(NONE, gain=0.5), images, FLUX.expand(50))[0].sum((2, 3))
    torch.testing.assert_close(common[:, 0], common[:, 2])
    assert common.log().std() == pytest.approx(0.5, rel=0.3)
    colour = vary(replace(NONE, colour=0.2), images, FLUX.expand(50))[0].sum((2, 3))
    assert (colour[:, 0] / colour[:, 2]).log().std() == pytest.approx(0.2 * 2**0.5, rel=0.3)


def test_neighbours_stand_in_the_outskirts() -> None:
    images = torch.cat([source()] * 64)
    pixels, _ = vary(replace(NONE, neighbours=0.5), images, FLUX.expand(64))
    more = (pixels - images)[:, 0]
    have = more.sum((1, 2)) > 0.2
    assert 0.25 < float(have.float().mean()) < 0.75
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    peaks = more[have].flatten(1).argmax(1)
    distance = torch.hypot(axis[peaks // SIZE], axis[peaks % SIZE])
    assert distance.min() > 0.4 * SIZE / 2
    assert distance.max() < SIZE / 2


def test_neighbours_are_seen_through_the_same_front_and_have_no_edge() -> None:
    """Galaxies of brightness 1 through one front, 100 through the other."""
    front = torch.arange(64) % 2
    images = torch.cat([source() * 100**number for number in front.tolist()])
    pixels, _ = vary(replace(NONE, neighbours=1.0), images, front)
    more = (pixels - images).sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert more.max() < 1.01
    assert (more > 0.5).sum() > 50
    flat, _ = vary(replace(NONE, neighbours=1.0), torch.ones(8, 3, SIZE, SIZE), FLUX.expand(8))
    assert (flat[:, :, 1:] - flat[:, :, :-1]).abs().max() < 0.25  # an edge would be 1


def test_display_images_keep_colours_and_noise_on_the_sky() -> None:
    variety = replace(Variety(), turn=0, zoom=1)
    images = torch.rand(4, 3, SIZE, SIZE)
    torch.testing.assert_close(vary(variety, images, SHOWN.expand(4))[0], images, atol=1e-4, rtol=1e-3)


def test_brightness_and_contrast_of_display_images_alone() -> None:
    front = torch.cat([SHOWN, FLUX])
    images = torch.rand(2, 3, SIZE, SIZE) * 0.5 + 0.25
    out = Variety().on_screen(images, front, torch.Generator().manual_seed(0))
    assert out[1].equal(images[1])
    before, after = images[0], out[0]
    assert after.std() / before.std() == pytest.approx(
        float(after.max() - after.min()) / float(before.max() - before.min())
    )
    assert 0.9 <= after.std() / before.std() <= 1.1
    assert 0.9 <= after.mean() / before.mean() <= 1.1
    assert not torch.equal(after, before)


def test_same_seed_same_bits() -> None:
    images = torch.cat([source()] * 8)
    one, same, other = (vary(Variety(), images, FLUX.expand(8), seed)[0] for seed in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)
