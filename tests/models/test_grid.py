import numpy as np
import pytest

from galcli.cutouts.batch import PixelBatch
from galcli.models import grid
from galcli.models.grid import to_grid
from galcli.tables.status import ModelStatus

BANDS = ("g", "r", "z")


@pytest.fixture
def go(card, resampler):
    def run(batch, front=1, **changes):
        model = card(**changes)
        return to_grid(batch, model.fronts[front], model, resampler)

    return run


def noise(n=3, size=32, bands=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, bands, size, size)).astype(np.float32)


def gaussian(size, scale, fwhm, flux=100.0, shift=(0.0, 0.0)):
    """Flux [nmgy per px] of a Gaussian of FWHM [arcsec] about the centre plus a shift [px]."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    sigma = fwhm / 2.3548 / scale
    image = np.exp(-0.5 * ((x - shift[0]) ** 2 + (y - shift[1]) ** 2) / sigma**2)
    return (flux * image / (2 * np.pi * sigma**2)).astype(np.float32)


def test_matching_batch_is_passed_without_a_copy(go, batch_of):
    batch = batch_of(noise())
    out = go(batch)
    assert out.pixels is batch.pixels
    assert np.shares_memory(out.valid, go(batch_of(noise(2))).valid)
    assert out.valid.shape == (3, 1, 32, 32)
    assert out.valid.min() == 1
    assert not out.valid.flags.writeable
    assert not out.status.any()
    assert out.has_scale.all()


def test_scale_within_half_a_percent_is_taken_as_it_is(go, batch_of):
    batch = batch_of(noise(), scale=0.262 * 1.004)
    assert go(batch).pixels is batch.pixels
    assert go(batch_of(noise(), scale=0.262 * 1.006)).pixels is not batch.pixels


def test_bands_are_selected_by_name(go, batch_of):
    batch = batch_of(noise(bands=4), bands=("g", "r", "i", "z"))
    assert np.array_equal(go(batch).pixels, batch.pixels[:, [0, 1, 3]])
    assert np.array_equal(go(batch, front=0).pixels, batch.pixels[:, :3])


def test_missing_bands_are_flagged_and_spoil_no_neighbour(go, batch_of):
    pixels = noise()
    clean = go(batch_of(pixels.copy()))
    pixels[1, 2] = np.nan
    out = go(batch_of(pixels))
    assert out.status.tolist() == [0, ModelStatus.MISSING_BAND, 0]
    assert np.array_equal(out.pixels[[0, 2]], clean.pixels[[0, 2]])
    assert np.isfinite(out.pixels).all()
    pixels = noise()
    pixels[0, 1] = 7
    assert go(batch_of(pixels)).status.tolist() == [ModelStatus.MISSING_BAND, 0, 0]
    out = go(batch_of(noise(bands=2), bands=("g", "r")))
    assert (out.status == ModelStatus.MISSING_BAND).all()


@pytest.mark.parametrize("size", [40, 41, 57])
def test_crop_keeps_values_and_the_centre(go, batch_of, size):
    pixels = noise(size=size)
    out = go(batch_of(pixels))
    first = (size - 32) // 2 if size % 2 == 0 else (size - 33) // 2  # of two equally near, the lower
    assert np.array_equal(out.pixels, pixels[:, :, first : first + 32, first : first + 32])
    assert out.valid.min() == 1
    assert not out.status.any()


def test_crop_follows_each_objects_centre(go, batch_of):
    pixels = noise(n=3, size=64)
    center = np.array([[31.5, 31.5], [20.2, 40.9], [31.9, 31.1]])
    out = go(batch_of(pixels, center=center))
    for row, (x, y) in enumerate(center):
        y0, x0 = round(y - 15.5), round(x - 15.5)
        assert np.array_equal(out.pixels[row], pixels[row, :, y0 : y0 + 32, x0 : x0 + 32])


@pytest.mark.parametrize(("size", "status"), [(31, ModelStatus.EDGE), (24, ModelStatus.EDGE | ModelStatus.MASKED)])
def test_small_cutout_is_padded(go, batch_of, size, status):
    pixels = noise(size=size)
    out = go(batch_of(pixels))
    assert out.pixels.shape == (3, 3, 32, 32)
    assert out.valid.sum() == 3 * size**2
    assert out.pixels.sum(dtype=float) == pytest.approx(pixels.sum(dtype=float), abs=1e-3)
    assert (out.pixels[np.broadcast_to(out.valid == 0, out.pixels.shape)] == 0).all()
    assert (out.status == status).all()


def test_object_far_outside_its_cutout(go, batch_of):
    out = go(batch_of(noise(n=1), center=[[500.0, -300.0]]))
    assert out.status[0] == ModelStatus.EDGE | ModelStatus.MASKED
    assert not out.valid.any()


def test_nan_is_zero_in_every_band_and_invalid(go, batch_of):
    pixels = noise()
    pixels[1, 0, 3, 5] = np.nan
    before = pixels.copy()
    out = go(batch_of(pixels))
    assert np.array_equal(pixels, before, equal_nan=True)  # other models read the same batch
    assert (out.pixels[1, :, 3, 5] == 0).all()
    assert out.valid[1, 0, 3, 5] == 0
    assert out.valid.sum() == 3 * 32**2 - 1
    expected = pixels.copy()
    expected[1, :, 3, 5] = 0
    assert np.array_equal(out.pixels, expected)
    assert not out.status.any()


def test_masked_field_and_masked_centre(go, batch_of):
    pixels = noise(n=3)
    pixels[0, :, :4] = np.nan  # 12.5 % of the field
    pixels[1, :, :3] = np.nan  # 9.4 %
    pixels[2, 1, 15:17, 15:17] = np.nan  # the object itself
    out = go(batch_of(pixels))
    assert out.status.tolist() == [ModelStatus.MASKED, 0, ModelStatus.MASKED]
    assert go(batch_of(pixels), max_masked=0.2).status.tolist() == [0, 0, ModelStatus.MASKED]


@pytest.mark.parametrize("factor", [0.4, 0.7, 1.3, 1.51, 2.5])
def test_flux_is_conserved(go, batch_of, factor):
    scale = 0.262 * factor
    size = round(60 / factor)
    fwhm = 3 * max(scale, 0.262)
    stamp = np.stack([gaussian(size, scale, fwhm, flux) for flux in (10.0, 100.0, 50.0)])[None]
    out = go(batch_of(stamp, scale=scale), size=[48, 48])
    assert out.valid.min() == 1
    np.testing.assert_allclose(out.pixels.sum(axis=(2, 3)), [[10, 100, 50]], rtol=0.01)
    y, x = np.indices((48, 48))
    weight = out.pixels[0, 1] / out.pixels[0, 1].sum()
    assert (weight * x).sum() == pytest.approx(23.5, abs=0.02)
    assert (weight * y).sum() == pytest.approx(23.5, abs=0.02)
    assert not out.status.any()


def test_resampling_centres_the_object(go, batch_of):
    stamp = np.broadcast_to(gaussian(64, 0.2, 1.2, shift=(4.3, -2.6)), (1, 3, 64, 64))
    out = go(batch_of(stamp, scale=0.2, center=[[31.5 + 4.3, 31.5 - 2.6]]))
    y, x = np.indices((32, 32))
    weight = out.pixels[0, 0] / out.pixels[0, 0].sum()
    assert (weight * x).sum() == pytest.approx(15.5, abs=0.01)
    assert (weight * y).sum() == pytest.approx(15.5, abs=0.01)


def test_exact_two_by_two_binning(go, batch_of):
    pixels = noise(size=64)
    out = go(batch_of(pixels, scale=0.131))
    binned = pixels.reshape(3, 3, 32, 2, 32, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(out.pixels, binned, atol=1e-5)


def test_axes_are_not_mixed_up(go, batch_of):
    pixels = noise(size=64)
    out = go(batch_of(pixels[:, :, :, :50], scale=0.131, center=[[21.5, 31.5]] * 3))
    assert out.status[0] & ModelStatus.EDGE
    inside = out.valid[0, 0] > 0
    assert inside.all(axis=0).sum() == 25  # columns
    column = int(np.flatnonzero(inside.all(axis=0))[0])
    binned = pixels[..., :50].reshape(3, 3, 32, 2, 25, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(out.pixels[..., column : column + 25], binned, atol=1e-5)


def test_partly_covered_pixels(go, batch_of):
    pixels = np.ones((1, 3, 64, 64), np.float32) + noise(1, 64) * 1e-3
    pixels[0, :, 10, 10] = np.nan  # a quarter of a model pixel
    pixels[0, :, 20, 20:22] = np.nan  # a half
    pixels[0, :, 30:32, 41] = np.nan
    pixels[0, :, 31, 40] = np.nan  # together three quarters
    out = go(batch_of(pixels, scale=0.131))
    np.testing.assert_allclose(out.pixels[0, :, 5, 5], 4, atol=0.05)
    np.testing.assert_allclose(out.pixels[0, :, 10, 10], 4, atol=0.05)
    assert out.valid[0, 0, 15, 20] == 0
    assert (out.pixels[0, :, 15, 20] == 0).all()
    assert out.valid.sum() == 32 * 32 - 1


def test_scale_limits(go, batch_of):
    scales = [0.262 * 0.19, 0.262 * 5.1, np.nan, 0.0, -1.0, 0.262, 0.3]
    out = go(batch_of(noise(n=7, size=64), scale=scales))
    assert ((out.status & ModelStatus.PIXEL_SCALE) > 0).tolist() == [True] * 5 + [False] * 2
    assert out.status[5] == 0
    assert out.has_scale.tolist() == [True, True, False, False, False, True, True]
    assert np.isfinite(out.pixels).all()


def test_display_without_scale_is_resized_to_the_grid(go, batch_of):
    pixels = np.random.default_rng(0).uniform(size=(2, 3, 64, 64)).astype(np.float32)
    out = go(batch_of(pixels, bands=("blue", "green", "red"), kind="display", scale=np.nan), front=2)
    np.testing.assert_allclose(out.pixels, pixels.reshape(2, 3, 32, 2, 32, 2).mean(axis=(3, 5)), atol=1e-6)
    assert out.valid.min() == 1
    assert not out.status.any()
    assert not out.has_scale.any()


def test_display_of_the_right_size_is_not_copied(go, batch_of):
    batch = batch_of(noise(), bands=("blue", "green", "red"), kind="display", scale=np.nan)
    assert go(batch, front=2).pixels is batch.pixels


def test_wide_display_keeps_its_proportions(go, batch_of):
    pixels = np.zeros((1, 3, 64, 96), np.float32)
    pixels[..., 32:64] = 1  # a square of 32 px in the middle
    out = go(batch_of(pixels, bands=("blue", "green", "red"), kind="display", scale=np.nan), front=2)
    assert out.pixels[0, 0].sum() == pytest.approx(32 * 16)
    assert not out.status.any()


def test_display_with_a_scale_keeps_its_values(go, batch_of):
    pixels = np.full((1, 3, 64, 64), 0.5, np.float32)
    pixels[..., 0] = 0.4
    out = go(batch_of(pixels, bands=("blue", "green", "red"), kind="display", scale=0.131), front=2)
    assert out.pixels[0, 0, 16, 16] == pytest.approx(0.5)
    assert out.has_scale.all()


def test_native_size(go, batch_of):
    batch = batch_of(noise(size=50), scale=np.nan)
    out = go(batch, size=None, pixel_scale=None)
    assert out.pixels is batch.pixels
    assert out.valid.shape == (3, 1, 50, 50)
    assert not out.status.any()


def test_rows_do_not_depend_on_their_neighbours(go, batch_of):
    """Mixed scales, gaps, edges: each row alone gives the same bits as in the batch."""
    draw = np.random.default_rng(5)
    pixels = noise(n=12, size=70, seed=5)
    pixels[2, 0, 5:9] = np.nan
    pixels[7, :, 60:] = np.nan
    pixels[9, 1] = np.nan
    scale = np.array([0.262, 0.262, 0.3, 0.2, 0.262, 0.131, 0.4, 0.35, np.nan, 0.2, 0.263, 1.5])
    center = 34.5 + draw.uniform(-3, 3, (12, 2))
    whole = go(batch_of(pixels, scale=scale, center=center))
    for row in range(12):
        one = go(batch_of(pixels[row : row + 1], scale=scale[row : row + 1], center=center[row : row + 1]))
        assert np.array_equal(one.pixels[0], whole.pixels[row])
        assert np.array_equal(one.valid[0], whole.valid[row])
        assert one.status[0] == whole.status[row]


def test_overlap_rows_sum_to_one_inside():
    matrix = grid.overlap(np.array([30.2, 31.5]), np.array([0.7, 1.9]), 64, 16)
    assert matrix.shape == (2, 16, 64)
    np.testing.assert_allclose(matrix.sum(axis=2), 1, atol=1e-6)
    assert (matrix >= 0).all()


@pytest.mark.parametrize("scale", [0.262, 0.4])
def test_empty_batch(go, batch_of, scale):
    one = batch_of(noise(n=1, size=40), scale=scale)
    empty = PixelBatch(
        one.index[:0], one.pixels[:0], one.bands, one.kind, one.pixel_scale[:0], one.center[:0],
        one.has_nan[:0], one.band_has_data[:0],
    )  # fmt: skip
    assert go(empty).pixels.shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("height", "width", "taken"), [(33, 33, True), (33, 32, False), (32, 90, False), (90, 33, True)]
)
def test_cutouts_below_the_least_side_are_masked(go, batch_of, height, width, taken):
    pixels = np.random.default_rng(0).normal(size=(3, 3, height, width)).astype(np.float32)
    pixels[1, 2] = np.nan
    out = go(batch_of(pixels), size=None, pixel_scale=None, least_side=33)
    verdict = 0 if taken else ModelStatus.MASKED
    assert out.status.tolist() == [verdict, ModelStatus.MISSING_BAND, verdict]
    assert out.pixels.shape == pixels.shape


def test_masks_of_many_sizes_are_not_kept_for_ever(go, batch_of):
    for side in range(8, 60):
        go(batch_of(noise(size=side)), size=None, pixel_scale=None)
    assert len(grid._ones) <= grid._SIZES_KEPT
