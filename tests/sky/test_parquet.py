"""Parquet files: every type a survey writes, read by row group."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galcli.errors import InputError
from galcli.sky.formats import open_tables
from galcli.sky.table import Table


def opened(path: Path, array: pa.Array, **how: Any) -> Table:
    pq.write_table(pa.table({"v": array, "row": pa.array(range(len(array)))}), path, **how)
    return open_tables([path])


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("statistics", [True, False])
def test_whole_numbers(tmp_path: Path, kind: str, statistics: bool) -> None:
    limits = np.iinfo(kind)
    full = opened(tmp_path / "a", pa.array([limits.min, 1, limits.max], kind), write_statistics=statistics)
    assert full.exact("v").null is None
    assert full.read(0, 3, ["v"])["v"].tolist() == [limits.min, 1, limits.max]
    null = int(limits.min if kind[0] == "i" else limits.max)
    holed = opened(tmp_path / "b", pa.array([3, None, 4], kind), row_group_size=1, write_statistics=statistics)
    assert holed.exact("v").null == null
    values = holed.read(0, 3, ["v"])["v"]
    assert values.dtype == np.dtype(kind)
    assert values.tolist() == [3, null, 4]
    clash = opened(tmp_path / "c", pa.array([null, None, 4], kind), write_statistics=statistics)
    with pytest.raises(InputError, match="v has nulls, and the value"):
        clash.read(0, 3, ["v"])


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floating_point(tmp_path: Path, kind: pa.DataType) -> None:
    table = opened(tmp_path / "a", pa.array([np.float16(1.5), None, np.float16(-2)], pa.float16()).cast(kind))
    values = table.read(0, 3, ["v"])["v"]
    assert values.dtype == (np.float64 if kind == pa.float64() else np.float32)
    np.testing.assert_array_equal(values, [1.5, np.nan, -2])


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_text(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["ab", None, "", "größe"] if not pa.types.is_binary(kind) else [b"ab", None, b"", "größe".encode()]
    table = opened(tmp_path / "a", pa.array(values, kind), row_group_size=3)
    assert table.exact("v").dtype == np.dtype("S7")
    assert table.read(0, 4, ["v"])["v"].tolist() == [b"ab", b"", b"", "größe".encode()]
    assert table.take(np.array([3, 0]), ["v"])["v"].tolist() == ["größe".encode(), b"ab"]


def test_true_and_false(tmp_path: Path) -> None:
    plain = opened(tmp_path / "a", pa.array([True, False]))
    assert plain.exact("v").dtype == plain.read(0, 2, ["v"])["v"].dtype == np.bool_
    holed = opened(tmp_path / "b", pa.array([True, None, False]), row_group_size=1)
    assert (holed.exact("v").dtype, holed.exact("v").null) == (np.uint8, 255)
    assert holed.read(0, 3, ["v"])["v"].tolist() == [1, 255, 0]


def test_arrays_of_one_shape(tmp_path: Path) -> None:
    inner = pa.list_(pa.list_(pa.float32(), 3), 2)
    table = opened(tmp_path / "a", pa.array([[[1, 2, 3], [4, 5, None]], None, [[7, 8, 9], [1, 2, 3]]], inner))
    values = table.read(1, 3, ["v"])["v"]
    assert values.shape == (2, 2, 3)
    assert np.isnan(values[0]).all()
    assert values[1].tolist() == [[7, 8, 9], [1, 2, 3]]
    assert np.isnan(table.read(0, 1, ["v"])["v"][0, 1, 2])
    whole = opened(tmp_path / "b", pa.array([[1, None], [3, 4]], pa.list_(pa.int16(), 2)))
    assert whole.exact("v").null == -(2**15)
    assert whole.read(0, 2, ["v"])["v"].tolist() == [[1, -(2**15)], [3, 4]]


def test_tensors(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    table = opened(tmp_path / "a", pa.FixedShapeTensorArray.from_numpy_ndarray(images))
    np.testing.assert_array_equal(table.read(0, 2, ["v"])["v"], images)
    turned = np.asfortranarray(images[0]).T[None].repeat(2, axis=0)
    table = opened(tmp_path / "b", pa.FixedShapeTensorArray.from_numpy_ndarray(turned.transpose(0, 2, 1)))
    np.testing.assert_array_equal(table.read(0, 2, ["v"])["v"], turned.transpose(0, 2, 1))


def test_decimals(tmp_path: Path) -> None:
    """What databases export: numbers of so many digits, whole or not."""
    whole = opened(tmp_path / "a", pa.array([decimal.Decimal(10**17 + 1), None], pa.decimal128(18, 0)))
    assert whole.read(0, 2, ["v"])["v"].tolist() == [10**17 + 1, whole.exact("v").null]
    assert whole.exact("v").dtype == np.int64
    given = ["12.22222", "-0.1", "359.99999"]
    values = opened(tmp_path / "b", pa.array([*map(decimal.Decimal, given), None], pa.decimal128(9, 5)))
    np.testing.assert_array_equal(values.read(0, 4, ["v"])["v"], [*map(float, given), np.nan])
    assert opened(tmp_path / "c", pa.array([decimal.Decimal(7)], pa.decimal128(38, 0))).exact("v").dtype == np.float64


@pytest.mark.parametrize("key", ["table_meta_yaml", "IVOA.VOTable-Parquet.content"])
@pytest.mark.parametrize("text", ["", "{", "- 1", "datatype: [1]", "<VOTABLE>", "\x00"])
def test_damaged_notes_of_columns_are_named(tmp_path: Path, key: str, text: str) -> None:
    pq.write_table(pa.table({"v": [1]}).replace_schema_metadata({key: text}), tmp_path / "a")
    with pytest.raises(InputError):
        open_tables([tmp_path / "a"])


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (pa.array([[1, 2], [3]]), "list"), (pa.array([{"a": 1}]), "struct"),
        (pa.array([dt.datetime(2020, 1, 1)]), "timestamp"), (pa.array([dt.date(2020, 1, 1)]), "date32"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "map"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_other_types_are_refused_by_name_and_only_when_asked_for(tmp_path: Path, values: pa.Array, name: str) -> None:
    table = opened(tmp_path / "a", values)
    assert table.read(0, 1, ["row"])["row"].tolist() == [0]
    for read in (lambda: table.read(0, 1, ["v"]), lambda: table.take(np.array([0]), ["v"])):
        with pytest.raises(InputError, match=f"column v holds {name}"):
            read()


def test_names_with_dots_and_two_of_a_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a.b": [1], "a": [2], "c": pa.array([{"d": 3}])}), tmp_path / "a")
    table = open_tables([tmp_path / "a"])
    assert {name: values.tolist() for name, values in table.read(0, 1, ["a", "a.b"]).items()} == {"a": [2], "a.b": [1]}
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"]), tmp_path / "b")
    with pytest.raises(InputError, match="two columns are called 'x'"):
        open_tables([tmp_path / "b"])


def test_only_one_row_group_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table: Any = opened(tmp_path / "a", pa.array(range(100)), row_group_size=10)
    reads: list[int] = []
    arrays = type(table)._arrays
    monkeypatch.setattr(
        type(table), "_arrays", lambda self, group, names: reads.append(group) or arrays(self, group, names)
    )
    for start in range(0, 100, 5):
        assert table.read(start, start + 5, ["v"])["v"].tolist() == list(range(start, start + 5))
    assert reads == list(range(10))
    assert table.read(37, 62, ["v"])["v"].tolist() == list(range(37, 62))
    assert len(table._shelf.columns["v"]) == 10


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows(tmp_path: Path, n: int) -> None:
    table = opened(tmp_path / "a", pa.array(["x"] * n, pa.string()))
    assert table.nrows == n
    assert table.exact("v").dtype == np.dtype("S1")
    assert table.read(0, n, ["v"])["v"].tolist() == [b"x"] * n


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    table = opened(tmp_path / "a", pa.array([1, 2, 3]))
    opened(tmp_path / "a", pa.array([1, 2]))
    with pytest.raises(InputError, match="has changed"):
        table.read(0, 3, ["v"])
