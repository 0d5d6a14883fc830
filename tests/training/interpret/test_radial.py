"""Radial power spectra, on images whose power is known."""

from __future__ import annotations

import numpy as np
import pytest

from galcli.training.interpret.radial import power_spectrum, ratio

SIZE = 128


@pytest.mark.parametrize("cycles", [(0, 5), (16, 0), (30, 40), (0, 64)])
def test_power_of_a_wave_lies_at_its_frequency(cycles: tuple[int, int]) -> None:
    y, x = np.indices((SIZE, SIZE))
    wave = np.cos(2 * np.pi * (cycles[0] * y + cycles[1] * x) / SIZE)
    spectrum = power_spectrum(wave)
    frequency = np.hypot(*cycles) / SIZE
    assert spectrum.frequency[spectrum.power.argmax()] == frequency
    beside = np.abs(spectrum.frequency - frequency) > 2.5 / SIZE  # a Hann window spreads a wave over its neighbours
    assert spectrum.power[beside].max() < 1e-20 * spectrum.power.max()


def test_wave_that_does_not_fit_the_image_stays_at_its_frequency() -> None:
    x = np.indices((SIZE, SIZE))[1]
    spectrum = power_spectrum(np.cos(2 * np.pi * 10.5 * x / SIZE))
    far = spectrum.frequency > 30 / SIZE
    assert spectrum.power[far].max() < 1e-6 * spectrum.power.max()


def test_white_noise_is_flat_and_has_its_variance() -> None:
    noise = np.random.default_rng(1).normal(3, 2, (3, 256, 256)).astype(np.float32)
    spectrum = power_spectrum(noise)
    assert spectrum.frequency.shape == (128,)
    assert (spectrum.frequency[0], spectrum.frequency[-1]) == (1 / 256, 0.5)
    assert np.diff(spectrum.frequency) == pytest.approx(1 / 256)
    # A bin averages about 2 pi k numbers, half of them twice, in each of 3 channels; the window joins neighbours.
    number = np.arange(1, 129)
    error = 4 * np.sqrt(4 / (3 * 2 * np.pi * number))
    assert (np.abs(spectrum.power / 4 - 1) < error).all()
    assert spectrum.power[10:].mean() == pytest.approx(4, rel=0.02)


def test_level_of_an_image_adds_no_power() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (32, 32))
    np.testing.assert_allclose(power_spectrum(noise + 1000).power, power_spectrum(noise).power, rtol=1e-6)


def test_turned_and_mirrored_images_have_the_same_spectrum() -> None:
    image = np.random.default_rng(3).normal(0, 1, (3, 48, 48))
    expected = power_spectrum(image).power
    for other in (np.rot90(image, axes=(1, 2)), image[:, ::-1], image.transpose(0, 2, 1)):
        np.testing.assert_allclose(power_spectrum(other).power, expected, rtol=1e-9)


def test_channels_are_averaged() -> None:
    image = np.random.default_rng(4).normal(0, 1, (3, 40, 56))
    each = [power_spectrum(channel).power for channel in image]
    np.testing.assert_allclose(power_spectrum(image).power, np.mean(each, 0), rtol=1e-12)


def test_ratio_tells_what_was_added() -> None:
    y = np.arange(SIZE)[:, None]
    before = np.random.default_rng(5).normal(0, 1, (SIZE, SIZE))
    wave = 5 * np.cos(2 * np.pi * 20 * y / SIZE)
    np.testing.assert_allclose(ratio(3 * before, before).power, 9, rtol=1e-9)
    added = ratio(before + wave, before)
    assert added.frequency[added.power.argmax()] == 20 / SIZE
    assert added.power[40:] == pytest.approx(1, abs=1e-3)


def test_ratio_to_an_image_without_power_is_nan() -> None:
    image = np.random.default_rng(6).normal(0, 1, (16, 16))
    assert np.isnan(ratio(image, np.zeros((16, 16))).power).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 pixels"):
        power_spectrum(np.zeros((3, 3, 8)))
    with pytest.raises(ValueError, match="at least 4 pixels"):
        power_spectrum(np.zeros(8))
    with pytest.raises(ValueError, match="one shape"):
        ratio(np.zeros((8, 8)), np.zeros((3, 8, 8)))
