"""Rows of FITS tables against astropy and fitsio: types, scaling, packing, damage."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from galcli.errors import InputError, OutputError
from galcli.sky import rows as rows_module
from galcli.sky.rows import open_table

N = 500
PACKED = Path(__file__).parent / "data" / "packed.fits.fz"


def columns() -> list[fits.Column]:
    rng = np.random.default_rng(0)
    i = np.arange(N)
    return [
        fits.Column("LONG", "K", array=i + 2**60),
        fits.Column("U8", "K", bzero=2**63, array=i.astype("u8") + 2**63 + 1),
        fits.Column("U4", "J", bzero=2**31, array=i.astype("u4") + 2**31),
        fits.Column("U2", "I", bzero=2**15, array=i.astype("u2") + 2**15),
        fits.Column("I1", "B", bzero=-128, array=(i % 256 - 128).astype("i1")),
        fits.Column("BYTE", "B", array=(i % 256).astype("u1")),
        fits.Column("SHORT", "I", array=i.astype("i2") - 100, null=-99),
        fits.Column("FLAG", "L", array=i % 3 == 0),
        fits.Column("F4", "E", array=rng.normal(size=N).astype("f4"), unit="mag"),
        fits.Column("SCALED", "E", bscale=0.5, bzero=3, array=i * 0.5 + 3),
        fits.Column("TEXT", "12A", array=[f"gal {k}" for k in i]),
        fits.Column("VECTOR", "3D", array=rng.normal(size=(N, 3))),
        fits.Column("MATRIX", "6E", dim="(2,3)", array=rng.normal(size=(N, 3, 2)).astype("f4")),
        fits.Column("NAMES", "8A", dim="(4,2)", array=np.array([["ab", "cd"]] * N)),
        fits.Column("BITS", "9X", array=np.ones((N, 9), bool)),
        fits.Column("ANY", "PE()", array=np.array([np.ones(k % 3, "f4") for k in i], object)),
        fits.Column("COMPLEX", "C", array=np.ones(N, "c8")),
        fits.Column("LAST", "D", array=rng.normal(size=N)),
    ]


READABLE = [name for name in (c.name for c in columns()) if name not in ("BITS", "ANY", "COMPLEX")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "plain.fits"
    image = fits.PrimaryHDU(np.zeros((50, 50)))
    other = fits.BinTableHDU.from_columns([fits.Column("X", "J", array=np.arange(3))], name="OTHER")
    fits.HDUList([image, fits.BinTableHDU.from_columns(columns(), name="CAT"), other]).writeto(path)
    return path


@pytest.fixture(scope="module")
def truth(plain: Path) -> dict[str, NDArray[Any]]:
    with fits.open(plain) as hdus:
        return {name: np.array(hdus["CAT"].data[name]) for name in READABLE}


def read_all(path: Path, names: list[str], hdu: int | str | None = None) -> dict[str, NDArray[Any]]:
    table = open_table(path, hdu)
    try:
        parts = [table.read(start, min(start + 77, table.nrows), names) for start in range(0, table.nrows, 77)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
    finally:
        table.close()


def equal(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.dtype.kind == "S":
        expected = expected.astype("S")
    return found.dtype.isnative and found.shape == expected.shape and bool((found == expected).all())


@pytest.mark.parametrize("packing", ["plain", "gzip", "gzip without a telling name"])
def test_every_type_reads_as_astropy_reads_it(
    plain: Path, truth: dict[str, NDArray[Any]], tmp_path: Path, packing: str
) -> None:
    path = plain
    if packing != "plain":
        path = tmp_path / ("a.fits.gz" if packing == "gzip" else "a.fits")
        path.write_bytes(gzip.compress(plain.read_bytes()))
    found = read_all(path, READABLE)
    assert [name for name in READABLE if not equal(found[name], truth[name])] == []
    assert found["U8"].dtype == np.uint64
    assert found["I1"].dtype == np.int8
    assert found["FLAG"].dtype == bool


def test_single_rows_in_any_order(plain: Path, truth: dict[str, NDArray[Any]]) -> None:
    chosen = np.random.default_rng(1).integers(0, N, 60)
    table = open_table(plain)
    found = table.take(chosen, READABLE)
    table.close()
    assert [name for name in READABLE if not equal(found[name], truth[name][chosen])] == []


@pytest.mark.parametrize("name", ["BITS", "ANY", "COMPLEX"])
def test_columns_of_other_kinds_are_refused_only_when_asked_for(plain: Path, name: str) -> None:
    table = open_table(plain)
    with pytest.raises(InputError, match=name):
        table.read(0, 1, [name])
    table.close()


def test_wide_rows_are_read_in_pieces(tmp_path: Path) -> None:
    """An image column between two others is neither read nor in the way."""
    n = 40
    data = np.zeros(n, [("A", "i8"), ("IMAGE", "f4", (3, 64, 64)), ("B", "f8"), ("C", "i2")])
    data["A"], data["B"], data["C"] = np.arange(n), np.arange(n) / 7, -np.arange(n)
    data["IMAGE"] = np.random.default_rng(0).normal(size=(n, 3, 64, 64))
    fitsio.write(tmp_path / "wide.fits", data)
    table = open_table(tmp_path / "wide.fits")
    for names in (["A", "C"], ["B", "A"], ["IMAGE"], ["A", "IMAGE", "B", "C"]):
        found = table.read(3, 37, names)
        taken = table.take(np.array([30, 2, 2, 39]), names)
        for name in names:
            assert (found[name] == data[name][3:37]).all()
            assert (taken[name] == data[name][[30, 2, 2, 39]]).all()
    table.close()


def test_integer_nulls_and_scaled_nulls(tmp_path: Path) -> None:
    raw = np.array([1, -99, 3], ">i2")
    table = fits.BinTableHDU.from_columns([fits.Column("S", "I", array=raw), fits.Column("R", "I", array=raw)])
    table.header.update({"TNULL1": -99, "TSCAL1": 0.5, "TZERO1": 10.0, "TNULL2": -99})
    table.writeto(tmp_path / "a.fits")
    opened = open_table(tmp_path / "a.fits")
    found = opened.read(0, 3, ["S", "R"])
    assert opened.fields["R"].null == -99
    opened.close()
    np.testing.assert_array_equal(found["S"], [10.5, np.nan, 11.5])
    assert found["R"].tolist() == [1, -99, 3]


def test_ascii_table(tmp_path: Path) -> None:
    n = 30
    table = fits.TableHDU.from_columns(
        [
            fits.Column("ID", "I10", array=np.arange(n)),
            fits.Column("RA", "F12.6", array=np.linspace(0, 359, n)),
            fits.Column("DEC", "D20.10", array=np.linspace(-89, 89, n)),
            fits.Column("NAME", "A6", array=[f"a{k}" for k in range(n)]),
        ]
    )
    table.writeto(tmp_path / "a.fits")
    raw = bytearray((tmp_path / "a.fits").read_bytes())
    with fits.open(tmp_path / "a.fits") as hdus:
        expected = {name: np.array(hdus[1].data[name]) for name in ("ID", "RA", "DEC", "NAME")}
        data, width = hdus[1].fileinfo()["datLoc"], hdus[1].header["NAXIS1"]
        start = hdus[1].header["TBCOL2"] - 1
    raw[data + 4 * width + start : data + 4 * width + start + 12] = b" " * 12  # a blank coordinate in row 4
    (tmp_path / "b.fits").write_bytes(raw)
    found = read_all(tmp_path / "b.fits", ["ID", "RA", "DEC", "NAME"])
    assert np.isnan(found["RA"][4])
    keep = np.arange(n) != 4
    for name in ("ID", "RA", "DEC"):
        np.testing.assert_allclose(found[name][keep], expected[name][keep], rtol=1e-12)
    assert found["NAME"].astype("U").tolist() == [f"a{k}" for k in range(n)]


@pytest.mark.parametrize("null", ["-99", "---", "******"])
def test_nulls_and_garbage_of_an_ascii_table(tmp_path: Path, null: str) -> None:
    columns = [fits.Column("N", "I6", array=[1, 2, 3]), fits.Column("F", "F8.3", array=[1.0, 2.0, 3.0])]
    table = fits.TableHDU.from_columns(columns)
    table.header["TNULL1"] = null
    table.writeto(tmp_path / "a.fits")
    header, mark, data = (tmp_path / "a.fits").read_bytes().rpartition(b"END" + b" " * 77)
    (tmp_path / "b.fits").write_bytes(header + mark + data.replace(b"     2", null.rjust(6).encode()))
    with closing(open_table(tmp_path / "b.fits")) as rows:
        field = rows.fields["N"]
        assert rows.read(0, 3, ["N"])["N"].tolist() == [1, field.null, 3]
    for name, old in (("N", b"     2"), ("F", b"   2.000")):
        (tmp_path / "c.fits").write_bytes(header + mark + data.replace(old, b"galaxy".rjust(len(old))))
        with (
            closing(open_table(tmp_path / "c.fits")) as rows,
            pytest.raises(InputError, match=f"column {name}: .*(?i:galaxy)"),
        ):
            rows.read(0, 3, [name])


def test_fpacked_table() -> None:
    """A file written by fpack 4.2 with tiles of 64 rows, GZIP_1, GZIP_2 and RICE_1."""
    i = np.arange(150)
    names = ["TARGETID", "RA", "DEC", "FLAG", "SHORT", "INT", "FLUX", "NAME", "GOOD", "BIG"]
    found = read_all(PACKED, names)
    assert (found["TARGETID"] == 2**60 + i).all()
    assert (found["RA"] == 2.0 * i).all()
    assert (found["DEC"] == 0.5 * i - 30).all()
    assert (found["FLAG"] == i).all()
    assert (found["SHORT"] == 7 * i - 300).all()
    assert (found["INT"] == 100003 * i).all()
    assert (found["FLUX"] == i[:, None] * np.array([0.5, 1, 2])).all()
    assert found["NAME"].tolist() == [b"gal %d" % k for k in i]
    assert (found["GOOD"] == (i % 3 == 0)).all()
    assert (found["BIG"] == i + 2**31).all()


def test_damaged_fpacked_table(tmp_path: Path) -> None:
    raw = bytearray(PACKED.read_bytes())
    with fits.open(PACKED) as hdus:
        heap = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    raw[heap : heap + 4] = b"\0\0\0\0"
    (tmp_path / "a.fits.fz").write_bytes(raw)
    with pytest.raises(InputError, match="cannot be unpacked"):
        open_table(tmp_path / "a.fits.fz")


def test_hdu_is_chosen_by_number_or_name(plain: Path) -> None:
    for hdu in (2, "2", "other", "OTHER"):
        assert read_all(plain, ["X"], hdu)["X"].tolist() == [0, 1, 2]
    for hdu, message in ((0, "HDU 0 is not a table"), (7, "no HDU 7"), ("NONE", "0 .no table., 1 CAT, 2 OTHER")):
        with pytest.raises(InputError, match=message):
            open_table(plain, hdu)


def truncated(raw: bytes) -> bytes:
    return raw[:20000]


def cut_in_header(raw: bytes) -> bytes:
    return raw[: 2880 * 9]


def html(_: bytes) -> bytes:
    return b"<html>404</html>"


def empty(_: bytes) -> bytes:
    return b""


def cut_gzip(raw: bytes) -> bytes:
    return gzip.compress(raw)[:-2000]


def flipped_gzip(raw: bytes) -> bytes:
    packed = bytearray(gzip.compress(raw))
    packed[len(packed) // 2] ^= 255
    return bytes(packed)


def short_gzip(raw: bytes) -> bytes:
    return gzip.compress(raw[:60000])


@pytest.mark.parametrize("damage", [truncated, cut_in_header, html, empty, cut_gzip, flipped_gzip, short_gzip])
def test_damage_is_named(plain: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "dämaged file.fits"
    path.write_bytes(damage(plain.read_bytes()))
    with pytest.raises(InputError, match=r"dämaged file\.fits") as caught:
        read_all(path, READABLE)
    assert caught.value.hint


def test_every_truncation_is_an_input_error(plain: Path, tmp_path: Path) -> None:
    raw = plain.read_bytes()
    with fits.open(plain) as hdus:
        info = hdus["CAT"].fileinfo()
    end = info["datLoc"] + info["datSpan"] - 2880  # what follows belongs to padding and the next HDU
    path = tmp_path / "cut.fits"
    for cut in np.random.default_rng(2).integers(0, end, 60):
        path.write_bytes(raw[:cut])
        with pytest.raises(InputError):
            read_all(path, READABLE)


def test_file_that_shrinks_while_open(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(plain.read_bytes())
    table = open_table(path)
    path.write_bytes(plain.read_bytes()[:30000])
    with pytest.raises(InputError, match="truncated"):
        table.read(0, table.nrows, ["LAST"])
    table.close()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_table(tmp_path / "none.fits")


def test_full_temporary_folder_is_an_output_error(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(OutputError, match="No space left"):
        open_table(path)


def test_header_that_contradicts_itself(plain: Path, tmp_path: Path) -> None:
    raw = plain.read_bytes()
    for old, new in ((b"'12A     '", b"'13A     '"), (b"'12A     '", b"'?       '")):
        assert old in raw
        path = tmp_path / "a.fits"
        path.write_bytes(raw.replace(old, new, 1))
        with pytest.raises(InputError, match="HDU 1"):
            open_table(path)


def test_memory_is_bounded_by_blocks(
    plain: Path, truth: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "_BLOCK", 1000)  # a few rows at a time must give the same values
    found = read_all(plain, READABLE)
    assert [name for name in READABLE if not equal(found[name], truth[name])] == []
    table = open_table(plain)
    taken = table.take(np.arange(N)[::-1], READABLE)
    table.close()
    assert [name for name in READABLE if not equal(taken[name], truth[name][::-1])] == []


@pytest.mark.parametrize("packed", [False, True])
def test_images_for_catalogues_are_known_for_a_pattern_without_quotes(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x-image-r.fits"
    kind = fits.CompImageHDU if packed else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), kind(np.zeros((50, 50), np.float32))]).writeto(path)
    with pytest.raises(InputError, match="no table; the HDUs are") as caught:
        open_table(path)
    assert caught.value.hint == rows_module.UNQUOTED
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(InputError, match="no table; the HDUs are: 0") as caught:
        open_table(path)
    assert caught.value.hint == "name a table with --hdu"
