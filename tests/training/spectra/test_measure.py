"""What is measured on spectra: lines of known strength, a break of known height."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from galcli.training.spectra.grid import Floats, edges, wavelengths
from galcli.training.spectra.measure import BREAK, HALF_WINDOW, LINES, Break, EquivalentWidth

#: Dispersion of lines [km/s]: the galaxy's and the spectrograph's.
DISPERSION = 120.0


def line(centre: float, width: float) -> Floats:
    """A Gaussian line of an equivalent width [Angstrom] over a continuum of 1, averaged over the grid's pixels."""
    sigma = centre * DISPERSION / 299792.458
    below = torch.special.ndtr(torch.from_numpy((edges() - centre) / sigma)).numpy()
    return np.asarray(width * np.diff(below) / np.diff(edges()))


def measured(module: nn.Module, flux: Floats) -> float:
    return float(module(torch.from_numpy(flux[None].astype(np.float32)))[0])


def tilted(name: str, slope: float) -> Floats:
    """A straight continuum that is 1 at a line."""
    return np.asarray(1 + slope * (wavelengths() - LINES[name].centre))


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("slope", [0, 3e-4, -3e-4])
@pytest.mark.parametrize("width", [100.0, 2.0, -3.0])
def test_lines_have_their_widths(name: str, slope: float, width: float) -> None:
    flux = tilted(name, slope) + line(LINES[name].centre, width)
    for unit in (1.0, 1e3, 1e-2):
        assert measured(EquivalentWidth(LINES[name]), unit * flux) == pytest.approx(width, rel=0.02)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("slope", [0, 3e-4, -3e-4])
def test_a_continuum_is_no_line(name: str, slope: float) -> None:
    assert measured(EquivalentWidth(LINES[name]), 7 * tilted(name, slope)) == pytest.approx(0, abs=1e-3)


def test_halpha_is_clear_of_nitrogen() -> None:
    halpha, nitrogen = line(LINES["HA"].centre, 30), line(LINES["NII"].centre, 10) + line(6549.85, 10 / 3)
    module = EquivalentWidth(LINES["HA"])
    assert measured(module, 1 + halpha + nitrogen) == pytest.approx(measured(module, 1 + halpha), rel=0.05)
    assert measured(module, 1 + halpha + nitrogen) == pytest.approx(30, rel=0.05)
    assert measured(EquivalentWidth(LINES["NII"]), 1 + halpha + nitrogen) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("name", LINES)
def test_the_module_does_what_its_text_says(name: str) -> None:
    flux = np.random.default_rng(4).uniform(0.5, 2, len(wavelengths()))
    which = LINES[name]

    def inside(low: float, high: float) -> Floats:
        return np.asarray(np.maximum(0, np.minimum(edges()[1:], high) - np.maximum(edges()[:-1], low)))

    sides = [np.average(flux, weights=inside(*band)) for band in (which.blue, which.red)]
    centres = [np.mean(which.blue), np.mean(which.red)]
    continuum = sides[0] + (sides[1] - sides[0]) * (wavelengths() - centres[0]) / (centres[1] - centres[0])
    window = inside(which.centre - HALF_WINDOW, which.centre + HALF_WINDOW)
    expected = ((flux / continuum - 1) * window).sum()
    assert measured(EquivalentWidth(which), flux) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_row_does_not_know_its_batch() -> None:
    flux = torch.rand(37, 1000, generator=torch.Generator().manual_seed(0)) + 0.5
    for module in (*map(EquivalentWidth, LINES.values()), Break()):
        alone = torch.cat([module(row[None]) for row in flux])
        torch.testing.assert_close(module(flux), alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("height", [1.0, 1.4, 2.0])
def test_a_step_has_its_break(height: float) -> None:
    per_nu = np.where(wavelengths() < 3975, 1.0, height)
    flux = 5 * per_nu / wavelengths() ** 2 * 4000**2
    assert measured(Break(), flux) == pytest.approx(height, rel=1e-5)
    assert BREAK == ((3850.0, 3950.0), (4000.0, 4100.0))
    flat = (np.mean(BREAK[1]) / np.mean(BREAK[0])) ** 2  # of constant f_lambda; bands are narrow
    assert measured(Break(), np.ones(len(wavelengths()))) == pytest.approx(flat, rel=1e-4)
