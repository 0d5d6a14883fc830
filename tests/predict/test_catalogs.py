"""Catalogues as surveys write them, through a whole run: every row comes back, unchanged and in place."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from galcli.tables.status import RowStatus
from tests.survey import SIDE, Survey, make_survey, noise, raw_rows, read_predictions, write_catalog, write_stamp

Run = Callable[..., Any]

BAD = int(RowStatus.BAD_COORD | RowStatus.NO_PREDICTION)
MISSING = int(RowStatus.MISSING_CUTOUT | RowStatus.NO_PREDICTION)

#: (RA, Dec, is it on the sky)
PLACES = [
    (math.nan, 0.0, False), (10.0, math.nan, False), (math.inf, 0.0, False), (-math.inf, 0.0, False),
    (10.0, math.inf, False), (-10.0, 5.0, True), (-180.0, 5.0, True), (-180.1, 5.0, False), (360.0, 5.0, True),
    (360.1, 5.0, False), (400.0, 5.0, False), (10.0, 90.0, True), (10.0, -90.0, True), (10.0, 91.0, False),
    (10.0, -91.0, False), (0.0, 0.0, True), (359.999999, -0.0, True), (1e300, 1e300, False),
]  # fmt: skip


def test_bad_coordinates_cost_their_own_row_only(tmp_path: Path, galcli: Run) -> None:
    good = np.array([place[2] for place in PLACES])
    ra, dec = np.array([place[:2] for place in PLACES]).T
    survey = make_survey(tmp_path / "s", len(PLACES), ra=ra, dec=dec)
    result = galcli(*survey.predict("--order", 1), code=3)
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["STATUS"] == BAD, ~good)
    np.testing.assert_array_equal(rows["STATUS"] == 0, good)
    np.testing.assert_array_equal(rows["HPX"] == -1, ~good)
    np.testing.assert_array_equal(rows["RA"], ra)
    np.testing.assert_array_equal(rows["DEC"], dec)
    np.testing.assert_array_equal(rows["OBJECT_ID"], survey.ids)
    np.testing.assert_allclose(rows["AVG_FLUX"][good], survey.means[good], rtol=1e-6)
    assert np.isnan(rows["AVG_FLUX"][~good]).all()
    assert f"BAD_COORD {(~good).sum()}" in result.err
    galcli("validate", survey.out)
    listed = survey.out.with_name("predictions.fits.problems.csv").read_text().splitlines()
    assert len(listed) == 1 + (~good).sum()


def test_rows_good_and_bad_and_missing_together(tmp_path: Path, galcli: Run) -> None:
    """A list of problems of every kind, in the order of the rows."""
    ra = np.linspace(100, 140, 10)
    survey = make_survey(tmp_path / "s", 10, ra=ra)
    ra[[2, 7]] = np.nan
    write_catalog(survey.catalog, OBJECT_ID=survey.ids + np.eye(10, dtype=np.int64)[4], RA=ra, DEC=survey.dec)
    galcli(*survey.predict(), code=3)
    rows = read_predictions(survey.out)
    assert {i: int(s) for i, s in enumerate(rows["STATUS"]) if s} == {2: BAD, 4: MISSING, 7: BAD}
    listed = survey.out.with_name("predictions.fits.problems.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in listed] == ["row", "2", "4", "7"]
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=np.linspace(100, 140, 10), DEC=survey.dec)
    galcli(*survey.predict("--overwrite"))
    assert not survey.out.with_name("predictions.fits.problems.csv").exists()


@pytest.mark.parametrize("loose", [False, True], ids=["stacks", "files"])
@pytest.mark.parametrize(
    "ids",
    [
        np.array([2**63 - 1, -5, 2**53 + 1, 2**53, 0], np.int64),
        np.array([2**64 - 1, 2**63, 2**53 + 1, 1, 0], np.uint64),
        np.array([b"1-22", b"J1234+56 b", b"plate  ifu", b"x", b"0007"], "S12"),
        np.array([3, 1, 2**15 - 1, 5, 7], np.int16),
    ],
    ids=["int64", "uint64", "text", "int16"],
)
def test_identifiers_come_back_to_the_last_digit(tmp_path: Path, galcli: Run, ids: Any, loose: bool) -> None:
    survey = make_survey(tmp_path / "s", len(ids), ids=ids, loose=loose)
    galcli(*survey.predict())
    found = Table.read(survey.out, hdu="PREDICTIONS")
    assert [str(value) for value in found["OBJECT_ID"]] == [v.decode() if isinstance(v, bytes) else str(v) for v in ids]
    np.testing.assert_allclose(found["AVG_FLUX"], survey.means, rtol=1e-6)
    galcli("validate", survey.out)


def test_duplicates_are_rows_of_their_own(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 6)
    twice = np.array([0, 1, 1, 5, 0, 3])
    write_catalog(survey.catalog, OBJECT_ID=survey.ids[twice], RA=survey.ra[twice], DEC=survey.dec[twice])
    galcli(*survey.predict("--order", 5))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["OBJECT_ID"], survey.ids[twice])
    np.testing.assert_allclose(rows["AVG_FLUX"], survey.means[twice], rtol=1e-6)


def test_catalogue_without_identifiers_is_found_by_position(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 12)
    write_catalog(survey.catalog, RA=survey.ra[::-1], DEC=survey.dec[::-1])
    assert "note: no identifier of whole numbers or text among the columns" in galcli(*survey.predict()).err
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["ROW"], np.arange(12))
    np.testing.assert_allclose(rows["AVG_FLUX"], survey.means[::-1], rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_catalogues(tmp_path: Path, galcli: Run, n: int) -> None:
    survey = make_survey(tmp_path / "s", 3)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids[:n], RA=survey.ra[:n], DEC=survey.dec[:n])
    result = galcli(*survey.predict())
    rows = read_predictions(survey.out)
    assert len(rows) == n
    assert f"{n} rows" in result.err
    galcli("validate", survey.out)
    assert len(Table.read(survey.out, hdu="PREDICTIONS")) == n
    assert "nothing to do" in galcli(*survey.predict()).err


def pass_through_columns(n: int) -> fits.BinTableHDU:
    """One column of every kind a survey writes."""
    rng = np.random.default_rng(1)
    column = fits.Column
    return fits.BinTableHDU.from_columns(
        [
            column("RA", "D", array=rng.uniform(100, 140, n), unit="deg"),
            column("DEC", "D", array=rng.uniform(-20, 20, n), unit="deg"),
            column("status", "J", array=np.arange(n)),
            column("Z", "E", array=rng.random(n), unit="", disp="F8.4"),
            column("MAG_R", "E", array=np.where(np.arange(n) % 3, 17.5, np.nan), unit="mag"),
            column("FLUX_G", "D", array=rng.random(n), unit="nanomaggy"),
            column("NOBS", "I", array=np.arange(n) - 3, null=-3),
            column("FLAGS", "J", array=np.arange(n), bzero=2**31),
            column("SCALED", "I", array=np.arange(n) - 4),
            column("SMALL", "B", array=np.arange(n) % 255, null=255),
            column("IS_GOOD", "L", array=np.arange(n) % 2 == 0),
            column("BRICK", "8A", array=np.array([f"b{i:04d}" for i in range(n)])),
            column("WEIGHTS", "4E", array=rng.random((n, 4))),
            column("MATRIX", "6J", array=rng.integers(0, 9, (n, 2, 3)), dim="(3,2)"),
            column("NAMES", "10A", array=np.array([["ab", "cde"]] * n), dim="(5,2)"),
            column("OBJECT_ID", "K", array=np.arange(n) + 10**18),
            column("AVG_FLUX", "E", array=rng.random(n)),
        ],
        name="CATALOG",
    )


def test_columns_are_passed_through_unchanged(tmp_path: Path, galcli: Run) -> None:
    n = 9
    hdu = pass_through_columns(n)
    survey = make_survey(
        tmp_path / "s", n, ids=hdu.data["OBJECT_ID"].astype(np.int64), ra=hdu.data["RA"], dec=hdu.data["DEC"]
    )
    hdu.writeto(survey.catalog, overwrite=True)
    for card, value in (("TSCAL", 0.5), ("TZERO", 100.0)):
        fits.setval(survey.catalog, f"{card}{hdu.columns.names.index('SCALED') + 1}", value=value, ext=1)
    names = [name for name in hdu.columns.names if name not in ("RA", "DEC", "OBJECT_ID", "status", "AVG_FLUX")]
    galcli(*survey.predict("--columns", ",".join(["status", "ra", "avg_flux", *names]), "--order", 3))
    before, after = Table.read(survey.catalog, unit_parse_strict="silent"), Table.read(survey.out, hdu="PREDICTIONS")
    expected = [
        "OBJECT_ID",
        "RA",
        "DEC",
        "HPX",
        "IN_STATUS",
        "IN_RA",
        "IN_AVG_FLUX",
        *names,
        "STATUS",
        "AVG_FLUX",
        "AVG_STATUS",
    ]
    assert after.colnames == expected
    for name in names:
        old, new = before[name], after[name]
        np.testing.assert_array_equal(np.ma.getmaskarray(old), np.ma.getmaskarray(new), err_msg=name)
        np.testing.assert_array_equal(np.ma.filled(old, 0), np.ma.filled(new, 0), err_msg=name)
        assert old.dtype.kind == new.dtype.kind, name
    np.testing.assert_array_equal(after["IN_STATUS"], before["status"])
    np.testing.assert_array_equal(after["IN_AVG_FLUX"], before["AVG_FLUX"])
    np.testing.assert_allclose(after["AVG_FLUX"], survey.means, rtol=1e-6)
    assert str(after["MAG_R"].unit) == "mag"
    assert after["FLUX_G"].unit is None
    galcli("validate", survey.out)


@pytest.mark.parametrize("names", ["MAG_R,MAG_R", "MAG_R,mag_r"])
def test_column_asked_for_twice_is_refused(survey: Survey, galcli: Run, names: str) -> None:
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, MAG_R=survey.ra)
    assert "twice" in galcli(*survey.predict("--columns", names), code=4).error


@pytest.mark.parametrize(
    ("array", "form", "word"),
    [
        (np.zeros(48, np.complex64), "C", "complex"),
        (np.array([np.arange(i % 3) for i in range(48)], dtype=object), "PJ()", "variable"),
        (np.zeros((48, 3), bool), "3X", "bit"),
    ],
)
def test_column_that_no_table_holds_is_refused_by_name(
    survey: Survey, galcli: Run, array: Any, form: str, word: str
) -> None:
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("OBJECT_ID", "K", array=survey.ids), fits.Column("RA", "D", array=survey.ra),
            fits.Column("DEC", "D", array=survey.dec), fits.Column("ODD", form, array=array),
        ]
    )  # fmt: skip
    hdu.writeto(survey.catalog, overwrite=True)
    galcli(*survey.predict())
    result = galcli(*survey.predict("--columns", "ODD", "--overwrite"), code=4)
    assert "ODD" in result.error
    assert word in result.error


def test_unknown_column_is_refused_with_a_suggestion(survey: Survey, galcli: Run) -> None:
    result = galcli(*survey.predict("--columns", "DCE"), code=4)
    assert "DEC" in result.hint
    galcli(*survey.predict("--id-column", "nothing"), code=4)
    galcli(*survey.predict("--ra-column", "nothing"), code=4)


@pytest.mark.parametrize("name", ["HPX", "STATUS", "DEC"])
def test_identifier_may_have_the_name_of_a_column_of_ours(survey: Survey, galcli: Run, name: str) -> None:
    columns = {"RA": survey.ra, "MY_DEC": survey.dec, name: survey.ids}
    write_catalog(survey.catalog, **columns)
    galcli(*survey.predict("--id-column", name, "--ra-column", "RA", "--dec-column", "MY_DEC"))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows[f"IN_{name}"], survey.ids)
    assert not rows["STATUS"].any()
    galcli("validate", survey.out)


def test_gzipped_and_plain_catalogues_say_the_same(survey: Survey, galcli: Run) -> None:
    packed = survey.root / "catalog.fits.gz"
    with gzip.open(packed, "wb") as file:
        file.write(survey.catalog.read_bytes())
    galcli(*survey.predict())
    other = survey.root / "from_gz.fits"
    galcli("predict", packed, "--model", survey.model, "-o", other, "--threads", 1)
    assert raw_rows(other).tobytes() == raw_rows(survey.out).tobytes()


@pytest.mark.parametrize("damage", ["cut", "not FITS", "no table", "folder", "absent", "empty", "cut gz"])
def test_unusable_catalogue_is_refused_by_name(survey: Survey, galcli: Run, damage: str) -> None:
    raw = survey.catalog.read_bytes()
    path = survey.root / ("catalog.fits.gz" if damage == "cut gz" else "catalog.fits")
    survey.catalog.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "no table":
        fits.PrimaryHDU(np.zeros((3, 3), np.float32)).writeto(path)
    elif damage != "absent":
        content = {"cut": raw[:6000], "not FITS": b"\x89HDF\r\n", "cut gz": gzip.compress(raw)[:-20]}
        path.write_bytes(content.get(damage, b""))
    result = galcli("predict", path, "--model", survey.model, "-o", survey.out, "--threads", 1, code=4)
    assert path.name in result.error
    assert not survey.out.exists()


@pytest.mark.parametrize("form", ["f4", "f8", "i2", "f4 flat", "swapped bands"])
def test_image_column_of_the_catalogue(tmp_path: Path, galcli: Run, form: str) -> None:
    survey = make_survey(tmp_path / "s", 8)
    kind = form.split(maxsplit=1)[0] if form[0] in "fi" else "f4"
    pixels = np.rint(noise(8) * 100).astype(kind)
    stored = pixels[:, ::-1] if form == "swapped bands" else pixels
    with_flat = "(16,48)" if form == "f4 flat" else "(16,16,3)"
    letter = {"f4": "E", "f8": "D", "i2": "I"}[kind]
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("OBJECT_ID", "K", array=survey.ids), fits.Column("RA", "D", array=survey.ra),
            fits.Column("DEC", "D", array=survey.dec),
            fits.Column("IMAGE", f"{3 * SIDE * SIDE}{letter}", dim=with_flat, array=stored.reshape(8, -1)),
        ]
    )  # fmt: skip
    hdu.header.update({"BANDS": "zrg" if form == "swapped bands" else "grz", "BUNIT": "nanomaggy", "PIXSCALE": 0.262})
    hdu.writeto(survey.catalog, overwrite=True)
    if form == "f4 flat":  # one band of 48 x 16 pixels: three band names do not fit
        galcli(*survey.predict(), code=4)
        return
    galcli(*survey.predict("--order", 3))
    rows = read_predictions(survey.out)
    np.testing.assert_allclose(rows["AVG_FLUX"], pixels.mean(axis=(2, 3), dtype=np.float64), rtol=1e-6)


def test_identity_survives_names_that_are_not_ascii(tmp_path: Path, galcli: Run) -> None:
    """A finished table is recognised although FITS holds the names as escapes."""
    from galcli.cutouts.stack_write import write_stack

    survey = make_survey(tmp_path / "Übersicht", 5)
    stack = survey.root / "größe .fits"
    write_stack(stack, survey.ids, survey.ra, survey.dec, survey.pixels, "grz", 0.262)
    words = survey.predict("--cutouts", stack)
    galcli(*words)
    assert "nothing to do" in galcli(*words).err


def test_file_names_from_a_column(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 5, loose=True)
    names = np.array([f"stamp {i}.fits".encode() for i in range(5)])
    folder = survey.root / "stamps"
    folder.mkdir()
    for i in range(5):
        write_stamp(folder / names[i].decode(), survey.pixels[i], ra=survey.ra[i], dec=survey.dec[i])
    files = np.array([b"stamps/" + name for name in names])
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=survey.ra, DEC=survey.dec, FILE=files, ID=np.arange(5))
    galcli(*survey.predict("--columns", "file,id"))
    rows = read_predictions(survey.out)
    np.testing.assert_allclose(rows["AVG_FLUX"], survey.means, rtol=1e-6)
    np.testing.assert_array_equal(rows["FILE"], files.astype(str))
    np.testing.assert_array_equal(rows["ID"], np.arange(5))


@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("where", ["", "{}", "{}/{{OBJECT_ID}}.fits", "{}/*.fits"])
def test_empty_catalogue_gives_an_empty_table(tmp_path: Path, galcli: Run, loose: bool, where: str) -> None:
    survey = make_survey(tmp_path / "s", 3, loose=loose)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids[:0], RA=survey.ra[:0], DEC=survey.dec[:0])
    if where and not loose and where != "{}":
        return
    galcli(*survey.predict(*(["--cutouts", where.format(survey.cutouts)] if where else [])))
    assert len(read_predictions(survey.out)) == 0
    galcli("validate", survey.out)


@pytest.mark.parametrize("name", ["_hpx", "hpx", "row", "index"])
def test_columns_named_like_parts_of_a_plan(tmp_path: Path, galcli: Run, name: str) -> None:
    values = np.arange(5.0)
    survey = make_survey(tmp_path / "s", 5, **{name: values})
    galcli(*survey.predict("--columns", name))
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["IN_HPX" if name == "hpx" else name.upper()], values)
    np.testing.assert_allclose(rows["AVG_FLUX"], survey.means, rtol=1e-6)


def test_passed_through_text_that_is_not_ascii_is_refused(tmp_path: Path, galcli: Run) -> None:
    names = np.array([b"plain", b"na\xefve", b"more"])
    survey = make_survey(tmp_path / "s", 3, NAME=names, PAIR=names[[0, 0, 2, 2, 1, 0]].reshape(3, 2))
    for name, row in (("name", 1), ("PAIR", 2)):
        refused = galcli(*survey.predict("--columns", name), code=4)
        assert f"{name.upper()} = " in refused.error
        assert f"row {row}" in refused.error
        assert "--columns" in refused.hint
    galcli(*survey.predict())


@pytest.mark.parametrize("name", ["größe", "a\tb", "L" * 69])
def test_names_that_fits_cannot_hold_are_refused(shared_survey: Survey, galcli: Run, tmp_path: Path, name: str) -> None:
    columns = {name: shared_survey.ids, "RA": shared_survey.ra, "DEC": shared_survey.dec, "L" * 68: shared_survey.ra}
    words = shared_survey.predict("--cutouts", shared_survey.cutouts, "--columns", "L" * 68, out=tmp_path / "o.fits")
    words[1] = str(tmp_path / "a.parquet")
    pq.write_table(pa.table(columns), words[1])
    for option in ("--columns", "--id-column"):
        refused = galcli(*words, option, name, code=4)
        assert "cannot have this name" in refused.error
        assert "68 ASCII" in refused.hint
    galcli(*words)
    assert "L" * 68 in (read_predictions(tmp_path / "o.fits").dtype.names or ())


@pytest.mark.parametrize(("name", "better"), [("x.fits.gz", "x.fits"), ("x.csv", "x.csv.fits"), ("x.fz", "x.fits")])
def test_output_that_would_not_be_plain_fits_is_refused(
    shared_survey: Survey, galcli: Run, tmp_path: Path, name: str, better: str
) -> None:
    assert galcli(*shared_survey.predict(out=tmp_path / name), code=2).hint == f"-o {tmp_path / better}"
    assert not list(tmp_path.iterdir())
