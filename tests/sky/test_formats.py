"""Every format gives the same rows, to the last digit, and none of them is trusted by its name."""

from __future__ import annotations

import gzip
import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from galcli.errors import InputError, OutputError
from galcli.sky.catalog import open_catalog
from galcli.sky.formats import open_tables, stem_of
from tests.sky.tables import IDS, WRITERS, astropy_table, write_csv, write_parquet

NAMES = ["OBJECT_ID", "ra", "dec", "NOBS", "MAG", "NAME"]


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_the_same_in_every_format(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    with open_catalog(tmp_path / name) as catalog:
        assert (catalog.nrows, catalog.id_name, catalog.ra_name, catalog.dec_name) == (5, "OBJECT_ID", "ra", "dec")
        rows = np.concatenate(list(catalog.chunks(["NOBS", "MAG", "NAME"], size=2)))
        null = catalog.column_meta("NOBS").null
    assert rows["id"].tolist() == IDS
    assert rows["id"].dtype == rows["NOBS"].dtype == np.int64
    assert null is not None
    assert rows["NOBS"].tolist() == [3_900_000_000_000_000_001, null, 3, 4, 5]
    np.testing.assert_array_equal(rows["MAG"], [17.5, 18.25, np.nan, 19, 20])
    np.testing.assert_array_equal(rows["ra"], [10.5, 11.25, 12.0, 359.0, 0.1])
    np.testing.assert_array_equal(rows["dec"], [-5.0, 6.5, 0.0, 1e-7, -89.0])
    assert [value.strip() for value in rows["NAME"].tolist()] in (
        [b"NGC 1", b"", b"M31", b"a, b", b"x"],
        [b"NGC 1", b"N/A", b"M31", b"a, b", b"x"],  # astropy's word for null in FITS text
    )


@pytest.mark.parametrize("name", WRITERS)
def test_chunks_and_single_rows_agree(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    chosen = np.array([4, 0, 0, 3, 1, 2, 4])
    with open_catalog(tmp_path / name) as catalog:
        whole = np.concatenate(list(catalog.chunks(NAMES)))
        for column in whole.dtype.names or ():
            np.testing.assert_array_equal(catalog.read(chosen, NAMES)[column], whole[chosen][column])
            np.testing.assert_array_equal(next(catalog.chunks(NAMES, start=1, stop=4))[column], whole[1:4][column])
        assert len(catalog.read(np.empty(0, np.int64), NAMES)) == 0
        assert catalog.head("NAME", 2).tolist()[0] == b"NGC 1"


@pytest.mark.parametrize(
    "name",
    ["galaxies.ecsv", "galaxies.xml", "galaxies.parquet", "astropy.parquet", "voparquet.parquet", "galaxies.hats"],
)
def test_units_and_descriptions_are_kept(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    with open_catalog(tmp_path / name) as catalog:
        meta = catalog.column_meta("MAG")
    assert (meta.unit, meta.description, meta.null) == ("mag", "magnitudes", None)


def test_ucd_of_a_votable_is_kept(tmp_path: Path) -> None:
    table = astropy_table()
    table["ra"].meta["ucd"] = "pos.eq.ra;meta.main"
    table.write(tmp_path / "a.vot", format="votable")
    with open_catalog(tmp_path / "a.vot") as catalog:
        assert catalog.column_meta("ra").ucd == "pos.eq.ra;meta.main"


@pytest.mark.parametrize("name", ["galaxies.fits", "galaxies.csv", "galaxies.xml", "galaxies.parquet", "galaxies.ecsv"])
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    (tmp_path / name).rename(tmp_path / "wrong.jpg")
    with open_catalog(tmp_path / "wrong.jpg") as catalog:
        assert catalog.nrows == 5


def test_position_known_by_its_ucd(tmp_path: Path) -> None:
    table = Table({"alpha": [1.5], "delta_x": [2.5], "alpha_b": [9.0]})
    for name, ucd in {"alpha": "pos.eq.ra;meta.main", "delta_x": "POS_EQ_DEC_MAIN", "alpha_b": "pos.eq.ra"}.items():
        table[name].meta["ucd"] = ucd
    table.write(tmp_path / "a", format="votable")
    with open_catalog(tmp_path / "a") as catalog:
        assert catalog.read(np.array([0])).tolist() == [(0, 1.5, 2.5)]


def test_first_table_with_rows_of_a_votable(tmp_path: Path) -> None:
    field = '<FIELD name="{}" datatype="double"/>'
    fields = "".join(field.format(name) for name in ("ra", "dec"))
    rows = "<DATA><TABLEDATA><TR><TD>1.5</TD><TD>2.5</TD></TR></TABLEDATA></DATA>"
    text = f"<TABLE>{field.format('note')}</TABLE><TABLE>{fields}{rows}</TABLE>"
    (tmp_path / "a").write_text(f"<!-- by hand -->\n<VOTABLE version='1.3'><RESOURCE>{text}</RESOURCE></VOTABLE>")
    with open_catalog(tmp_path / "a") as catalog:
        assert catalog.read(np.arange(catalog.nrows)).tolist() == [(0, 1.5, 2.5)]


def test_packed_votable(tmp_path: Path) -> None:
    WRITERS["galaxies.xml"](tmp_path / "a.vot")
    (tmp_path / "b").write_bytes(gzip.compress((tmp_path / "a.vot").read_bytes()))
    with open_catalog(tmp_path / "b") as catalog:
        assert next(catalog.chunks())["id"].tolist() == IDS


def test_simulated_rows_are_known_in_every_format(tmp_path: Path) -> None:
    table = astropy_table()
    table.meta["MOCK"] = True
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    table.write(tmp_path / "a.fits")
    write_parquet(tmp_path / "a.parquet", MOCK="T")
    write_parquet(tmp_path / "b.parquet", MOCK="F")
    for name, mock in (("a.ecsv", True), ("a.fits", True), ("a.parquet", True), ("b.parquet", False)):
        with open_catalog(tmp_path / name) as catalog:
            assert catalog.mock is mock


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"PK\x03\x04....", "ZIP"), ("ra,dec\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"\0\1\2\3" * 9, "unknown"), (b"", "no names"), (b"just words\n", "no comma"), (b"<html><body>", "HTML"),
        (b"<?xml version='1.0'?><note/>", "VOTable"), (b"PAR1", "a.dat"),
    ],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
def test_what_is_no_catalogue_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.dat").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        open_tables([tmp_path / "a.dat"])
    assert str(tmp_path / "a.dat") in caught.value.message
    assert caught.value.hint


def test_hdu_is_for_fits(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match="not a FITS file") as caught:
        open_tables([tmp_path / "a.csv"], 1)
    assert "--hdu" in caught.value.hint


def test_masks_that_were_left_out_mean_nothing(tmp_path: Path) -> None:
    WRITERS["astropy.parquet"](tmp_path / "a")
    table = pq.read_table(tmp_path / "a").drop_columns(["MAG.mask"])
    pq.write_table(table, tmp_path / "b")
    with open_catalog(tmp_path / "b") as catalog:
        assert next(catalog.chunks(["MAG"]))["MAG"].tolist() == [17.5, 18.25, 0, 19, 20]


def test_more_files_than_are_open_by_default(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    WRITERS["galaxies.fits"](tmp_path / "a.fits")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        with open_catalog([tmp_path / "a.fits", tmp_path / "a.csv"] * 50) as catalog:
            assert np.concatenate(list(catalog.chunks()))["id"].tolist() == IDS * 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_full_temporary_folder_is_no_fault_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from galcli.sky import scratch

    write_csv(tmp_path / "a.csv")

    def full(self: object, block: object) -> int:
        raise scratch.scratch_error(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(scratch.Scratch, "write", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        open_tables([tmp_path / "a.csv"])
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("galaxies.fits", "galaxies"), ("a.b.fits.gz", "a.b"), ("x.fits.fz", "x"), ("x.csv", "x"), ("x.CSV.gz", "x"),
        ("x.ecsv", "x"), ("x.votable", "x"), ("x.parquet", "x"), ("gaia", "gaia"), ("gaia_dr3.hats", "gaia_dr3.hats"),
        (".csv", ".csv"), ("v1.2", "v1.2"),
    ],
)  # fmt: skip
def test_stem(name: str, stem: str) -> None:
    assert stem_of(Path("folder") / name) == stem


def test_stem_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gaia").mkdir()
    monkeypatch.chdir(tmp_path / "gaia")
    assert stem_of(Path()) == "gaia"


@pytest.mark.parametrize(("head", "name"), [(b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG")])
def test_pictures_are_known_for_a_pattern_without_quotes(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "1.jpg").write_bytes(head + bytes(100))
    with pytest.raises(InputError, match=f"is {name}") as caught:
        open_tables([tmp_path / "1.jpg"])
    assert "--cutouts in quotes" in caught.value.hint
