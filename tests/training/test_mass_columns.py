"""Galaxies of a catalogue that networks for stellar mass learn from: which rows, and what is missing in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky import healpix
from galcli.sky.catalog import open_catalog
from galcli.training.data import SPLIT_ORDER
from galcli.training.recipes.mass_columns import KNOWN, bind, words
from galcli.training.recipes.mass_data import TEST, TRAIN, VALIDATION, Source, gather
from galcli.training.recipes.mass_plan import Inputs
from tests.survey import write_catalog, write_stamp


def write_masses(path: Path, n: int, units: dict[str, str] | None = None, **more: NDArray[Any]) -> Path:
    """A catalogue of galaxies in no good order: nearer ones first."""
    draw = np.random.default_rng(4)
    columns = {"OBJECT_ID": np.arange(n), "RA": np.linspace(0, 359, n), "DEC": draw.uniform(-60, 60, n),
               "EBV": np.linspace(0.01, 0.1, n), "Z": np.linspace(0.01, 0.3, n), "lgm_tot_p50": np.linspace(9, 11, n)}  # fmt: skip
    return write_catalog(path, units, **columns | more)


def test_some_galaxies_of_a_catalogue_are_any(tmp_path: Path) -> None:
    """By the seed, each once and in order, and what is known of one stands side by side."""
    n = 3000
    source = Source(tmp_path / "cache", 5, 300, catalog=write_masses(tmp_path / "c.fits", n))
    galaxies = gather(Inputs(("Z",)), 0, source)
    assert len(galaxies) == 300
    row = (galaxies.columns["Z"].astype(np.float64) - 0.01) / 0.29 * (n - 1)
    np.testing.assert_allclose(row, np.rint(row), atol=0.01)
    assert (np.diff(np.rint(row)) > 0).all()
    assert np.histogram(row, 3, (0, n))[0].min() > 60, "from all of the catalogue"
    np.testing.assert_allclose(galaxies.target, 9 + 2 * row / (n - 1), atol=1e-4)
    np.testing.assert_array_equal(gather(Inputs(("Z",)), 0, source).target, galaxies.target)
    assert (gather(Inputs(("Z",)), 0, replace(source, seed=6)).target != galaxies.target).any()
    assert len(gather(Inputs(("Z",)), 0, replace(source, objects=n + 1))) == n


def test_some_galaxies_with_images_are_the_same(tmp_path: Path) -> None:
    n = 40
    catalog = write_masses(tmp_path / "c.fits", n, RA=np.linspace(10, 11, n), DEC=np.linspace(0, 1, n))
    (tmp_path / "cutouts").mkdir()
    for row in range(n):
        pixels = np.full((5, 64, 64), row + 1, np.float32) * np.random.default_rng(row).uniform(0.9, 1.1, (5, 64, 64))
        write_stamp(tmp_path / "cutouts" / f"{row}.fits", pixels.astype(np.float32), 10 + row / (n - 1), row / (n - 1),
                    "ugriz", np.diag([-0.396, 0.396]) / 3600)  # fmt: skip
    source = Source(tmp_path / "cache", 5, 25, catalog=catalog)
    seen, bare = gather(Inputs(("Z",), "r"), 0, source), gather(Inputs(("Z",)), 0, source)
    assert seen.stamps is not None
    np.testing.assert_array_equal(seen.columns["Z"], bare.columns["Z"])
    np.testing.assert_array_equal(seen.target, bare.target)
    row = np.rint((seen.columns["Z"] - 0.01) / 0.29 * (n - 1))
    brightness = seen.stamps.pixels[:, 2].astype(np.float64).mean((1, 2)) / (0.396 / 0.262) ** 2
    np.testing.assert_allclose(brightness, row + 1, rtol=0.01)


def test_tiles_are_validated_with_or_tested(tmp_path: Path) -> None:
    """No two parts share a HEALPix tile."""
    n = 3000
    draw = np.random.default_rng(1)
    where = {"RA": draw.uniform(0, 40, n), "DEC": draw.uniform(0, 30, n)}
    catalog = write_masses(tmp_path / "c.fits", n, **where)
    galaxies = gather(Inputs(("Z",)), 0, Source(tmp_path, 5, catalog=catalog), split="tile")
    tile = healpix.pixel(where["RA"], where["DEC"], SPLIT_ORDER)
    parts = [set(tile[galaxies.rows(part)].tolist()) for part in (TRAIN, VALIDATION, TEST)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    sizes = [len(galaxies.rows(part)) / n for part in (TRAIN, VALIDATION, TEST)]
    np.testing.assert_allclose(sizes, [0.8, 0.1, 0.1], atol=0.05)
    write_masses(catalog, n, RA=np.full(n, 7.0), DEC=np.full(n, 7.0))
    with pytest.raises(InputError, match="are held out lie in one HEALPix tile of order 4"):
        gather(Inputs(("Z",)), 0, Source(tmp_path, 5, catalog=catalog), split="tile")


def test_sentinels_of_surveys_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of SDSS, SExtractor and LAMBDAR, in mag as in mmag; errors that none has; what is no redshift."""
    n = 100
    mag, error, redshift = np.full(n, 17800.0), np.full(n, 0.03), np.full(n, 0.1)
    mag[:7] = 99, -99, -999, 999, -9999, 9999, 99000
    error[:5] = -1000, -9999, -1, 0, 99
    redshift[:4] = -9999, -1, 17.8, 99
    catalog = write_masses(tmp_path / "c.fits", n, {"petroMag_r": "mmag", "petroR50_r": "furlong"}, petroMag_r=mag,
                           petroMagErr_r=error, Z=redshift, petroR50_r=np.full(n, 3.0))  # fmt: skip
    names = ("petroMag_r", "petroMagErr_r", "Z", "petroR50_r")
    galaxies = gather(Inputs(names), 0, Source(tmp_path, 5, catalog=catalog))
    for name, value, missing in zip(names, (17.8, 0.03, 0.1, 3), (7, 5, 4, 0), strict=True):
        np.testing.assert_allclose(galaxies.columns[name], [np.nan] * missing + [value] * (n - missing), rtol=1e-6)
    told = capsys.readouterr().err
    assert "columns: petroMag_r from petroMag_r" in told
    assert "petroR50_r from petroR50_r (unit 'furlong' not understood; taken as arcsec)\n" in told


def test_a_network_does_without_some_columns(tmp_path: Path) -> None:
    path = write_masses(tmp_path / "c.fits", 20)
    with open_catalog(path) as catalog:
        assert bind(catalog, ("Z", "w1mpro"), optional={"w1mpro", "Z"}).absent == ("w1mpro",)
        for names, optional in (
            (("Z", "w1mpro"), ()),
            (("w1mpro", "petroMag_r"), {"w1mpro"}),
            (("w3mpro",), {"w3mpro"}),
        ):
            with pytest.raises(InputError, match="the network needs column"):
                bind(catalog, names, optional=optional)


@pytest.mark.parametrize("spelled", ["Z", "z_spec", "redshift"])
def test_other_names_of_a_column_are_words_for_it(tmp_path: Path, spelled: str) -> None:
    """Also those that the catalogue does not use; but its own columns come first, and the mass has no word."""
    n = 20
    columns = {"OBJECT_ID": np.arange(n), "RA": np.linspace(0, 9, n), "DEC": np.zeros(n), spelled: np.full(n, 0.1),
               "petroMag_r": np.full(n, 17.0), "lgm_tot_p50": np.full(n, 10.0)}  # fmt: skip
    with open_catalog(write_catalog(tmp_path / "c.fits", **columns)) as catalog:
        found = {word.lower(): name for word, name in words(catalog, (), "lgm_tot_p50").items()}
        assert [found[word] for word in ("z", "z_spec", "zspec", "redshift")] == ["Z"] * 4
        assert not {"ebv", "e_bv", "w1mag", "petroflux_r", "flux_r"} & set(found), (
            "none of these is there, a flux is its own"
        )
        assert not {"z", "zspec", "redshift"} & set(words(catalog, (), spelled)), "it is the mass"
    both = columns | {"ZSPEC": np.full(n, 0.2)}
    with open_catalog(write_catalog(tmp_path / "d.fits", **both)) as catalog:
        found = {word.lower(): name for word, name in words(catalog, (), "lgm_tot_p50").items()}
        own = "Z" if spelled == "redshift" else "ZSPEC"  # the redshift is the first name that the catalogue has
        assert (found["zspec"], found["z"]) == (own, "Z")


def test_no_mock_galaxy_lies_out_of_range(tmp_path: Path) -> None:
    """A catalogue of mock galaxies is read as the galaxies are that networks learn from."""
    names = KNOWN[:-1]  # the mass is what is estimated
    drawn = gather(Inputs(names), 0, Source(tmp_path, 5, 1000))
    catalog = write_masses(tmp_path / "c.fits", len(drawn), **drawn.columns)
    read = gather(Inputs(names), 0, Source(tmp_path, 5, catalog=catalog))
    for name in names:
        np.testing.assert_array_equal(read.columns[name], drawn.columns[name])
