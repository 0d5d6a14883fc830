"""How well spectra are predicted: known errors are told, and what tells nothing is left out."""

from __future__ import annotations

import numpy as np
import pytest

from galcli.training.spectra.grid import POINTS, Floats, wavelengths
from galcli.training.spectra.measure import LINES
from galcli.training.spectra.quality import Figure, breaks, figures, line_widths, metrics, relative_residuals, scatter

RANDOM = np.random.default_rng(5)


def some(count: int) -> Floats:
    return RANDOM.uniform(1, 2, (count, POINTS))


def test_the_truth_is_without_error() -> None:
    reference = some(5)
    assert all(one.value == 0 for one in figures(reference, reference))


def test_a_known_error_is_told() -> None:
    reference = some(4)
    predicted = reference * np.array([0.9, 1.1, 0.9, 1.1])[:, None]
    told = {one.name: (one.value, one.unit) for one in figures(predicted, reference)}
    assert told["SPEC_FLUX median relative residual"] == (pytest.approx(0.1), None)
    assert told["SPEC_FLUX 90 % relative residual"] == (pytest.approx(0.1), None)
    for name in LINES:  # a factor changes no equivalent width and no break
        value, unit = told[f"SPEC_EW_{name} rmse"]
        assert value == pytest.approx(0, abs=1e-4)
        assert unit == "Angstrom"
    assert told["SPEC_D4000 rmse"] == (pytest.approx(0, abs=1e-6), None)


def test_pixels_without_data_do_not_count() -> None:
    reference, good = some(3), np.ones((3, POINTS), np.bool_)
    predicted = reference * 1.2
    predicted[:, 300:400], good[:, 300:400] = 1e9, False
    residual = relative_residuals(predicted, reference, good)
    assert residual.shape == (3 * (POINTS - 100),)
    np.testing.assert_allclose(residual, 0.2)
    assert relative_residuals(predicted, reference).max() > 1e8


def test_lines_and_breaks_are_measured_where_there_are_data() -> None:
    """What fills gaps is no observation: a spectrum without data at a line does not count for it."""
    reference, good, wave = some(5), np.ones((5, POINTS), np.bool_), wavelengths()
    predicted, half_line = reference.copy(), (wave > 6490) & (wave < 6570)
    good[:2, half_line] = False
    predicted[:2, half_line] *= 9
    good[2, np.abs(wave - 3900).argmin()] = False  # one pixel of the break hardly matters
    good[:, wave < 3800] = False
    told = {one.name: one for one in figures(predicted, reference, good)}
    assert (told["SPEC_EW_HA rmse"].value, told["SPEC_EW_HA rmse"].objects) == (0, 3)
    assert told["SPEC_EW_NII bias"].objects == 3
    assert told["SPEC_D4000 bias"].objects == told["SPEC_EW_HB rmse"].objects == 5
    assert not [name for name in told if "OII " in name], "of which no spectrum tells"
    assert next(figures(predicted, reference)).objects == 5


def test_lines_and_breaks_are_those_of_the_modules() -> None:
    flux = np.ones((2, POINTS))
    near = np.abs(wavelengths() - LINES["HA"].centre) < 6
    flux[1, near] += 1
    widths = line_widths(flux)
    assert set(widths) == set(LINES)
    np.testing.assert_allclose(widths["HA"], [0, 12], atol=3)
    np.testing.assert_allclose(widths["OII"], 0, atol=1e-4)
    wave = wavelengths()
    step = np.where(wave < 3975, 1.0, 1.5) / wave**2
    np.testing.assert_allclose(breaks(step[None]), 1.5, rtol=1e-5)


def test_scatter_of_known_residuals() -> None:
    told = scatter(np.array([1.0, 2.0, 3.0, 4.0, 10.0, np.nan, np.inf]))
    assert told["bias"] == pytest.approx(4)
    assert told["rmse"] == pytest.approx(np.sqrt(130 / 5))
    assert told["sigma_mad"] == pytest.approx(1.4826)
    normal = scatter(np.random.default_rng(0).normal(0.5, 2, 100_000))
    assert (normal["bias"], normal["sigma_mad"]) == (pytest.approx(0.5, abs=0.03), pytest.approx(2, rel=0.02))


def test_entries_of_a_card() -> None:
    [entry] = metrics(iter([Figure("a", 1.23456789, "Angstrom", 7)]), sample="s")
    assert entry == {"name": "a", "value": 1.2346, "unit": "Angstrom", "objects": 7, "sample": "s"}
