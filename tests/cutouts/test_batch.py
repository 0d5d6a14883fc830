from __future__ import annotations

import numpy as np
import pytest

from galcli.cutouts.batch import PixelBatch, survey_pixels, without_signal
from galcli.tables.status import RowStatus


def by_definition(band: np.ndarray) -> tuple[bool, bool]:
    finite = band[np.isfinite(band)]
    return finite.size < band.size, finite.size > 0 and bool(finite.min() < finite.max())


@pytest.mark.parametrize("size", [1, 5, 200])
def test_nan_and_empty_bands_are_found(size: int) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(60, 3, size, size)).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf, 1e30, 0.0):
        pixels[rng.integers(0, 60, 20), rng.integers(0, 3, 20), 0, size // 2] = value
    pixels[3], pixels[4, 1], pixels[5, 2] = np.nan, 0, np.inf
    pixels[6] = 4.0
    pixels[6, :, 0, 0] = np.nan
    expected = [[by_definition(band) for band in cutout] for cutout in pixels]
    has_nan, has_data = survey_pixels(pixels)
    np.testing.assert_array_equal(has_nan, [any(gap for gap, _ in bands) for bands in expected])
    np.testing.assert_array_equal(has_data, [[full for _, full in bands] for bands in expected])
    assert not np.isinf(pixels).any()


def test_cutouts_without_signal_leave_the_batch() -> None:
    pixels = np.random.default_rng(1).normal(size=(4, 2, 3, 3)).astype(np.float32)
    pixels[1], pixels[2, 0] = 5.0, np.nan
    has_nan, has_data = survey_pixels(pixels)
    batch = PixelBatch(
        np.arange(4) + 10, pixels, ("g", "r"), "flux", np.arange(4.0), np.arange(8.0).reshape(4, 2), has_nan, has_data
    )
    rest, lost = without_signal(batch)
    assert rest is not None
    assert lost is not None
    assert (rest.index.tolist(), lost.index.tolist()) == ([10, 12, 13], [11])
    assert lost.status.tolist() == [int(RowStatus.CONSTANT)]
    np.testing.assert_array_equal(rest.pixels, pixels[[0, 2, 3]])
    assert rest.center.tolist() == [[0, 1], [4, 5], [6, 7]]
    assert without_signal(rest) == (rest, None)
    nothing, _ = without_signal(batch.take(np.array([1])))
    assert nothing is None
