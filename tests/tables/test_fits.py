"""Tables that astropy, fitsio and pandas read back value by value, and that are the same bytes every time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from galcli.errors import OutputError
from galcli.tables.columns import Column, base_columns, dictionary, id_column
from galcli.tables.fits import Card, ImageHDU, StreamingTable, TableHDU, encode_rows, table_bytes, write_table

N = 301
HEADER: list[Card] = [
    ("LONG", "x" * 66 + "it's " * 30 + "end", "a long text"),
    ("SMALL", 1e-5, "a float"),
    ("SCALE", 0.262, ""),
    ("FLAG", True, "a flag"),
    ("COUNT", 2**62, ""),
    ("COMMENT", "words " * 20, ""),
]

COLUMNS = [
    id_column("name", np.dtype("S13")),
    *base_columns(id_column(None, np.dtype(np.int64))),
    *(column for name, column in dictionary().items() if name not in ("ROW", "RA", "DEC", "HPX", "STATUS")),
    Column("U8", "u8", description='it\'s "quoted" Å', null=5),
    Column("U4", "u4"),
    Column("U2", "u2", (3,)),
    Column("I1", "i1", null=-128),
    Column("BYTE", "u1", null=255),
    Column("lower", "i2", (2, 2), null=-32768),
    Column("WORDS", "A5", (2, 3)),
    Column("MATRIX", "f4", (2, 3), unit="nanomaggy", description="flux"),
    Column("PDF", "f8", (64,)),
]


def values(n: int = N) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    data = {column.name: column.blank(n) for column in COLUMNS}
    i = np.arange(n)
    data["NAME"][:] = [b"galaxy %d" % k for k in i]
    data["RA"][:] = i / 7
    data["Z_GAS"][::2] = rng.normal(8.7, 0.2, len(i[::2]))
    data["SFZ_IDX"][::2] = rng.integers(0, 512, (len(i[::2]), 4))
    data["IS_AGN"][:] = i % 3 == 0
    data["U8"][:] = i.astype("u8") + 2**63
    data["U4"][:] = i.astype("u4") + 2**31
    data["U2"][:] = i[:, None] * 200
    data["I1"][:] = i % 250 - 127
    data["BYTE"][:] = i % 250
    data["lower"][:] = i[:, None, None] - 5
    data["WORDS"][:] = b"ab"
    data["MATRIX"][:] = rng.normal(size=(n, 2, 3))
    data["PDF"][:] = rng.normal(size=(n, 64))
    return data


def hdus() -> list[TableHDU | ImageHDU]:
    empty = [Column("X", "f4", description="x"), Column("T", "A3"), Column("I", "i4", null=-1)]
    return [
        TableHDU("PREDICTIONS", COLUMNS, values(), HEADER),
        TableHDU("EMPTY", empty, {column.name: column.blank(0) for column in empty}),
        ImageHDU("PIXELS", np.arange(60, dtype="f4").reshape(3, 4, 5), [("BANDS", "grz", "bands")]),
    ]


PRIMARY: list[Card] = [("GALCLI", "0.1", "version")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fits") / "täble out.fits"
    write_table(path, hdus(), PRIMARY)
    return path


def test_astropy_finds_nothing_wrong(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as opened:
            opened.verify("exception")
            table = opened["PREDICTIONS"].data
            for name, expected in values().items():
                found = np.asarray(table[name.upper()])
                np.testing.assert_array_equal(found.astype("S") if found.dtype.kind == "U" else found, expected)
            header = opened["PREDICTIONS"].header
            for key, value, _ in HEADER[:5]:
                assert header[key] == value
            assert opened["EMPTY"].header["NAXIS2"] == 0
            np.testing.assert_array_equal(opened["PIXELS"].data, np.arange(60).reshape(3, 4, 5))
            assert opened[0].header["GALCLI"] == "0.1"


def test_cfitsio_reads_it_and_agrees_with_the_checksums(path: Path) -> None:
    with fitsio.FITS(str(path)) as opened:
        for hdu in opened:
            hdu.verify_checksum()
        table = opened["PREDICTIONS"].read()
        assert opened["PREDICTIONS"].read_header()["LONG"] == HEADER[0][1]
    for name, expected in values().items():
        found = table[name.upper()]
        np.testing.assert_array_equal(found.astype("S") if found.dtype.kind == "U" else found, expected)


def test_tables_and_pandas_read_it(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = Table.read(path, hdu="PREDICTIONS")
        assert table["HPX"].mask.all()
        assert table["RA"].unit == "deg"
        narrow = table[[name for name in table.colnames if table[name].ndim == 1]].to_pandas()
    assert len(narrow) == N
    assert narrow["NAME"].iloc[3] in (b"galaxy 3", "galaxy 3")


def test_every_column_says_what_it_is(path: Path) -> None:
    with fits.open(path) as opened:
        for hdu in opened[1:3]:
            for n in range(1, hdu.header["TFIELDS"] + 1):
                assert hdu.header[f"TCOMM{n}"]
                assert hdu.header[f"TTYPE{n}"] == hdu.header[f"TTYPE{n}"].upper()
        header = opened[1].header
        place = {header[f"TTYPE{n}"]: n for n in range(1, header["TFIELDS"] + 1)}
        assert header[f"TUCD{place['RA']}"] == "pos.eq.ra;meta.main"
        assert header[f"TNULL{place['HPX']}"] == -1
        assert f"TUNIT{place['MATRIX']}" not in header
        assert header[f"TCOMM{place['MATRIX']}"] == "flux [nanomaggy]"
        assert header[f"TCOMM{place['Z_GAS']}"].endswith("[dex]")
        assert header[f"TDIM{place['WORDS']}"] == "(5,3,2)"


@pytest.mark.parametrize("window", [1, 37, N, 10_000])
def test_streaming_gives_the_same_bytes(path: Path, tmp_path: Path, window: int) -> None:
    data = values()
    first, *rest = hdus()
    assert isinstance(first, TableHDU)
    with StreamingTable(tmp_path / "a.fits", TableHDU(first.name, COLUMNS, {}, HEADER), N, PRIMARY) as table:
        for start in range(0, N, window):
            table.append({name: column[start : start + window] for name, column in data.items()})
        table.finish(rest)
    assert (tmp_path / "a.fits").read_bytes() == path.read_bytes()


def test_rows_whose_width_is_odd_stream_alike(tmp_path: Path) -> None:
    columns = [Column("A", "A3"), Column("B", "i2", null=-1)]
    data = np.zeros(1001, [("A", "S3"), ("B", "i2")])
    data["A"], data["B"] = b"xyz", np.arange(1001)
    with StreamingTable(tmp_path / "a.fits", TableHDU("T", columns, {}), 1001) as table:
        for start in range(0, 1001, 7):
            table.append(data[start : start + 7])
        table.finish()
    assert (tmp_path / "a.fits").read_bytes() == table_bytes([TableHDU("T", columns, data)])


def stream(table: StreamingTable, rows: dict[str, NDArray[Any]]) -> None:
    table.append(rows)
    table.finish()


def test_a_wrong_number_of_rows_makes_no_file(tmp_path: Path) -> None:
    columns = [Column("B", "i2", null=-1)]
    rows = {"B": np.zeros(3, "i2")}
    for nrows, message in ((4, "1 rows are missing"), (2, "more rows")):
        table = StreamingTable(tmp_path / "a.fits", TableHDU("T", columns, {}), nrows)
        with pytest.raises(ValueError, match=message), table:
            stream(table, rows)
    assert list(tmp_path.iterdir()) == []


def test_bytes_depend_on_the_values_alone(path: Path) -> None:
    """Another process, another time zone and locale, another hash seed."""
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_fits as t; "
        "print(hashlib.sha256(t.table_bytes(t.hdus(), t.PRIMARY)).hexdigest())"
    )
    digests = set()
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert path.read_bytes() == table_bytes(hdus(), PRIMARY)


def test_byte_order_and_layout_of_the_input_do_not_matter() -> None:
    columns = [Column("A", "f4"), Column("B", "i8", (2,), null=-1), Column("C", "A4")]
    native = {
        "A": np.arange(5, dtype="f4"),
        "B": np.arange(10).reshape(5, 2),
        "C": np.array([b"a", b"bb", b"ccc", b"dddd", b""]),
    }
    swapped = {
        "A": native["A"].astype(">f4"),
        "B": np.asfortranarray(native["B"]).astype(">i8"),
        "C": native["C"].astype("U"),
    }
    records = np.zeros(5, [("C", "S4"), ("B", ">i8", (2,)), ("A", "f4")])
    for name, column in native.items():
        records[name] = column
    expected = table_bytes([TableHDU("T", columns, native)])
    assert table_bytes([TableHDU("T", columns, swapped)]) == expected
    assert table_bytes([TableHDU("T", columns, records)]) == expected


def test_too_many_or_equal_columns() -> None:
    columns = [Column(f"C{i}", "f4") for i in range(1000)]
    with pytest.raises(OutputError, match="1000 columns"):
        table_bytes([TableHDU("T", columns, {c.name: c.blank(1) for c in columns})])
    most = columns[:999]
    assert table_bytes([TableHDU("T", most, {c.name: c.blank(1) for c in most})])
    same = [Column("A", "f4"), Column("a", "f4")]
    with pytest.raises(OutputError, match="A twice"):
        table_bytes([TableHDU("T", same, {c.name: c.blank(1) for c in same})])


def test_text_that_does_not_fit_is_refused() -> None:
    columns = [Column("T", "A3")]
    with pytest.raises(OutputError, match="4 characters"):
        table_bytes([TableHDU("T", columns, {"T": np.array(["abcd"])})])
    with pytest.raises(OutputError, match="not ASCII"):
        table_bytes([TableHDU("T", columns, {"T": np.array(["ü"])})])
    wide = np.array(["ab"], "U20")
    assert encode_rows(columns, {"T": wide})["f0"].tolist() == [b"ab"]


def test_values_are_never_cut_silently() -> None:
    with pytest.raises(OutputError, match="float64 does not fit i4"):
        table_bytes([TableHDU("T", [Column("I", "i4", null=-1)], {"I": np.array([1.5])})])
    with pytest.raises(ValueError, match="differ in length"):
        table_bytes([TableHDU("T", [Column("I", "f4"), Column("J", "f4")], {"I": np.zeros(2), "J": np.zeros(3)})])


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", ">f4"])
def test_images(tmp_path: Path, dtype: str) -> None:
    image = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_table(tmp_path / "a.fits", [ImageHDU("PIXELS", image)])
    with fits.open(tmp_path / "a.fits", checksum=True) as opened:
        opened.verify("exception")
        np.testing.assert_array_equal(opened["PIXELS"].data, image)
    with pytest.raises(ValueError, match="no type"):
        table_bytes([ImageHDU("X", np.zeros(3, bool))])


def test_a_thousand_rows_are_written_in_milliseconds(tmp_path: Path) -> None:
    data = values(4096)
    start = time.perf_counter()
    write_table(tmp_path / "a.fits", [TableHDU("PREDICTIONS", COLUMNS, data, HEADER)], PRIMARY)
    assert time.perf_counter() - start < 1.0  # about 0.02 s on an idle core
