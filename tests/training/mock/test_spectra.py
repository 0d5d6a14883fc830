import pytest
import torch

from galcli.training.mock import lines, population, sed, spectra


@pytest.fixture(scope="module")
def survey():
    return population.draw(1500, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def observed(survey):
    return spectra.observe(survey, torch.Generator().manual_seed(2))


def test_grid_ends():
    wave = spectra.grid()
    assert wave.shape == (1000,)
    assert wave[0] == pytest.approx(3388.44, abs=0.01)
    assert wave[-1] == pytest.approx(8310.2, abs=0.5)


def test_lines_integrate_to_their_fluxes(survey):
    gas, edges = spectra.gas(survey), spectra._edges("cpu")
    wave, width = spectra.grid(), edges.diff().float()
    true = lines.fibre_fluxes(survey)
    for name in ("HB_4861", "OI_6300", "HG_4341"):
        centre = lines.LINES[name]
        near = (wave - centre).abs() < 0.006 * centre
        assert torch.allclose((gas * width)[:, near].sum(1), true[:, lines.NAMES.index(name)], rtol=2e-3), name
    assert torch.allclose((gas * width).sum(1), true.sum(1), rtol=2e-3)


def test_starlight_integrates_to_the_fibre_magnitude(survey):
    """At z near 0.1 the rest grid covers observed g and r: same flux as `sed` times the fibre fractions."""
    chosen = (survey["z"] > 0.1) & (survey["z"] < 0.14)
    pop = {key: value[chosen] for key, value in survey.items()}
    pop["ebv"] = torch.zeros_like(pop["ebv"])
    pop["log_sfr"] = torch.full_like(pop["log_sfr"], -20.0)  # no lines
    light, wave = spectra.stars(pop), spectra.grid().float()
    z = 1 + pop["z"][:, None]
    expected = (sed.component_fluxes(pop, "gr") * spectra.fibre_fractions(pop)[..., None]).sum(1)
    for k, band in enumerate("gr"):
        weight = sed.transmission(band, wave * z)
        f_nu = light / z * (wave * z) ** 2 / spectra.NMGY_TO_FLAM
        assert torch.allclose((f_nu * weight).sum(1) / weight.sum(1), expected[:, k], rtol=0.02), band


def test_noise_is_what_ivar_says_and_gaps_are_empty(survey, observed):
    seen = observed.ivar > 0
    pull = ((observed.flux - observed.model) * observed.ivar.sqrt())[seen]
    assert abs(pull.std() - 1) < 0.01
    wave = spectra.grid().float() * (1 + survey["z"][:, None])
    assert torch.equal(seen, (wave > 3800) & (wave < 9200))
    assert (observed.flux[~seen] == 0).all()


def test_snr_range(observed):
    assert observed.snr.min() >= 5
    assert observed.snr.max() <= 50
    assert 10 < observed.snr.median() < 30


def test_break_and_balmer_lines_tell_old_from_young(survey, observed):
    wave = spectra.grid()
    red = observed.model[:, (wave > 4000) & (wave < 4100)].mean(1)
    blue = observed.model[:, (wave > 3850) & (wave < 3950)].mean(1)
    d4000 = red / blue
    late = ~survey["quiescent"]
    assert 1.5 < d4000[~late].median() < 2.0
    assert 1.1 < d4000[late].median() < 1.5


def test_same_seed_same_spectra(survey):
    pop = {key: value[:20] for key, value in survey.items()}
    first, again = (spectra.observe(pop, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.flux, again.flux)
