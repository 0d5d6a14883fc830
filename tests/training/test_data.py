import numpy as np
import pytest
import torch

from galcli.training import cache
from galcli.training.augment import d4, draw_d4
from galcli.training.data import Feed, Looks, Stamps, held_out, split_by_seed, split_by_tile, take
from galcli.training.pixels import DISPLAY, FRONTS, VIEWERS, Pixels, viewer_rgb
from galcli.training.regression import figures, normalisation
from galcli.training.seeds import mix

GRI, GRZ, SHOWN = range(3)


def stamps(n=40, size=16, pixel_scale=0.262):
    draw = np.random.default_rng(3)
    pixels = (0.05 * draw.standard_normal((n, 3, size, size)) + 0.1).astype(np.float16)
    front = np.arange(n) % 2
    labels = {"value": draw.random(n).astype(np.float32)}
    return Stamps(pixels, front, labels, pixel_scale, "test", np.arange(n) << 50)


def square():
    return torch.arange(9.0).reshape(1, 1, 3, 3)


def test_d4_holds_the_eight_symmetries():
    images = square().expand(8, 1, 3, 3)
    out = d4(images, torch.arange(8))
    assert len({tuple(image.flatten().tolist()) for image in out}) == 8
    corners = {tuple(sorted(image.flatten()[[0, 2, 6, 8]].tolist())) for image in out}
    assert corners == {(0.0, 2.0, 6.0, 8.0)}
    assert out[0].equal(images[0])
    assert out[1, 0].equal(square()[0, 0].flip(1))
    assert out[2, 0].equal(square()[0, 0].flip(0))
    assert out[4, 0].equal(square()[0, 0].T)


def test_d4_is_closed():
    once = d4(square().expand(8, 1, 3, 3), torch.arange(8))
    known = {tuple(image.flatten().tolist()) for image in once}
    for number in range(8):
        twice = d4(once, torch.full((8,), number))
        assert {tuple(image.flatten().tolist()) for image in twice} == known


def test_identity_is_as_likely_as_published():
    element = draw_d4(64_000, 0.5, torch.Generator().manual_seed(1))
    share = torch.bincount(element, minlength=8) / len(element)
    assert share[0].item() == pytest.approx(0.5625, abs=0.01)
    assert share[1:].numpy() == pytest.approx(np.full(7, 0.0625), abs=0.005)


def test_viewer_by_hand():
    # g r i = 0.1, 0.2, 0.4: u = 0.27, 0.32, 0.42; I = 1.01 / 3
    flux = torch.tensor([0.1, 0.2, 0.4]).reshape(3, 1, 1)
    mean = 1.01 / 3
    factor = np.arcsinh(20 * mean) / np.sqrt(20) / mean
    expected = np.array([0.27, 0.32, 0.42]) * factor
    assert viewer_rgb(flux, (2.5, 1.5, 1.0), 0.02).flatten().numpy() == pytest.approx(expected.clip(0, 1), rel=1e-6)


def test_viewer_of_negative_flux_is_finite():
    assert viewer_rgb(torch.full((1, 3, 2, 2), -5.0), (6.0, 3.4, 2.2), 0.03).equal(torch.zeros(1, 3, 2, 2))


def test_each_row_goes_through_its_front():
    pixels = Pixels(FRONTS, (0.1, 0.2, 0.3), (2.0, 4.0, 5.0))
    flux = torch.rand(3, 3, 4, 4) * 0.2
    valid = torch.ones(3, 1, 4, 4)
    valid[:, :, 0, 0] = 0
    flux *= valid
    image = pixels.rgb(flux, valid, torch.tensor([GRI, GRZ, SHOWN]))
    for row, name in ((0, "flux:gri"), (1, "flux:grz")):
        viewer = VIEWERS[name]
        expected = viewer_rgb(flux[row] * viewer.flux_scale, viewer.scales, viewer.m)
        torch.testing.assert_close(image[row, :, 1:], expected[:, 1:])
        assert image[row, :, 0, 0].numpy() == pytest.approx(viewer.sky)
    assert image[2, :, 1:].equal(flux[2, :, 1:])
    assert image[2, :, 0, 0].numpy() == pytest.approx(VIEWERS["flux:gri"].sky)
    x = pixels(flux, valid, torch.tensor([GRI, GRZ, SHOWN]))
    torch.testing.assert_close(x * pixels.std + pixels.mean, image)


def test_fronts_of_a_data_set_are_known():
    with pytest.raises(ValueError, match="flux:ugr"):
        Pixels(("flux:ugr",), (0,) * 3, (1,) * 3)


def test_split_is_the_published_one():
    held = split_by_seed(10)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(256))
    assert set(np.flatnonzero(held)) == set(order[:2].tolist())
    assert split_by_seed(117_223).sum() == 23_444
    assert split_by_seed(250_207).sum() == 50_041


def test_tiles_are_held_out_whole():
    tile = np.repeat(np.arange(50), np.random.default_rng(1).integers(1, 40, 50)).astype(np.int64)
    held = split_by_tile(tile << 50)
    assert not set(tile[held]) & set(tile[~held])
    assert 0.2 <= held.mean() < 0.25


def test_missing_pixels_are_zero_and_not_valid():
    data = stamps()
    data.pixels[3, 1, 2, 5] = np.nan
    pixels, valid, front = take(data, np.array([2, 3]))
    assert valid.sum() == 2 * 16 * 16 - 1
    assert valid[1, 0, 2, 5] == 0
    assert (pixels[1, :, 2, 5] == 0).all()
    assert front.tolist() == [0, 1]


def test_coarse_pixels_are_brought_to_the_surface_brightness_of_fine_ones():
    # 0.524 arcsec pixels hold four times the flux of 0.262 arcsec pixels; display values stay
    data = stamps(pixel_scale=0.524)
    data.front[1] = SHOWN
    pixels, _, _ = take(data, np.array([0, 1]))
    np.testing.assert_array_equal(pixels[0], data.pixels[0].astype(np.float32) / 4)
    np.testing.assert_array_equal(pixels[1], data.pixels[1].astype(np.float32))


def feed(**changes):
    data = stamps()
    return Feed(data, np.arange(4, 40), data.labels["value"][:, None], 8, 11, Looks(**changes))


def test_a_batch_depends_on_its_step_alone():
    first, second = feed(), feed()
    for step in (0, 1, 2, 3, 4, 9):
        first.batch(step)
    for name, value in vars(second.batch(3)).items():
        assert value.equal(getattr(first.batch(3), name)), name


def test_an_epoch_shows_every_row_once():
    one = feed()
    assert one.steps_per_epoch == 4
    rows = torch.cat([one.batch(step).rows for step in range(4)])
    assert len(set(rows.tolist())) == 32
    assert rows.min() >= 4
    assert not rows.equal(torch.cat([one.batch(step).rows for step in range(4, 8)]))


def test_targets_belong_to_their_rows():
    one = feed()
    batch = one.batch(1)
    np.testing.assert_array_equal(batch.target[:, 0], one.stamps.labels["value"][batch.rows.numpy()])


def test_part_of_the_rows_is_displayed():
    one = feed(display=0.5)
    fronts = torch.cat([one.batch(step).front for step in range(24)])
    share = torch.bincount(fronts, minlength=3) / len(fronts)
    assert share[SHOWN].item() == pytest.approx(0.5, abs=0.12)
    assert share[GRI].item() > 0.1
    assert share[GRZ].item() > 0.1
    batch = one.batch(0)
    shown = batch.pixels[batch.front == SHOWN]
    assert 0 <= shown.min() <= shown.max() <= 1
    np.testing.assert_allclose(shown * 255, (shown * 255).round(), atol=1e-4)


def test_without_servers_the_display_is_the_viewer_in_eight_bits():
    data = stamps()
    rows = np.array([0, 1])
    flux, valid, front = take(data, rows)
    expected = Pixels(FRONTS, (0,) * 3, (1,) * 3)(flux, valid, front)
    shown, _, fronts = held_out(data, rows, DISPLAY, 0, servers=False)
    assert fronts.tolist() == [SHOWN, SHOWN]
    assert (shown - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_normalisation_is_that_of_all_training_images():
    one = feed(display=0.0)
    pixels = Pixels(FRONTS, (0.0,) * 3, (1.0,) * 3)
    batches = [one.batch(step) for step in range(one.steps_per_epoch)]
    values = torch.cat([pixels(b.pixels, b.valid, b.front) for b in batches]).transpose(0, 1).flatten(1).double()
    mean, std = normalisation(one, lambda batch: pixels(batch.pixels, batch.valid, batch.front))
    assert mean == pytest.approx(values.mean(1).tolist(), rel=1e-6)
    assert std == pytest.approx(values.std(1, correction=0).tolist(), rel=1e-6)


def test_figures_by_hand():
    truth = np.arange(16.0)
    found = figures(truth + np.where(truth < 8, 0.1, -0.1), truth)
    assert found["rmse"] == pytest.approx(0.1)
    assert found["bias"] == pytest.approx(0)
    assert found["sigma_mad"] == pytest.approx(0.14826)
    assert [part["bias"] for part in found["bins"]] == pytest.approx([0.1] * 4 + [-0.1] * 4)
    assert sum(part["objects"] for part in found["bins"]) == found["objects"] == 16


def test_seeds_differ():
    seeds = {mix(seed, a, b) for seed in range(10) for a in range(10) for b in range(10)}
    assert len(seeds) == 1000


def make_chunk(calls, stop=None):
    def make(chunk, rows):
        if chunk == stop:
            raise KeyboardInterrupt
        calls.append(chunk)
        draw = np.random.default_rng(chunk)
        pixels = draw.standard_normal((rows, 3, 4, 4)).astype(np.float32)
        front = np.full(rows, chunk % 2, np.int8)
        return cache.Chunk(pixels, front, np.full((rows, 1), chunk, np.float32), np.full(rows, -1, np.int64))

    return make


def test_a_cache_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 8)
    recipe = cache.Recipe("mock", 30, 4, 0.5, ("value",), {"seed": 1})
    calls = []
    with pytest.raises(KeyboardInterrupt):
        cache.build(tmp_path / "a", recipe, make_chunk(calls, stop=2), print)
    resumed = cache.build(tmp_path / "a", recipe, make_chunk(calls), print)
    assert calls == [0, 1, 2, 3]
    whole = cache.build(tmp_path / "b", recipe, make_chunk([]), print)
    np.testing.assert_array_equal(resumed.pixels, whole.pixels)
    np.testing.assert_array_equal(resumed.labels["value"], np.repeat([0, 1, 2, 3], [8, 8, 8, 6]))
    assert resumed.healpix is None
    opened = cache.build(tmp_path / "a", recipe, make_chunk(calls), print)
    assert calls == [0, 1, 2, 3]
    np.testing.assert_array_equal(opened.pixels, whole.pixels)


def test_another_recipe_is_another_cache(tmp_path):
    keys = {
        cache.Recipe("mock", n, size, 0.5, ("value",), {"seed": seed}).key
        for n in (8, 9) for size in (4, 5) for seed in (1, 2)
    }  # fmt: skip
    assert len(keys) == 8
