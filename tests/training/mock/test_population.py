import pytest
import torch

from galcli.training.galaxy10 import COUNTS
from galcli.training.mock import classes, cosmology, population, sed, structure


@pytest.fixture(scope="module")
def survey():
    return population.draw(20_000, torch.Generator().manual_seed(1))


def test_same_seed_same_survey_other_seed_other_survey():
    first, again = (population.draw(300, torch.Generator().manual_seed(5)) for _ in range(2))
    other = population.draw(300, torch.Generator().manual_seed(6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["logm"], other["logm"])


def test_every_key_is_finite_and_has_n_rows(survey):
    for key, value in survey.items():
        assert value.shape == (20_000,), key
        assert torch.isfinite(value.float()).all(), key


def test_cut_is_on_dust_free_face_on_r(survey):
    again = sed.magnitudes(sed.component_fluxes(survey, ["r"], dust=False).sum((1, 2)))
    assert torch.equal(again, survey["r_intrinsic"])
    assert survey["r_intrinsic"].max() < population.R_LIMIT
    # a cut on the observed magnitude would remove edge-on galaxies: here inclination knows nothing of mass
    assert abs(torch.corrcoef(torch.stack([survey["cos_i"], survey["logm"]]))[0, 1]) < 0.03
    assert abs(survey["cos_i"].mean() - 0.5) < 0.01


def test_no_galaxy_touches_the_envelope(survey):
    """The envelope must be brighter than any galaxy, or the survey would lack the brightest of each mass."""
    logm, _, z_max = population._envelope("cpu")
    top = population.interp(survey["logm"], logm, z_max)
    inside = top < population.Z_RANGE[1] - 1e-3
    assert (survey["z"][inside] < 0.99 * top[inside]).all()


def test_envelope_gives_the_volume_limited_survey():
    """Mass and redshift distributions equal those of a brute-force draw over the whole volume."""
    generator = torch.Generator().manual_seed(2)
    n = 1_500_000
    grid = torch.linspace(*population.LOGM_RANGE, 4001)
    number = population.mass_function(grid).cumsum(0)
    d = population.Draws(n, generator)
    logm = population.interp(d.uniform(), number / number[-1], grid)
    quiescent = d.chance(torch.sigmoid((logm - 10.6) / 0.3))
    near, far = (cosmology.comoving_distance(torch.tensor(z)) ** 3 for z in population.Z_RANGE)
    z = cosmology.redshift_at((near + d.uniform() * (far - near)) ** (1 / 3))
    dms = d.normal(0, 0.3)
    sfr = population.main_sequence(logm) + dms
    late = population.light(logm, sfr, population.main_sequence(logm) + 0.6 * dms + d.normal(0, 0.15))
    # star formers only, whose K-correction in r is small: cut on rest-frame r
    r = sed.magnitudes(10 ** late["log_lr"] * cosmology.nanomaggies_per_sun(z))
    brute = ~quiescent & (r < population.R_LIMIT)
    pop = population.draw(40_000, generator)
    mine = ~pop["quiescent"]
    assert brute.sum() > 5000
    assert abs(logm[brute].mean() - pop["logm"][mine].mean()) < 0.03
    assert abs(z[brute].mean() - pop["z"][mine].mean()) < 0.004


def test_quiescent_fraction_depends_on_mass_only_by_the_spec():
    core = population._propose(400_000, torch.Generator().manual_seed(3))
    # in a thin shell in which both types of this mass pass the cut
    chosen = (core["z"] < 0.06) & ((core["logm"] - 10.6).abs() < 0.1)
    assert chosen.sum() > 500
    assert abs(core["quiescent"][chosen].float().mean() - 0.5) < 0.05


def test_main_sequence_and_quiescent_offset(survey):
    # where the survey is complete; elsewhere the flux limit prefers those with more young light
    whole = (survey["z"] < 0.06) & (survey["logm"] > 10.4)
    late = ~survey["quiescent"]
    assert abs(survey["dms"][whole & late].mean()) < 0.04
    assert abs(survey["dms"][whole & late].std() - 0.3) < 0.03
    assert abs(survey["dms"][whole & ~late].mean() + 1.5) < 0.1
    assert survey["dms"][late].mean() > 0.05
    expected = 0.76 * survey["logm"] - 7.64 + survey["dms"]
    assert torch.allclose(survey["log_sfr"], expected, atol=1e-5)


def test_mass_metallicity_relation(survey):
    late = ~survey["quiescent"]
    relation = -1.492 + 1.847 * survey["logm"] - 0.08026 * survey["logm"] ** 2 - 0.15 * survey["dms"]
    offset = (survey["oh"] - relation)[late]
    assert abs(offset.median()) < 0.015
    assert 0.08 < offset.std() < 0.13  # Tremonti et al. 2004: 0.1 dex
    for low in (9.0, 9.5, 10.0, 10.5):
        chosen = (survey["logm"][late] - low - 0.25).abs() < 0.25
        assert abs(offset[chosen].median()) < 0.03


def test_structure_tells_of_metallicity_beyond_mass(survey):
    late = ~survey["quiescent"]
    rest = survey["oh"] - population.mass_metallicity(survey["logm"])
    density = structure.density_offset(survey, survey["sigma_c"])
    assert torch.corrcoef(torch.stack([rest, density])[:, late])[0, 1] > 0.4
    calm, wild = late & (survey["disturbance"] < 0.2), late & (survey["disturbance"] > 0.6)
    assert rest[calm].median() - rest[wild].median() > 0.1


def test_half_light_radius_is_that_of_bulge_plus_disc(survey):
    x = survey["r50"]
    light = structure.bulge_light(survey)
    bulge = structure.sersic_growth(x / survey["re_bulge"], survey["n_bulge"])
    inside = light * bulge + (1 - light) * structure.disc_growth(x / survey["h_disc"])
    assert (inside - 0.5).abs().max() < 0.01


def test_sizes_follow_shen(survey):
    for quiescent in (False, True):
        chosen = (survey["quiescent"] == quiescent) & (survey["logm"] > 10.2) & (survey["logm"] < 11.2)
        median = structure.half_light_radius(survey["logm"], survey["quiescent"])[chosen]
        # as Shen et al. saw them: circular apertures around inclined discs
        light = structure.bulge_light(survey)
        q = (light * survey["q_bulge"] + (1 - light) * survey["q_app"])[chosen]
        seen = (survey["r50"] * survey["kpc_arcsec"])[chosen] * q.sqrt()
        offset = (seen / median).log10()
        assert abs(offset.median()) < 0.06
        assert 0.13 < offset.std() < 0.22


def test_disc_axis_ratio_is_inclination_and_thickness(survey):
    expected = torch.sqrt(survey["cos_i"] ** 2 + survey["thickness"] ** 2 * (1 - survey["cos_i"] ** 2))
    assert torch.allclose(survey["q_app"], expected)
    dusty = ~survey["quiescent"] & (survey["bt"] < 0.2)
    edge, face = dusty & (survey["cos_i"] < 0.2), dusty & (survey["cos_i"] > 0.8)
    assert survey["a_v"][edge].mean() > 1.4 * survey["a_v"][face].mean()


def test_fractions_and_ranges(survey):
    assert torch.allclose(survey["f_old"] + survey["f_int"] + survey["f_young"], torch.ones(20_000), atol=1e-5)
    for key, low, high in (
        ("bulge_old", 0, 1), ("young_central", 0, 1), ("n_bulge", 2, 5), ("thickness", 0.15, 0.25), ("bar", 0, 0.4),
        ("n_knots", 0, 40), ("disturbance", 0, 1), ("lopsided", 0, 0.5), ("agn", 0, 1), ("z", 0.01, 0.2),
    ):  # fmt: skip
        assert survey[key].min() >= low, key
        assert survey[key].max() <= high, key
    assert set(survey["n_arms"].unique().tolist()) == {0, 2, 3, 4}


def test_balance_gives_the_class_frequencies_of_galaxy10():
    pop = population.draw(2000, torch.Generator().manual_seed(4), balance="galaxy10")
    counts = torch.bincount(pop["galaxy10"], minlength=10).double()
    expected = torch.tensor(COUNTS).double() / sum(COUNTS) * 2000
    assert len(pop["z"]) == 2000
    assert (counts - expected).abs().max() < 10
    assert (pop["galaxy10"][:1000].unique().numel(), pop["galaxy10"][1000:].unique().numel()) == (10, 10)


def test_balanced_galaxies_are_plain_examples_of_their_class():
    """Galaxy10 holds galaxies on whose class people agreed; an unselected survey holds others too."""
    pop = population.draw(2000, torch.Generator().manual_seed(4), balance="galaxy10")
    label = pop["galaxy10"]
    smooth = (label >= classes.ROUND) & (label <= classes.CIGAR)
    assert pop["quiescent"][smooth].float().mean() > 0.9
    assert (pop["f_young"] * pop["knot_fraction"])[smooth].max() < classes.KNOT_LIGHT
    assert pop["lopsided"][smooth].max() < classes.EVEN < pop["lopsided"][label == classes.DISTURBED].min()
    assert pop["companion_flux"][label == classes.MERGING].min() > classes.PLAIN_COMPANION
    ratio = classes.axis_ratio(pop)
    assert ratio[label == classes.CIGAR].max() < classes.LONGER < ratio[label == classes.IN_BETWEEN].min()
    assert ratio[label == classes.IN_BETWEEN].max() < classes.ROUNDER < ratio[label == classes.ROUND].min()
    whole = population.draw(2000, torch.Generator().manual_seed(4))
    assert 0.2 < classes.agreed(whole).float().mean() < 0.8


def test_unknown_balance_is_refused():
    with pytest.raises(ValueError, match="galaxy10"):
        population.draw(10, torch.Generator(), balance="zoo")


def test_classes_follow_the_generating_parameters(survey):
    label = survey["galaxy10"]
    assert torch.equal(label == classes.MERGING, survey["merger"])
    disturbed = label == classes.DISTURBED
    assert (survey["disturbance"][disturbed] > classes.DISTURBANCE).all()
    for edge_on in (classes.EDGE_ON, classes.EDGE_ON_BULGE):
        assert (survey["q_app"][label == edge_on] < classes.EDGE_ON_AXIS_RATIO).all()
    bulge = structure.bulge_light(survey)
    assert bulge[label == classes.EDGE_ON].max() <= classes.EDGE_ON_BULGE_LIGHT < bulge[label == 9].min()
    assert (survey["bar"][label == classes.BARRED] > 0).all()
    assert survey["pitch"][label == classes.TIGHT].max() < survey["pitch"][label == classes.LOOSE].min()
    for smooth in (classes.ROUND, classes.IN_BETWEEN):
        visible = (survey["n_arms"] > 0) & (survey["arm_contrast"] > classes.VISIBLE_CONTRAST)
        assert not visible[label == smooth].any()
    assert classes.axis_ratio(survey)[label == classes.ROUND].min() > classes.ROUND_AXIS_RATIO


def test_distances_against_astropy():
    FlatLambdaCDM = pytest.importorskip("astropy.cosmology").FlatLambdaCDM
    model = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0)
    z = torch.tensor([0.01, 0.05, 0.1, 0.2, 0.8], dtype=torch.float64)
    assert torch.allclose(cosmology.luminosity_distance(z), torch.tensor(model.luminosity_distance(z.numpy()).value))
    scale = torch.tensor(model.kpc_proper_per_arcmin(z.numpy()).value) / 60
    assert torch.allclose(cosmology.kpc_per_arcsec(z), scale)
    assert torch.allclose(cosmology.redshift_at(cosmology.comoving_distance(z)), z, atol=1e-7)
