"""Positions that are not RA and Dec in degrees are refused, with the way to convert them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import CooSys
from astropy.table import Table

from galcli.errors import InputError
from galcli.sky.catalog import open_catalog
from galcli.sky.systems import HourCheck


def write(path: Path, units: dict[str, str] | None = None, cards: dict[str, Any] | None = None, **columns: Any) -> Path:
    table = Table(columns)
    for name, unit in (units or {}).items():
        table[name].unit = unit
    hdu = fits.BinTableHDU(table)
    hdu.header.update(cards or {})
    hdu.writeto(path)
    return path


@pytest.mark.parametrize("unit", ["h", "hourangle", "rad", "arcsec"])
@pytest.mark.parametrize("form", ["ascii.ecsv", "votable", "parquet"])
def test_unit_other_than_degrees(tmp_path: Path, form: str, unit: str) -> None:
    table = Table({"ra": [1.0], "dec": [2.0]})
    table["ra"].unit = unit
    table.write(tmp_path / "a", format=form)
    spelled = "15 deg" if (form, unit) == ("votable", "hourangle") else unit
    with pytest.raises(InputError, match=f"column ra is in {spelled}") as caught:
        open_catalog(tmp_path / "a")
    words = {"h": "multiply ra by 15", "hourangle": "multiply ra by 15", "rad": "numpy.degrees", "arcsec": "SkyCoord"}
    assert words[unit] in caught.value.hint


@pytest.mark.parametrize("cards", [{"COORDSYS": "G"}, {"RADESYS": "GALACTIC"}, {"COORDSYS": "ecliptic"}])
def test_system_of_the_header(tmp_path: Path, cards: dict[str, str]) -> None:
    path = write(tmp_path / "a.fits", cards=cards, LON=[1.0], LAT=[2.0])
    with pytest.raises(InputError, match=r"no equatorial coordinates: they are (Galactic|ecliptic)") as caught:
        open_catalog(path)
    assert "SkyCoord" in caught.value.hint
    with open_catalog(path, ra_column="LON", dec_column="LAT") as catalog:  # the user knows better
        assert catalog.ra_name == "LON"
    with open_catalog(write(tmp_path / "b.fits", cards=cards, LON=[1.0], LAT=[2.0], RA=[3.0], DEC=[4.0])) as catalog:
        assert catalog.ra_name == "RA"


def test_system_of_a_votable(tmp_path: Path) -> None:
    votable = from_table(Table({"lon": [1.0], "lat": [2.0]}))
    votable.resources[0].coordinate_systems.append(CooSys(ID="sys", system="galactic"))
    votable.to_xml(str(tmp_path / "a.vot"))
    with pytest.raises(InputError, match=r"Galactic \(COOSYS = galactic\)"):
        open_catalog(tmp_path / "a.vot")


@pytest.mark.parametrize("cards", [{"ORDERING": "RING"}, {"HPXNEST": False}, {"ORDERING": "ring    "}])
def test_ring_order(tmp_path: Path, cards: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="RING order") as caught:
        open_catalog(write(tmp_path / "a.fits", cards=cards, RA=[1.0], DEC=[2.0]))
    assert "healpy.ring2nest" in caught.value.hint


def test_ring_order_of_one_of_several_catalogues(tmp_path: Path) -> None:
    paths = [write(tmp_path / order, cards={"ORDERING": order}, RA=[1.0], DEC=[2.0]) for order in ("NESTED", "RING")]
    for pair in (paths, paths[::-1]):
        with pytest.raises(InputError, match=r"RING HDU 1: ORDERING = RING"):
            open_catalog(pair)


@pytest.mark.parametrize("cards", [{"ORDERING": "NESTED"}, {"HPXNEST": True}])
def test_nested_order(tmp_path: Path, cards: dict[str, Any]) -> None:
    with open_catalog(write(tmp_path / "a.fits", cards=cards, RA=[1.0], DEC=[2.0])) as catalog:
        assert catalog.nrows == 1


def judged(ra: Any, dec: Any, pieces: int = 3, tables: Sequence[tuple[str, int]] = ()) -> str:
    """What is said of positions that come in pieces, whatever tables they are from."""
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    check, start = HourCheck(tables or [("a.csv", len(ra))]), 0
    for part in np.array_split(np.arange(len(ra)), pieces):
        check.see(start, ra[part], dec[part])
        start += len(part)
    try:
        check.judge("a.csv", "ra")
    except InputError as error:
        return f"{error.message}; {error.hint}"
    return ""


def test_hours_are_told_by_their_range() -> None:
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 24, 1000), rng.uniform(-40, 60, 1000)
    assert "looks like hours" in judged(ra, dec)
    assert "looks like hours" in judged(ra[:30], dec[:30])
    assert "--ra-column ra" in judged(ra, dec)
    ra[5], dec[9] = np.nan, np.inf
    assert "looks like hours" in judged(ra, dec)
    for other, more in [
        (15 * ra, dec),
        (ra[:19], dec[:19]),
        (ra * 0.8, dec),
        (ra, dec * 0.5),
        (ra - 1, dec),
        (ra + 1, dec),
    ]:
        assert judged(other, more) == ""
    assert judged([], []) == ""


def test_hours_beside_degrees_are_told_by_the_range_of_each_catalogue() -> None:
    rng = np.random.default_rng(0)
    hours, degrees, dec = rng.uniform(0, 24, 500), rng.uniform(0, 360, 300), rng.uniform(-40, 60, 800)
    tables = [("degrees.csv", 300), ("hours.csv", 500)]
    for pieces in (1, 3, 8):
        assert judged([*degrees, *hours], dec, pieces, tables).startswith("hours.csv: ra looks like hours")
        assert not judged([*degrees, *hours * 15], dec, pieces, tables)
    halves = [("a.csv", 10), ("b.csv", 490)]  # one of them too small to be judged by itself
    assert judged(hours, dec[:500], tables=halves)
    assert judged(hours[:30], dec[:30], tables=[("x.csv", 15), ("y.csv", 15)]).startswith("a.csv: ra")
