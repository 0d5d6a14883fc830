"""Every kind of damage and every contradiction in a table is found and named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.models.card import Card, Output
from galcli.sky.healpix import pixel
from galcli.tables.columns import Column, base_columns, from_output, id_column, renamed, status_column
from galcli.tables.fits import TableHDU, write_table
from galcli.tables.structure import check_file, is_whole
from galcli.tables.verify import verify

N = 400
CARD = Card(
    name="toy",
    version="1",
    system="toy",
    description="toy",
    prefix="TOY",
    fronts=({"name": "flux:gr", "bands": ("g", "r")},),  # type: ignore[arg-type]
    size=(8, 8),
    pixel_scale=0.262,
    outputs=(
        Output(tensor="a", column="VALUE", dtype="f4", description="value"),
        Output(tensor="b", column="TOY_IDX", dtype="i2", shape=(2,), null=-1, description="index"),
        Output(tensor="c", column="TOY_DX", dtype="f4", unit="arcsec", sky_offset=True, description="offset"),
        Output(tensor="d", column="LABEL", dtype="A3", labels=("abc", "xyz"), description="class"),
        Output(tensor="e", column="YES", dtype="b1", description="yes or no"),
        Output(tensor="f", column="EXTRA", dtype="f4", group="more", description="not asked for here"),
    ),
    training={"data": "none", "mock": True, "objects": 1, "seed": 0, "epochs": 1, "preset": "quick"},  # type: ignore[arg-type]
    licence="none",
    citation="none",
)
OUTPUTS = [output for output in CARD.outputs if output.group is None]
OWN = [*(from_output(output) for output in OUTPUTS), status_column("TOY", "toy")]
#: The same model twice: the second one's columns carry the suffix _2.
TWIN = [renamed(column, f"{column.name}_2") for column in OWN]
COLUMNS = [*base_columns(id_column(None, np.dtype(np.int64))), *OWN, *TWIN]

Data = dict[str, NDArray[Any]]


def good_table() -> Data:
    rng = np.random.default_rng(0)
    data = {column.name: column.blank(N) for column in COLUMNS}
    data["ROW"][:] = np.arange(N)
    data["RA"][:], data["DEC"][:] = rng.uniform(0, 360, N), rng.uniform(-90, 90, N)
    data["RA"][7] = np.nan
    data["HPX"][:] = pixel(data["RA"], data["DEC"])
    data["STATUS"][:] = 0
    data["STATUS"][7], data["STATUS"][8] = 1 | 16, 2 | 16
    for suffix in ("", "_2"):
        status = np.zeros(N, "i4")
        status[[7, 8]] = 1
        status[[9, 10]] = 256, 512
        if suffix:
            status[11] = 4
        kept = (status & 31) == 0
        data[f"TOY_STATUS{suffix}"][:] = status
        data[f"VALUE{suffix}"][kept] = rng.normal(size=kept.sum())
        data[f"TOY_IDX{suffix}"][kept] = [3, -1]
        data[f"LABEL{suffix}"][kept] = b"xyz"
    data["TOY_DX"][20] = 0.5
    data["STATUS"][11] = 16
    return data


def write(path: Path, data: Data, columns: list[Column] = COLUMNS) -> Path:
    card = CARD.model_dump_json().encode()
    models = TableHDU("MODELS", [Column("CARD", f"A{len(card)}", description="card")], {"CARD": np.array([card, card])})
    write_table(path, [TableHDU("PREDICTIONS", columns, data), models])
    return path


def test_a_good_table_has_no_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", good_table())
    assert verify(path) == []
    assert verify(path, N) == []
    assert is_whole(path)


def test_a_table_without_rows_is_good(tmp_path: Path) -> None:
    data = {name: column[:0] for name, column in good_table().items()}
    assert verify(write(tmp_path / "a.fits", data)) == []


def set_to(name: str, row: int, value: Any) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        data[name][row] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to("VALUE", 30, np.nan), "VALUE is not finite although TOY_STATUS says it is good in 1 rows.*row 30"),
        (set_to("VALUE", 30, np.inf), "VALUE is not finite"),
        (set_to("VALUE_2", 30, np.nan), "VALUE_2 is not finite although TOY_STATUS_2"),
        (set_to("VALUE", 7, 1.0), "VALUE has a value although TOY_STATUS says it is null"),
        (set_to("TOY_IDX", 8, (1, 2)), "TOY_IDX has a value"),
        (set_to("LABEL_2", 11, b"abc"), "LABEL_2 has a value"),
        (set_to("TOY_STATUS", 8, 0), "TOY_STATUS promises values for rows without pixels"),
        (set_to("STATUS", 11, 0), "NO_PREDICTION and the models' status contradict"),
        (set_to("STATUS", 12, 16), "NO_PREDICTION and the models' status contradict"),
        (set_to("STATUS", 8, 2), "lacks NO_PREDICTION"),
        (set_to("STATUS", 7, 16), "BAD_COORD and HPX contradict"),
        (set_to("STATUS", 30, 1024), "unknown bits"),
        (set_to("HPX", 30, 5), "HPX is not the pixel"),
        (set_to("HPX", 7, 5), "HPX is not the pixel"),
        (set_to("LABEL", 30, b"a\xe9"), "LABEL holds bytes that are not printable ASCII in 1 rows.*row 30"),
        (set_to("LABEL", 30, b"a\tb"), "LABEL holds bytes that are not printable ASCII in 1 rows.*row 30"),
    ],
)
def test_contradictions_are_named(tmp_path: Path, change: Callable[[Data], None], message: str) -> None:
    data = good_table()
    change(data)
    problems = verify(write(tmp_path / "a.fits", data))
    assert any(re.search(message, problem) for problem in problems), problems


def test_rows_and_columns_that_should_be_there(tmp_path: Path) -> None:
    assert verify(write(tmp_path / "a.fits", good_table()), N + 1) == [f"{N} rows instead of {N + 1}"]
    some = [column for column in COLUMNS if column.name != "HPX"]
    assert "HPX" in verify(write(tmp_path / "b.fits", good_table(), some))[0]
    write_table(tmp_path / "c.fits", [TableHDU("OTHER", COLUMNS, good_table())])
    assert "no HDU PREDICTIONS" in verify(tmp_path / "c.fits")[0]
    write_table(tmp_path / "d.fits", [TableHDU("PREDICTIONS", COLUMNS, good_table())])
    assert "no HDU MODELS" in verify(tmp_path / "d.fits")[0]


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", good_table())
    raw = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(raw), 150):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        assert not is_whole(path), f"bit flipped in byte {place}"
    path.write_bytes(raw)
    assert is_whole(path)


def test_every_truncation_and_extension_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", good_table())
    raw = path.read_bytes()
    hdu_ends = {*(at for at in range(2880, len(raw), 2880) if raw[at : at + 8] == b"XTENSION")} - {2880}
    for cut in np.random.default_rng(2).integers(0, len(raw), 100):
        path.write_bytes(raw[:cut])
        assert int(cut) in hdu_ends or not is_whole(path), f"cut at {cut}"
    path.write_bytes(raw + b"\0" * 2880)
    assert not is_whole(path)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"SIMPLE  =", b"\0" * 5760])
def test_other_files_are_not_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    assert len(check_file(tmp_path / "a.fits")) == 1


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert check_file(tmp_path / "none.fits") == ["No such file or directory"]
    assert not is_whole(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_without_checksums(tmp_path: Path) -> None:
    fitsio.write(tmp_path / "a.fits", np.zeros(3, [("A", "f4")]))
    assert check_file(tmp_path / "a.fits") == ["HDU 0: no checksum", "HDU 1: no checksum"]
