"""Catalogues that surveys gave out, in the formats they chose."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.catalog import open_catalog

DATA = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared/data"))
TARGETS = DATA / "legacy-dr6-brick/py/desitarget/test/t"
TABLES = DATA / "tables"

pytestmark = pytest.mark.skipif(not TARGETS.is_dir(), reason=f"no real data in {DATA} (GALCLI_REAL_DATA)")


def rows_of(*paths: Path, names: tuple[str, ...] = ()) -> NDArray[Any]:
    with open_catalog(paths) as catalog:
        return np.concatenate(list(catalog.chunks(names, size=1000)))


def test_sweeps_and_tractor_files_are_named_as_desi_names_them() -> None:
    """TARGETID = RELEASE, BRICKID and OBJID in 16, 20 and 22 bits (desitarget.targets.encode_targetid)."""
    targets = fitsio.read(TARGETS / "cmx-targets.fits", columns=["TARGETID", "BRICKID", "BRICK_OBJID", "RELEASE", "RA"])
    packed = [(int(r["RELEASE"]) << 42) + (int(r["BRICKID"]) << 22) + int(r["BRICK_OBJID"]) for r in targets]
    assert packed == targets["TARGETID"].tolist()
    for kind in ("sweep", "tractor"):
        paths = sorted(TARGETS.glob(f"{kind}-*.fits"))
        assert len(paths) == 3
        rows = rows_of(*paths)
        stored = np.concatenate([fitsio.read(path, columns=["RELEASE", "BRICKID", "OBJID", "RA"]) for path in paths])
        expected = [(int(r["RELEASE"]) << 42) + (int(r["BRICKID"]) << 22) + int(r["OBJID"]) for r in stored]
        assert rows["id"].tolist() == expected
        np.testing.assert_array_equal(rows["ra"], stored["RA"])
        assert len(set(expected)) == len(expected)
        if kind == "sweep":
            assert set(expected) & set(targets["TARGETID"].tolist())


@pytest.mark.parametrize(
    ("name", "ra", "identifier"),
    [
        ("galaxy10-coords/Galaxy10_coord.csv", "RA", None), ("gz1-sdss-masses/data/galaxies.csv", "ra", "id"),
        ("gswlc-sga/combined.csv", "RAdeg", None),
    ],
)  # fmt: skip
def test_text_tables_keep_every_row_and_digit(name: str, ra: str, identifier: str | None) -> None:
    with (TABLES / name).open(newline="") as file:
        truth = list(csv.DictReader(file))
    with open_catalog(TABLES / name) as catalog:
        assert (catalog.ra_name, catalog.id_name, catalog.nrows) == (ra, identifier, len(truth))
        rows = np.concatenate(list(catalog.chunks(size=999)))
    np.testing.assert_array_equal(rows["ra"], [float(row[ra] or "nan") for row in truth])
    if identifier:
        assert rows["id"].tolist() == [int(row[identifier]) for row in truth]


def test_blanks_and_sentinels_of_a_text_table() -> None:
    """The table has blanks where a number is missing, and -9999 where its makers said so."""
    path = TABLES / "gz1-sdss-masses/data/galaxies.csv"
    rows = rows_of(path, names=("redshift", "mag_u", "stellar_mass"))
    with path.open(newline="") as file:
        truth = list(csv.DictReader(file))
    blank = [row["redshift"] == "" for row in truth]
    assert 0 < sum(blank) < 10
    np.testing.assert_array_equal(np.isnan(rows["redshift"]), blank)
    assert np.isnan(rows["dec"]).sum() == sum(row["dec"] == "" for row in truth)
    assert (rows["mag_u"] == -9999).sum() == sum(row["mag_u"] == "-9999" for row in truth)


def test_a_table_without_positions_is_refused_by_its_columns() -> None:
    path = TABLES / "gz1-sdss-masses/data/galaxies-clean.csv"
    with open_catalog(path) as catalog, pytest.raises(InputError, match=r"no right ascension .* among id, redshift"):
        catalog.require_coordinates()


def test_ecsv_of_desi() -> None:
    path = DATA / "desi-spectra/py/fastspecfit/test/data/emlines.ecsv"
    with open_catalog(path) as catalog:
        assert catalog.nrows == 47
        assert catalog.id_name == "name"
        rows = next(catalog.chunks(["restwave", "isbalmer"]))
    assert rows["id"][0] == b"lyalpha"
    assert rows["restwave"][0] == 1215.67
    assert rows["isbalmer"].dtype == bool
