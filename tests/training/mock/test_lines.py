import pytest
import torch

from galcli.training.mock import cosmology, lines, population


@pytest.fixture(scope="module")
def survey():
    return population.draw(20_000, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def observed(survey):
    return lines.observe(survey, torch.Generator().manual_seed(2))


def test_halpha_of_a_known_galaxy():
    """log L(Ha) = log SFR + 41.27, so SFR = 1 at z = 0.1 without dust gives 7.26e-16 erg/s/cm2."""
    one = torch.ones(1)
    pop = {
        "z": 0.1 * one, "log_sfr": 0 * one, "oh": 8.8 * one, "a_v": 0 * one, "agn": 0 * one, "young_central": one,
        "eps_nii": 0 * one, "eps_oiii": 0 * one,
    }  # fmt: skip
    flux = lines.fibre_fluxes(pop)[0]
    centimetres = float(cosmology.luminosity_distance(pop["z"])) * 3.0857e24
    by_hand = 10**41.27 / (4 * torch.pi * centimetres**2) / 1e-17
    assert flux[lines.HA] == pytest.approx(by_hand, rel=1e-3)
    assert flux[lines.HA] / flux[lines.HB] == pytest.approx(2.86, rel=1e-4)
    assert torch.log10(flux[lines.NII] / flux[lines.HA]) == pytest.approx(-0.70, abs=1e-4)
    assert torch.log10(flux[lines.OIII] / flux[lines.HB]) == pytest.approx(0.05, abs=1e-4)
    half = lines.fibre_fluxes(dict(pop, young_central=0.5 * one))[0]
    assert torch.allclose(half, flux / 2)


def test_balmer_decrement_grows_with_dust(survey):
    flux = lines.fibre_fluxes(survey)
    decrement = (flux[:, lines.HA] / flux[:, lines.HB] / 2.86).log10()
    difference = (4862.7 / 5500) ** -1.3 - (6564.6 / 5500) ** -1.3
    assert torch.allclose(decrement, 0.4 * difference * survey["a_v"] / 0.44, atol=1e-4)


def test_star_formers_stay_below_the_curves(survey, observed):
    """The fact of the spec: < 6 % of star-formers above Kauffmann, < 1 % above Kewley, true or measured."""
    flux, error = observed
    pure = (survey["agn"] == 0) & ~survey["quiescent"]
    strong = pure & ((flux / error)[:, [lines.HB, lines.OIII, lines.HA, lines.NII]] > lines.MIN_SNR).all(1)
    for sample, chosen in ((lines.fibre_fluxes(survey), pure), (flux, strong)):
        x, y = lines.bpt_ratios(sample[chosen])
        assert (y > lines.kauffmann(x)).float().mean() < 0.06
        assert (y > lines.kewley(x)).float().mean() < 0.01


def test_nuclei_move_towards_the_agn_corner(survey):
    x, y = lines.bpt_ratios(lines.fibre_fluxes(dict(survey, agn=torch.full_like(survey["agn"], 0.95))))
    assert abs(x.median() - 0.0) < 0.08
    assert abs(y.median() - 0.8) < 0.08
    assert ((y > lines.kewley(x)).float().mean()) > 0.97


def test_nuclei_live_in_massive_bulges(survey):
    active = survey["agn"] > 0
    assert survey["bt"][active].min() > 0
    massive, small = survey["logm"] > 10.9, survey["logm"] < 10.0
    assert active[massive].float().mean() > 5 * active[small].float().mean()


def test_classes_of_known_fluxes():
    flux = torch.ones(6, 13) * 100.0
    error = torch.ones(6, 13)
    flux[0, lines.NII], flux[0, lines.HB] = 10.0, 33.0  # star forming: log N2 -1, log O3 0.48
    flux[1, lines.NII], flux[1, lines.HA], flux[1, lines.HB], flux[1, lines.OIII] = 50.0, 100.0, 33.0, 40.0  # composite
    flux[2, lines.HB], flux[2, lines.OIII] = 33.0, 300.0  # AGN
    flux[3, lines.HB], flux[3, lines.NII] = 1.0, 10.0  # H beta lost: low S/N
    flux[4, lines.HB] = 1.0  # H beta lost, [N II]/Ha = 1
    flux[5] = 1.0
    assert lines.classify(flux, error).tolist() == [1, 3, 4, 2, 5, -1]


def test_curves_at_published_points():
    x = torch.tensor([-0.5, 0.3, 0.6])
    assert lines.kauffmann(x).tolist() == pytest.approx([0.1909, -torch.inf, -torch.inf], abs=1e-3)
    assert lines.kewley(x).tolist() == pytest.approx([0.5611, -2.3982, -torch.inf], abs=1e-3)


def test_class_mix_and_abundance_labels(survey, observed):
    code = lines.classify(*observed)
    share = {k: float((code == k).float().mean()) for k in (-1, 1, 2, 3, 4, 5)}
    assert sum(share.values()) == pytest.approx(1)
    assert all(value > 0.02 for value in share.values())
    labelled = survey["oh"][code == lines.STAR_FORMING]
    assert abs(labelled.mean() - 8.90) < 0.05  # 400 real galaxies: 8.90, 0.20
    assert 0.15 < labelled.std() < 0.22
    assert survey["quiescent"][code == lines.UNCLASSIFIABLE].float().mean() > 0.8


def test_errors_are_the_scatter_of_the_measurement(survey, observed):
    flux, error = observed
    pull = (flux - lines.fibre_fluxes(survey)) / error
    assert abs(pull.std() - 1) < 0.02
    assert abs(pull.mean()) < 0.01
