import numpy as np
import pytest
import torch

from galcli.training.mock import catalogue, lines, photometry, population

units = pytest.importorskip("astropy.units")


@pytest.fixture(scope="module")
def survey():
    return population.draw(6000, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def columns(survey):
    return catalogue.observe(survey, torch.Generator().manual_seed(2))


def test_columns_of_the_spec(survey, columns):
    expected = {"Z", "EBV", "w1mpro", "w2mpro", "w3mpro", "w1sigmpro", "w2sigmpro", "lgm_tot_p50", "sfr_tot_p50"}
    expected |= {"oh_p50", "bptclass", "galaxy10"} | {f"TRUE_{key.upper()}" for key in survey}
    for name in ("petroMag", "petroMagErr", "petroR50", "petroR90", "expAB", "Sersic_n"):
        expected |= {f"{name}_{band}" for band in "ugriz"}
    assert expected <= set(columns)
    assert len({name.upper() for name in columns}) == len(columns)  # FITS does not tell case apart


def test_types_units_and_finiteness(columns):
    for name, column in columns.items():
        assert column.values.shape == (6000,), name
        assert column.values.dtype in (np.float32, np.int16, np.bool_), name
        assert np.isfinite(column.values.astype(float)).all(), name
        assert column.values.flags["C_CONTIGUOUS"], name
        units.Unit(column.unit, format="fits")
        assert column.description


def test_abundances_only_where_the_lines_allow(survey, columns):
    oh, code = columns["oh_p50"].values, columns["bptclass"].values
    assert ((oh > 0) == (code == lines.STAR_FORMING)).all()
    assert (oh[oh < 0] == -9999).all()
    assert np.array_equal(oh[oh > 0], survey["oh"].numpy()[oh > 0])


def test_magnitudes_agree_with_truth(columns):
    for band in "gri":
        true = 22.5 - 2.5 * np.log10(columns[f"TRUE_FLUX_{band.upper()}"].values)
        difference = columns[f"petroMag_{band}"].values - true
        assert 0 < np.median(difference) < 0.12  # Petrosian apertures miss some light, never add
    assert np.median(columns["petroMagErr_u"].values) > 3 * np.median(columns["petroMagErr_r"].values)


def test_radii_of_a_pure_disc():
    """An exponential disc seen face-on: half of its light inside 1.66 h, 90 % of the aperture's inside 3.78 h."""
    one = torch.ones(1)
    pop = {"r50": 1.678 * one, "h_disc": one, "re_bulge": one, "n_bulge": 4 * one, "q_bulge": one, "q_app": one}
    r50, r90, inside = photometry.radii(pop, torch.zeros(1, 1))
    assert r50.item() == pytest.approx(1.66, rel=0.01)
    assert r90.item() == pytest.approx(3.78, rel=0.01)
    assert inside.item() > 0.98


def test_index_of_pure_profiles():
    ratio, n = photometry._concentration("cpu")
    assert (ratio.diff() > 0).all()
    at = torch.tensor([1.0, 4.0])
    assert photometry.interp(at, n, ratio).tolist() == pytest.approx([2.30, 3.1], abs=0.25)


def test_early_types_are_concentrated_and_gradients_are_red(survey, columns):
    early = survey["quiescent"].numpy() & (survey["bt"].numpy() > 0.5)
    late = ~survey["quiescent"].numpy()
    concentration = columns["petroR90_r"].values / columns["petroR50_r"].values
    assert np.median(concentration[early]) > np.median(concentration[late]) + 0.2
    assert np.median(columns["Sersic_n_r"].values[early]) > 2.5 > 1.6 > np.median(columns["Sersic_n_r"].values[late])
    spiral = late & (survey["bt"].numpy() > 0.15)
    assert np.median(columns["petroR50_g"].values[spiral] / columns["petroR50_i"].values[spiral]) > 1.01


def test_colours_tell_metallicity_but_not_all_of_it(survey, columns):
    ensemble = pytest.importorskip("sklearn.ensemble")
    labelled = columns["oh_p50"].values > 0
    magnitude = np.stack([columns[f"petroMag_{band}"].values for band in "ugriz"], 1)[labelled]
    oh = columns["oh_p50"].values[labelled]
    colour = magnitude[:, :-1] - magnitude[:, 1:]
    forest = ensemble.RandomForestRegressor(40, min_samples_leaf=4, random_state=0, n_jobs=1)

    def rmse(features):
        half = len(oh) // 2
        error = forest.fit(features[:half], oh[:half]).predict(features[half:]) - oh[half:]
        return float(np.sqrt(np.mean(error**2)))

    colours_only = rmse(colour)
    structure = np.stack([survey[k].numpy()[labelled] for k in ("disturbance", "q_app", "bt")], 1)
    radius = np.log10(columns["petroR50_r"].values[labelled])
    assert 0.10 < colours_only < 0.13
    assert rmse(np.column_stack([colour, magnitude[:, 2], radius, structure])) < 0.9 * colours_only
