"""Catalogues as surveys write them: names found, identifiers kept to the last digit, coordinates in degrees."""

from __future__ import annotations

import importlib.resources
import json
import os
import time
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.catalog import Catalog, open_catalog

REAL = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def write(path: Path, units: dict[str, str] | None = None, **columns: Any) -> Path:
    table = Table({name: np.asarray(values) for name, values in columns.items()})
    for name, unit in (units or {}).items():
        table[name].unit = unit
    table.write(path, format="fits", overwrite=True)
    return path


def rows_of(catalog: Catalog, names: tuple[str, ...] = (), size: int = 7) -> NDArray[Any]:
    with catalog:
        parts = list(catalog.chunks(names, size))
        return np.concatenate(parts) if parts else np.empty(0, catalog.dtype(names))


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("RA", "DEC"), ("ra", "dec"), ("TARGET_RA", "TARGET_DEC"), ("RAJ2000", "DEJ2000"), ("RA_ICRS", "DE_ICRS"),
        ("ALPHA_J2000", "DELTA_J2000"), ("raMean", "decMean"), ("RAdeg", "DEdeg"),
        ("right_ascension", "declination"), ("RA_1", "DEC_1"),
    ],
)  # fmt: skip
def test_coordinates_are_found(tmp_path: Path, ra: str, dec: str) -> None:
    path = write(tmp_path / "a.fits", **{"Z": [0.1, 0.2], dec: [-5.0, 6.0], ra: [10.0, 20.0]})
    catalog = open_catalog(path)
    assert (catalog.ra_name, catalog.dec_name) == (ra, dec)
    rows = rows_of(catalog)
    assert rows["ra"].tolist() == [10.0, 20.0]
    assert rows["dec"].tolist() == [-5.0, 6.0]


@pytest.mark.parametrize(
    "name", ["TARGETID", "objID", "source_id", "object_id", "SPECOBJID", "LS_ID", "ID", "iauname", "COADD_OBJECT_ID"]
)
def test_identifier_is_found(tmp_path: Path, name: str) -> None:
    values = ["a", "b"] if name == "iauname" else [7, 8]
    catalog = open_catalog(write(tmp_path / "a.fits", **{"ra": [1.0, 2.0], "dec": [1.0, 2.0], name: values}))
    assert catalog.id_name == name
    catalog.close()


KNOWN = json.loads(importlib.resources.files("galcli.schemas").joinpath("catalog.json").read_text())


@pytest.mark.parametrize("names", KNOWN["coordinates"], ids=lambda names: names["ra"])
def test_every_listed_pair_of_coordinates_is_found(tmp_path: Path, names: dict[str, str]) -> None:
    catalog = open_catalog(write(tmp_path / "a.fits", **{names["ra"]: [10.0], names["dec"]: [-5.0]}))
    assert (catalog.ra_name, catalog.dec_name) == (names["ra"], names["dec"])
    catalog.close()


@pytest.mark.parametrize("name", [entry["name"] for entry in KNOWN["identifiers"]])
def test_every_listed_identifier_is_found(tmp_path: Path, name: str) -> None:
    catalog = open_catalog(write(tmp_path / "a.fits", **{"RA": [1.0], "DEC": [1.0], name: [7]}))
    assert catalog.id_name == name
    catalog.close()


def test_names_given_are_used_whatever_their_case(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", RA=[1.0], DEC=[2.0], my_ra=[3.0], my_dec=[4.0], Nr=[5])
    rows = rows_of(open_catalog(path, id_column="NR", ra_column="MY_RA", dec_column="my_dec"))
    assert rows.tolist() == [(5, 3.0, 4.0)]


def test_unknown_name_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", TARGET_RA=[1.0], TARGET_DEC=[2.0])
    with pytest.raises(InputError, match="TARGET_AR") as caught:
        open_catalog(path, ra_column="TARGET_AR", dec_column="TARGET_DEC")
    assert "TARGET_RA" in caught.value.hint
    with pytest.raises(InputError, match="only TARGET_DEC is named") as caught:
        open_catalog(write(tmp_path / "b.fits", X=[1.0], TARGET_DEC=[2.0]), dec_column="target_dec")
    assert "--ra-column" in caught.value.hint


def test_one_name_given_finds_its_twin(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", RA=[1.0], DEC=[2.0], RAJ2000=[3.0], DEJ2000=[4.0])
    with open_catalog(path, ra_column="raj2000") as catalog:
        assert catalog.dec_name == "DEJ2000"


@pytest.mark.parametrize("unit", ["h", "hourangle", "rad", "arcsec"])
def test_other_units_are_refused(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "a.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=[1.0]), fits.Column("DEC", "D", array=[1.0])])
    table.header["TUNIT1"] = unit
    table.writeto(path)
    with pytest.raises(InputError, match=f"RA is in {unit}"):
        open_catalog(path)


@pytest.mark.parametrize("unit", ["deg", "Degrees", "Angle[deg]", "[deg]", "'deg'", "decimal degrees"])
def test_degrees_may_be_spelled_in_many_ways(tmp_path: Path, unit: str) -> None:
    path = write(tmp_path / "a.fits", {"RA": "deg"}, RA=[1.0], DEC=[2.0])
    fits.setval(path, "TUNIT1", value=unit, ext=1)
    with open_catalog(path) as catalog:
        assert catalog.ra_name == "RA"


def test_sexagesimal_text_is_refused_unless_degrees_stand_beside_it(tmp_path: Path) -> None:
    text = {"RA": ["10:20:30.5"], "DEC": ["-05:00:00"]}
    with pytest.raises(InputError, match="RA is text") as caught:
        open_catalog(write(tmp_path / "a.fits", **text))
    assert "SkyCoord" in caught.value.hint
    with open_catalog(write(tmp_path / "b.fits", **text, RAdeg=[155.1], DEdeg=[-5.0])) as catalog:
        assert catalog.ra_name == "RAdeg"


def test_other_systems_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only glon, glat"):
        open_catalog(write(tmp_path / "a.fits", glon=[1.0], glat=[2.0]))
    with pytest.raises(InputError, match="only in hours"):
        open_catalog(write(tmp_path / "b.fits", RAh=[1.0], DEd=[2.0]))


def test_no_coordinates_matter_only_where_they_are_needed(tmp_path: Path) -> None:
    with open_catalog(write(tmp_path / "a.fits", ID=[3, 4], Z=[0.1, 0.2])) as catalog:
        with pytest.raises(InputError, match="ID, Z") as caught:
            catalog.require_coordinates()
        assert "--ra-column" in caught.value.hint
        rows = next(catalog.chunks(["Z"]))
    assert rows["id"].tolist() == [3, 4]
    assert np.isnan(rows["ra"]).all()


def test_identifiers_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    big = np.array([2**53 + 1, 2**63 - 1, -(2**63), 587728308563149023, 2**53 + 1])
    rows = rows_of(open_catalog(write(tmp_path / "a.fits", ID=big, ra=np.zeros(5), dec=np.zeros(5))))
    assert rows["id"].dtype == np.int64
    assert rows["id"].tolist() == big.tolist()  # duplicates stay too
    unsigned = np.array([2**64 - 1, 2**63 + 12345], np.uint64)
    rows = rows_of(open_catalog(write(tmp_path / "b.fits", ID=unsigned, ra=np.zeros(2), dec=np.zeros(2))))
    assert rows["id"].tolist() == unsigned.tolist()


def test_text_identifiers_lose_only_their_padding(tmp_path: Path) -> None:
    names = ["SDSS J1 ", "  1234567890123456789012", "x", ""]
    rows = rows_of(open_catalog(write(tmp_path / "a.fits", NAME=names, ra=np.zeros(4), dec=np.zeros(4))))
    assert rows["id"].tolist() == [b"SDSS J1", b"1234567890123456789012", b"x", b""]


def test_text_after_a_nul_is_junk(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", NAME=["abcdef", "uvwxyz"], ra=np.zeros(2), dec=np.zeros(2))
    raw = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(raw.replace(b"abcdef", b"ab\0def"))
    assert rows_of(open_catalog(tmp_path / "b.fits"))["id"].tolist() == [b"ab", b"uvwxyz"]


def test_identifier_that_is_not_ascii_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", NAME=["abcdef", "uvwxyz"], ra=np.zeros(2), dec=np.zeros(2))
    raw = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(raw.replace(b"uvwxyz", "uvwü ".encode()))
    with pytest.raises(InputError, match=r"NAME = .* in row 1 is not printable ASCII"):
        rows_of(open_catalog(tmp_path / "b.fits"))


def test_floating_point_is_no_identifier(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", ID=[1.0, 2.0], ra=[1.0, 2.0], dec=[1.0, 2.0])
    rows = rows_of(open_catalog(path))
    assert rows["id"].tolist() == [0, 1]  # not found: the row numbers
    with pytest.raises(InputError, match="cannot name rows") as caught:
        open_catalog(path, id_column="ID")
    assert "last digits" in caught.value.hint


def test_legacy_identifier_is_packed_as_desi_does(tmp_path: Path) -> None:
    columns = {"RELEASE": np.array([9010], "i2"), "BRICKID": np.array([330368], "i4"), "OBJID": np.array([42], "i4")}
    path = write(tmp_path / "a.fits", **columns, RA=[1.0], DEC=[2.0])
    catalog = open_catalog(path)
    assert catalog.id_name == "TARGETID"
    assert rows_of(catalog)["id"].tolist() == [(9010 << 42) + (330368 << 22) + 42]
    assert rows_of(open_catalog(path, id_column="objid"))["id"].tolist() == [42]
    columns["BRICKID"][0] = 1 << 20
    with pytest.raises(InputError, match="BRICKID = 1048576"):
        rows_of(open_catalog(write(tmp_path / "b.fits", **columns, RA=[1.0], DEC=[2.0])))


def test_null_coordinates_are_nan(tmp_path: Path) -> None:
    column = fits.Column("RA", "J", array=np.array([5, -999, 7]), null=-999)
    table = fits.BinTableHDU.from_columns([column, fits.Column("DEC", "E", array=np.array([1, 2, np.nan]))])
    table.writeto(tmp_path / "a.fits")
    rows = rows_of(open_catalog(tmp_path / "a.fits"))
    np.testing.assert_array_equal(rows["ra"], [5, np.nan, 7])
    np.testing.assert_array_equal(rows["dec"], [1, 2, np.nan])


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_catalogues(tmp_path: Path, n: int) -> None:
    data = np.zeros(n, [("ID", "i8"), ("RA", "f8"), ("DEC", "f8"), ("NAME", "S4"), ("V", "f4", (2,))])
    fitsio.write(tmp_path / "a.fits", data)
    rows = rows_of(open_catalog(tmp_path / "a.fits"), ("NAME", "V"))
    assert len(rows) == n
    assert rows["V"].shape == (n, 2)
    with open_catalog(tmp_path / "a.fits") as catalog:
        assert len(catalog.read(np.empty(0, np.int64), ["V"])) == 0


def test_a_thousand_columns(tmp_path: Path) -> None:
    columns = [fits.Column(f"C{i}", "E", array=np.full(3, i)) for i in range(997)]
    columns += [fits.Column("RA", "D", array=np.arange(3)), fits.Column("DEC", "D", array=np.arange(3))]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert rows_of(open_catalog(tmp_path / "a.fits"), ("C500",))["C500"].tolist() == [500] * 3


def test_columns_keep_the_name_they_were_asked_by(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", TARGETID=[9], id=[1], ra=[3.0], dec=[4.0], Flux=np.array([[1.0, 2.0]], "f4"))
    catalog = open_catalog(path)
    rows = rows_of(catalog, ("FLUX", "id", "ra"))
    assert rows.dtype.names == ("id", "ra", "dec", "FLUX", "ID", "RA")
    assert rows[0].tolist()[:3] == (9, 3.0, 4.0)
    assert rows["ID"].tolist() == [1]
    assert rows.dtype == catalog.dtype(("FLUX", "id", "ra"))


def test_chunks_and_single_rows_agree(tmp_path: Path) -> None:
    n = 100
    rng = np.random.default_rng(0)
    path = write(tmp_path / "a.fits", ID=rng.integers(0, 2**62, n), ra=rng.uniform(0, 360, n), dec=np.zeros(n))
    with open_catalog(path) as catalog:
        whole = np.concatenate(list(catalog.chunks(size=9)))
        chosen = rng.integers(0, n, 30)
        assert (catalog.read(chosen) == whole[chosen]).all()
        assert (np.concatenate(list(catalog.chunks(size=8, start=20, stop=50))) == whole[20:50]).all()
        assert len(np.concatenate(list(catalog.chunks(stop=10**9)))) == n


def test_column_meta(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns(
        [fits.Column("RA", "D"), fits.Column("DEC", "D"), fits.Column("MAG", "3E", unit="mag"), fits.Column("N", "I")]
    )
    table.header.update({"TNULL4": -1, "TCOMM3": "magnitudes", "TUCD3": "phot.mag"})
    table.header.comments["TTYPE4"] = "how many"
    table.writeto(tmp_path / "a.fits")
    with open_catalog(tmp_path / "a.fits") as catalog:
        mag, number = catalog.column_meta("mag"), catalog.column_meta("N")
    assert (mag.name, mag.shape, mag.unit, mag.description, mag.ucd) == ("MAG", (3,), "mag", "magnitudes", "phot.mag")
    assert (number.null, number.description, number.dtype) == (-1, "how many", np.int16)


def test_fingerprint_knows_content_layout_not_path(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"ID": [1, 2], "ra": [1.0, 2.0], "dec": [1.0, 2.0]}
    found = []
    for name, extra in (("a", {}), ("b", {}), ("c", {"Z": [1.0, 2.0]})):
        with open_catalog(write(tmp_path / f"{name}.fits", **columns, **extra)) as catalog:
            found.append(catalog.fingerprint())
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_ten_million_rows_would_take_seconds(tmp_path: Path) -> None:
    n = 500_000
    data = np.zeros(n, [("TARGETID", "i8"), ("RA", "f8"), ("DEC", "f8"), ("FLUX", "f4", (4,))])
    fitsio.write(tmp_path / "a.fits", data)
    with open_catalog(tmp_path / "a.fits") as catalog:
        start = time.perf_counter()
        rows = sum(len(chunk) for chunk in catalog.chunks())
        elapsed = time.perf_counter() - start
    assert rows == n
    assert elapsed < 1.0  # about 0.02 s on an idle core


def test_real_legacy_catalogues_give_the_targetids_of_desi() -> None:
    folder = REAL / "legacy-dr6-brick/py/desitarget/test/t"
    if not folder.exists():
        pytest.skip("no real catalogues here")
    targets = fitsio.read(folder / "cmx-targets.fits", columns=["TARGETID", "RA", "DEC"])
    packed = []
    for name in ("sweep-310m005-320p000.fits", "sweep-320m005-330p000.fits", "sweep-330m005-340p000.fits"):
        packed.append(rows_of(open_catalog(folder / name)))
    rows = np.concatenate(packed)
    shared = np.intersect1d(rows["id"], targets["TARGETID"])
    assert len(shared) > 0
    for number in shared:
        assert rows["ra"][rows["id"] == number][0] == targets["RA"][targets["TARGETID"] == number][0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("legacy-cutouts/yjan_gordon_joint_catalog.fits", (15, "objID", "ra", "dec")),
        ("tables/gswlc-sga/combxSGA.fits", (820, "SGA_ID", "RA", "DEC")),
        ("tables/gswlc-sga/combxALF.fits", (37, "Name", "RAdeg_1", "DEdeg_1")),
        ("legacy-dr6-brick/py/desitarget/test/dr6/survey-bricks-dr6.fits.gz", (1, None, "ra", "dec")),
    ],
)
def test_real_catalogues(name: str, expected: tuple[Any, ...]) -> None:
    if not (REAL / name).exists():
        pytest.skip("no real catalogues here")
    catalog = open_catalog(REAL / name)
    assert (catalog.nrows, catalog.id_name, catalog.ra_name, catalog.dec_name) == expected
    with fits.open(REAL / name) as hdus:
        truth = hdus[1].data
        rows = rows_of(catalog)
        assert (rows["ra"] == truth[catalog.ra_name]).all()
        assert (rows["dec"] == truth[catalog.dec_name]).all()
        if rows["id"].dtype.kind == "i" and catalog.id_name:
            assert (rows["id"] == truth[catalog.id_name]).all()
