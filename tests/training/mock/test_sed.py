import pytest
import torch

from galcli.training.mock import cosmology, population, sed, templates


@pytest.fixture(scope="module")
def survey():
    return population.draw(5000, torch.Generator().manual_seed(1))


def test_rest_frame_r_of_one_sun_is_its_absolute_magnitude():
    """At z = 0 without dust the r flux over the rest r flux is 1 for every population, by definition."""
    zero = torch.zeros(4)
    ratio = sed.band_ratios(torch.tensor([8.2, 8.6, 9.0, 9.2]), zero, zero, ["r"])
    assert torch.allclose(ratio, torch.ones(4, 3, 1), atol=2e-3)


def test_k_correction_of_a_power_law(monkeypatch):
    """A template f_lambda ~ lambda^-3 (f_nu ~ nu) has K = -2.5 log10 (1+z)^(1 + 1) in every band."""
    wave = templates.wavelength()
    flat = (wave**-3).expand(3, 2, -1)
    monkeypatch.setattr(templates, "library", lambda device="cpu": flat)
    for cached in (sed.rest_r_normalisation, sed._table):
        cached.cache_clear()
    try:
        z = torch.tensor([0.05, 0.1, 0.15])  # nodes of the table
        ratio = sed.band_ratios(torch.full_like(z, 8.7), torch.zeros(3), z, ["g", "r", "z"])
        at_rest = sed.band_ratios(torch.full_like(z, 8.7), torch.zeros(3), 0 * z, ["g", "r", "z"])
        expected = ((1 + z) ** 2)[:, None, None].expand(3, 3, 3)
        assert torch.allclose(ratio / at_rest, expected, rtol=1e-3)
    finally:
        monkeypatch.undo()
        for cached in (sed.rest_r_normalisation, sed._table):
            cached.cache_clear()


def test_table_equals_direct_integration():
    z, a_v, oh = 0.0833, 0.77, 8.7
    wave = templates.wavelength()
    for p in range(3):
        spectrum = (templates.library()[p, 0] * templates.library()[p, 1]).sqrt()
        norm = sed.rest_r_normalisation("cpu")[p].prod().sqrt()
        dust = 10 ** (-0.4 * a_v * sed.DUST_SHARE[p] * (wave / 5500) ** sed.DUST_SLOPE)
        for band in ("u", "g", "r", "i", "z", "y"):
            seen = wave * (1 + z)
            weight = sed.transmission(band, seen)
            mean = (spectrum * dust * wave**2 * (1 + z) * weight).sum() / weight.sum() / norm
            table = sed.band_ratios(*(torch.tensor([x]) for x in (oh, a_v, z)), [band])[0, p, 0]
            assert abs(float(table / mean) - 1) < 0.015, (p, band)


def test_colours_of_main_sequence_and_red_sequence(survey):
    """Observed colours at 10.3 < log M < 10.9 and z near 0.1, against SDSS: u-g, g-r, r-i, i-z."""
    magnitude = sed.magnitudes(sed.component_fluxes(survey, "ugriz").sum(1))
    colour = magnitude[:, :-1] - magnitude[:, 1:]
    chosen = (survey["logm"] > 10.3) & (survey["logm"] < 10.9)
    red = colour[chosen & survey["quiescent"]].median(0).values
    blue = colour[chosen & ~survey["quiescent"]].median(0).values
    assert torch.allclose(red, torch.tensor([1.85, 0.97, 0.42, 0.33]), atol=0.12)
    assert torch.allclose(blue, torch.tensor([1.33, 0.68, 0.36, 0.24]), atol=0.12)


def test_light_sums_to_the_luminosity(survey):
    flux = sed.component_fluxes(survey, ["r"], dust=False).sum((1, 2))
    rest = 10 ** survey["log_lr"] * cosmology.nanomaggies_per_sun(survey["z"])
    assert (flux / rest).log10().abs().max() < population.K_BOUND


def test_dust_reddens_and_dims(survey):
    clean = dict(survey, a_v=torch.zeros_like(survey["a_v"]), ebv=torch.zeros_like(survey["ebv"]))
    dusty, bare = (sed.component_fluxes(pop, "gr").sum(1) for pop in (survey, clean))
    assert (dusty < bare).all()
    assert (dusty[:, 0] / bare[:, 0] < dusty[:, 1] / bare[:, 1]).all()


def test_galactic_reddening_is_a_v_of_the_band(survey):
    more = dict(survey, ebv=survey["ebv"] + 0.1)
    ratio = sed.component_fluxes(more, "gz") / sed.component_fluxes(survey, "gz")
    expected = 10 ** (-0.04 * torch.tensor([sed.GALACTIC["g"], sed.GALACTIC["z"]]))
    assert torch.allclose(ratio, expected.expand_as(ratio), rtol=1e-4)


def test_line_response_of_a_flat_band():
    """A line in the middle of a band adds F lambda / (c int T dlnlambda): r, 1e-15 erg/s/cm2 at 6170 A."""
    z = torch.tensor([6170 / 6564.6 - 1])
    response = sed.line_response(z, ["r"])[0, 9, 0] * 100
    by_hand = 1e-15 * 6170 / (2.998e18 * (1380 / 6175)) / 3.631e-29
    assert abs(float(response) / by_hand - 1) < 0.01


def test_wise_colours_separate_discs_from_ellipticals(survey):
    w = sed.wise_vega(survey)
    colour = w[:, 1] - w[:, 2]
    late = ~survey["quiescent"]
    assert colour[late].median() > 2.3
    assert colour[~late].median() < 1.5
    assert (w[:, 0] - w[:, 1]).median().abs() < 0.3
