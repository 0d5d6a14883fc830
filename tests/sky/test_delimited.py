"""Text catalogues as people and servers write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.errors import InputError
from galcli.sky import delimited
from galcli.sky.catalog import open_catalog
from galcli.sky.formats import open_tables


def read(path: Path, text: str | bytes, *names: str) -> dict[str, list[Any]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = open_tables([path])
    try:
        wanted = list(names) or list(table.fields)
        return {name: values.tolist() for name, values in table.read(0, table.nrows, wanted).items()}
    finally:
        table.close()


@pytest.mark.parametrize(
    ("cells", "dtype", "null"),
    [
        (["1", "-2", "3"], "<i8", None), (["1", "", "3"], "<i8", -(2**63)), (["1", "NaN", "null"], "<i8", -(2**63)),
        (["18446744073709551615", "1"], "<u8", None), (["18446744073709551615", "N/A"], "<u8", 2**64 - 1),
        (["1", "2.5"], "<f8", None), (["1e3", "", "nan"], "<f8", None), (["", "", "-"], "<f8", None), (["inf", "1"], "<f8", None),
        (["true", "False"], "|b1", None), (["true", ""], "|u1", 255), (["007", "123"], "|S3", None),
        (["99999999999999999999", "1"], "|S20", None), (["-1", "18446744073709551615"], "|S20", None),
        (["0x10", "1"], "|S4", None), (["10:00:00", "1"], "|S8", None), (["1", "two"], "|S3", None), (["+5", "1"], "<f8", None),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("block", [1 << 24, 16])
def test_type_is_that_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[str], dtype: str, null: int | None, block: int
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", max(block, 2 * max(map(len, cells)) + 2))
    for order in (cells, cells[::-1]):
        (tmp_path / "a.csv").write_text("v,w\n" + "".join(f"{cell},\n" for cell in order))
        table = open_tables([tmp_path / "a.csv"])
        field = table.exact("v")
        assert (field.dtype.str, field.null) == (dtype, null)
        assert table.nrows == len(cells)
        table.close()


def test_whole_numbers_keep_their_last_digit_beside_nulls(tmp_path: Path) -> None:
    text = "id,ra,dec\n3900000000000000001,1,2\n,1,2\n3900000000000000003,1,2\n"
    assert read(tmp_path / "a", text, "id")["id"] == [3_900_000_000_000_000_001, -(2**63), 3_900_000_000_000_000_003]


@pytest.mark.parametrize(
    "text",
    [
        "id,ra,dec\n7,1.5,2\n", "\ufeffid,ra,dec\r\n7,1.5,2\r\n", "id\tra\tdec\n7\t1.5\t2", "id;ra;dec\n7;1.5;2\n",
        "id|ra|dec\n7|1.5|2\n", " id , ra , dec \n 7 , 1.5 , 2 \n", '"id","ra","dec"\n"7","1.5","2"\n',
        "id,ra,dec\r7,1.5,2\r", "#Table1\nid,ra,dec\n7,1.5,2\n", "# one, two, three\nid,ra,dec\n7,1.5,2\n",
        "# made today\n\n# id,ra,dec\n7,1.5,2\n", "#id,ra,dec\n\n7,1.5,2\n\n", "\n\nid,ra,dec\n\n7,1.5,2\n",
    ],
)  # fmt: skip
def test_ways_to_write_one_row(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "a", text) == {"id": [7], "ra": [1.5], "dec": [2]}


def test_names_of_columns(tmp_path: Path) -> None:
    assert list(read(tmp_path / "a", ",ra.x,größe,0\n1,2,3,4\n")) == ["COL1", "ra.x", "größe", "0"]


def test_quotation_marks(tmp_path: Path) -> None:
    text = 'a,b\n"x, y","say ""hi"""\n5" seeing,NA\n'
    assert read(tmp_path / "a", text) == {"a": [b"x, y", b'5" seeing'], "b": [b'say "hi"', b"NA"]}


def test_bytes_of_an_old_code_page_stay(tmp_path: Path) -> None:
    assert read(tmp_path / "a", b"a,b\nM\xfcller,1\n")["a"] == [b"M\xfcller"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,ra,dec\n1,2,3\n4,5\n", "row 2 below the names has 2 values, there are 3"),
        ("id,ra,dec\n1,2,3,4\n", "row 1 below the names has 4 values"),
        ('id,ra,dec\n1,2,"3\n4,5,6\n7,8,9\n', "column dec in row 1 .* several lines"),
        ('id,name\n1,"a\nb"\n', "column name in row 1"),
        ("id,ra,id\n1,2,3\n", "line 1: two columns are called id"),
        ("# c\n1,2,3\n4,5,6\n", "line 2: values where the names"),
        ("ra dec\n1 2\n", "line 1: no comma"),
        ("# only\n# comments\n", "no names of columns"),
        ("id,ra,dec\n1,2,3\n# the end\n", "row 2 below the names has 1 values"),
    ],
)
def test_broken_text_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path / "a.csv", text)
    assert str(tmp_path / "a.csv") in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize("text", ["id,ra,dec\n", "id,ra,dec"])
def test_no_rows(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "a", text) == {"id": [], "ra": [], "dec": []}


def test_a_broken_row_far_down_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 64)
    with pytest.raises(InputError, match="row 1001 below"):
        read(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 1000 + "3\n")


def test_sexagesimal_coordinates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ra,dec\n10:20:30,-5:00:00\n")
    with pytest.raises(InputError, match="is text") as caught:
        open_catalog(tmp_path / "a.csv")
    assert "SkyCoord" in caught.value.hint


def test_many_rows_are_read_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 1 << 12)
    n = 5000
    (tmp_path / "a.csv").write_text("id,ra,dec\n" + "".join(f"{i},{i / 100},{-i / 100}\n" for i in range(n)))
    with open_catalog(tmp_path / "a.csv") as catalog:
        whole = np.concatenate(list(catalog.chunks(size=333)))
        chosen = np.random.default_rng(0).integers(0, n, 100)
        assert (catalog.read(chosen) == whole[chosen]).all()
    assert whole["id"].tolist() == list(range(n))
    np.testing.assert_array_equal(whole["ra"], np.arange(n) / 100)
