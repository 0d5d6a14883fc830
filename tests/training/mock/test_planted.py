import contextlib

import numpy as np
import pytest
import torch

from galcli.sky.catalog import open_catalog
from galcli.training.mock import planted
from galcli.training.mock.survey import write_planted
from galcli.training.recipes.mass_plan import EXTINCTION, MASSES, TARGET


@pytest.fixture(scope="module")
def table():
    return planted.table(200_000, torch.Generator().manual_seed(1))


def test_columns_are_standard(table):
    assert set(table) == {f"P{k}" for k in range(1, 7)} | {"Y"} | {f"{s}{k}" for s in "QC" for k in range(1, 5)}
    for name in ("P1", "P2", "P3", "P4", "P5", "P6", "Q1", "Q2", "Q3", "Q4", "C1", "C2", "C3"):
        assert abs(table[name].mean()) < 0.01, name
        assert abs(table[name].std() - 1) < 0.01, name
    assert abs(table["Y"].var() / planted.Y_VARIANCE - 1) < 0.02


def test_densities_are_normalised_and_match_the_sample(table):
    residual = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    fake = {"Y": residual} | {f"P{k}": torch.full_like(residual, 0.7) for k in range(1, 7)}
    for given in ((), ("P1",), ("P1", "P2"), ("P1", "P3"), ("P5",), ("P5", "P6")):
        density = planted.log_density(fake, given).exp()
        assert float(density.sum() * 1e-3) == pytest.approx(1, abs=1e-3), given
    # the entropy of Y from its density equals that of a histogram
    entropy = -planted.log_density(table, ()).mean()
    counts = torch.histc(table["Y"], 200, -12, 12).double()
    p = counts / counts.sum()
    by_histogram = -(p * (p.clamp_min(1e-12) / (24 / 200)).log()).sum()
    assert abs(entropy - by_histogram) < 0.01


def test_density_given_mixed_columns_is_refused(table):
    with pytest.raises(ValueError, match="no closed density"):
        planted.log_density(table, ("P1", "P5"))


def test_truth_is_reproduced():
    small = planted.monte_carlo(400_000, torch.Generator().manual_seed(9))
    for pair, row in planted.TRUTH.items():
        assert small[pair] == pytest.approx(row, abs=6e-3), pair


def test_gaussian_copies_share_and_unique_parts_do_not():
    rows = {pair: dict(zip(planted.QUANTITIES, row, strict=True)) for pair, row in planted.TRUTH.items()}
    copies, unique, nothing, synergy = (rows[pair] for pair in planted.PAIRS)
    assert copies["R_POP"] > 5 * copies["S_POP"]
    assert unique["I12"] > unique["I1"] + unique["I2"]  # two independent causes explain each other away
    assert nothing["I2"] == 0
    assert nothing["I12"] == pytest.approx(nothing["I1"], abs=1e-3)
    assert synergy["S_POP"] > 4 * synergy["R_POP"]
    # the pointwise minimum rule can go negative; the population rule cannot
    assert nothing["R_POINT"] < 0 < nothing["U1_POP"]
    for row in rows.values():
        assert min(row["R_POP"], row["U1_POP"], row["U2_POP"], row["S_POP"]) >= 0
        for rule in ("POINT", "POP"):
            total = sum(row[f"{part}_{rule}"] for part in ("R", "U1", "U2", "S"))
            assert total == pytest.approx(row["I12"], abs=1e-3)


def test_dependence_of_the_pairs(table):
    def residual(y, c):
        c = (c - c.mean()) / c.std()
        design = torch.stack([torch.ones_like(c), c], 1)
        return y - design @ torch.linalg.lstsq(design, y[:, None]).solution[:, 0]

    for name, (plain, partial) in planted.correlations().items():
        q, c = table[name], table[name.replace("Q", "C")]
        assert torch.corrcoef(torch.stack([table["Y"], q]))[0, 1] == pytest.approx(plain, abs=0.01), name
        pair = torch.stack([residual(table["Y"], c), residual(q, c)])
        assert torch.corrcoef(pair)[0, 1] == pytest.approx(partial, abs=0.01), name


def test_answers_are_the_tables_of_the_truth():
    information, dependence = planted.answers([("MOCK", True, "")])
    assert [column.name for column in information.columns] == ["X1", "X2", *planted.QUANTITIES]
    row = list(information.data["X1"]).index(b"P5")
    assert information.data["S_POP"][row] == planted.TRUTH["P5", "P6"][-1]
    assert list(dependence.data["Q"]) == [b"Q1", b"Q2", b"Q3", b"Q4"]
    assert dependence.data["R_GIVEN_C"][2] == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_catalogue_is_the_table_with_masses_and_places(seed):
    n = 100_000
    plain = planted.table(n, torch.Generator().manual_seed(seed))
    hdu = planted.catalogue(n, torch.Generator().manual_seed(seed), [])
    data = hdu.data
    assert [column.name for column in hdu.columns] == ["RA", "DEC", EXTINCTION, TARGET.upper(), *plain]
    for name, values in plain.items():
        np.testing.assert_array_equal(data[name], values)
    mass = data[TARGET.upper()]
    np.testing.assert_allclose(mass, planted.MIDDLE + planted.SCALE * data["Y"], rtol=1e-12)
    assert MASSES[0] < mass.min() < mass.max() < MASSES[1]
    assert (np.floor(data["RA"] / 90) == np.arange(4)[:, None]).mean(1) == pytest.approx(0.25, abs=0.01)
    assert (np.sin(np.radians(data["DEC"])) > [[-0.5], [0], [0.5]]).mean(1) == pytest.approx(
        [0.75, 0.5, 0.25], abs=0.01
    )
    assert 0 <= data[EXTINCTION].min() < data[EXTINCTION].max() <= planted.REDDEST
    for name in ("RA", "DEC", *plain):
        assert abs(np.corrcoef(data[EXTINCTION], data[name])[0, 1]) < 0.02, name


def test_file_is_read_as_a_catalogue_of_galaxies(tmp_path):
    path = write_planted(tmp_path, 500, 4)
    with contextlib.closing(open_catalog(path)) as catalog:
        assert (catalog.nrows, catalog.ra_name, catalog.dec_name, catalog.mock) == (500, "RA", "DEC", True)
        assert "information about it is that about Y" in catalog.column_meta(TARGET).description
        assert len(catalog.read(np.arange(500), [TARGET])) == 500
