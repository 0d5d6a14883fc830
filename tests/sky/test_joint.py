"""Several catalogues as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from galcli.errors import InputError
from galcli.sky.catalog import open_catalog
from galcli.sky.formats import open_tables
from tests.sky.tables import IDS, WRITERS


def write(path: Path, units: dict[str, str] | None = None, meta: dict[str, Any] | None = None, **columns: Any) -> Path:
    table = Table({name: np.asarray(values) for name, values in columns.items()}, meta=meta)
    for name, unit in (units or {}).items():
        table[name].unit = unit
    table.write(path, format="fits")
    return path


def test_rows_of_all_formats_follow_each_other(tmp_path: Path) -> None:
    names = [name for name in WRITERS if name != "galaxies.fits"]
    for name in names:
        WRITERS[name](tmp_path / name)
    with open_catalog([tmp_path / name for name in names]) as catalog:
        assert catalog.nrows == 5 * len(names)
        whole = np.concatenate(list(catalog.chunks(["NAME", "NOBS"], size=7)))
        assert whole["id"].tolist() == IDS * len(names)
        assert whole["NAME"].tolist() == [b"NGC 1", b"", b"M31", b"a, b", b"x"] * len(names)
        chosen = np.random.default_rng(0).integers(0, catalog.nrows, 50)
        assert (
            catalog.read(chosen, ["NAME", "NOBS"])[["id", "NAME", "NOBS"]] == whole[chosen][["id", "NAME", "NOBS"]]
        ).all()
        assert len(catalog.files) == len(names) + 1 + 1 + 3 + 1  # a folder of 2, HATS of 2, 4 and 2


def test_widths_may_differ(tmp_path: Path) -> None:
    a = write(tmp_path / "a", ID=np.array([1, 2], "i2"), RA=np.array([1, 2], "f4"), DEC=[1.0, 2], N=["ab", "c"])
    b = write(tmp_path / "b", id=np.array([2**62 + 1], "i8"), ra=[3.5], dec=[4.0], n=["longer"])
    with open_catalog([a, b]) as catalog:
        rows = np.concatenate(list(catalog.chunks(["N"], size=2)))
        assert catalog.names == ["ID", "RA", "DEC", "N"]
    assert rows["id"].tolist() == [1, 2, 2**62 + 1]
    assert rows["N"].tolist() == [b"ab", b"c", b"longer"]
    assert rows["ra"].tolist() == [1, 2, 3.5]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([1, 2], ["a"], "int64 in .*a HDU 1, text in .*b HDU 1"),
        ([1.0, 2], [[1.5, 2]], r"float64 in .*, float64\[2\] in"), (np.array([1, 2], "u8"), [-1], "uint64 in .*, int64 in"),
        ([True, False], [1], "true or false in .*, int64 in"), ([1.0, 2], None, "is missing in .*b HDU 1"),
    ],
)  # fmt: skip
def test_other_differences_are_named_when_the_column_is_asked_for(
    tmp_path: Path, first: Any, second: Any, words: str
) -> None:
    a = write(tmp_path / "a", RA=[1.0, 2], DEC=[1.0, 2], V=first)
    b = write(tmp_path / "b", RA=[3.0], DEC=[3.0], **({} if second is None else {"V": second}))
    with open_catalog([a, b]) as catalog:
        assert next(catalog.chunks())["ra"].tolist() == [1, 2, 3]
        with pytest.raises(InputError, match=f"column V .*{words}"):
            catalog.dtype(["V"])
    with open_catalog([b, a]) as catalog, pytest.raises(InputError, match="column V "):
        catalog.column_meta("V")


def test_units_must_agree_where_both_are_stated(tmp_path: Path) -> None:
    a = write(tmp_path / "a", {"V": "Jy"}, RA=[1.0], DEC=[1.0], V=[1.0], W=[1.0])
    b = write(tmp_path / "b", {"V": "mJy", "W": "mag"}, RA=[1.0], DEC=[1.0], V=[1.0], W=[1.0])
    with open_catalog([a, b]) as catalog:
        assert catalog.column_meta("W").unit == "mag"
        with pytest.raises(InputError, match=r"V is in Jy in .*, in mJy in"):
            catalog.column_meta("V")
    c = write(tmp_path / "c", {"RA": "rad"}, RA=[1.0], DEC=[1.0])
    with pytest.raises(InputError, match="RA is in rad"):
        open_catalog([a, c])


def test_units_may_be_spelled_differently(tmp_path: Path) -> None:
    paths = []
    for name, degrees, flux in (("a", "deg", "erg/s/cm**2"), ("b", "degrees", "erg s-1 cm-2")):
        paths.append(write(tmp_path / name, {"RA": "deg", "V": "Jy"}, RA=[1.0], DEC=[1.0], V=[4.0]))
        fits.setval(paths[-1], "TUNIT1", value=degrees, ext=1)
        fits.setval(paths[-1], "TUNIT3", value=flux, ext=1)
    with open_catalog(paths) as catalog:
        assert catalog.read(np.arange(2), ["V"]).tolist() == [(0, 1.0, 1.0, 4.0), (1, 1.0, 1.0, 4.0)]


def test_positions_and_identifiers_must_be_in_all(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TARGETID=[1], TARGET_RA=[1.0], TARGET_DEC=[1.0], RA=[2.0], DEC=[2.0])
    b = write(tmp_path / "b", TARGETID=[2], RA=[3.0], DEC=[3.0])
    c = write(tmp_path / "c", RA=[3.0], DEC=[3.0])
    d = write(tmp_path / "d", TARGETID=[3], RAJ2000=[3.0], DEJ2000=[3.0])
    with open_catalog([a, b]) as catalog:
        assert catalog.ra_name == "RA"
    for pair in ([b, c], [c, b]):
        with pytest.raises(InputError, match=r"TARGETID is missing in .*c HDU 1") as caught:
            open_catalog(pair)
        assert "--id-column" in caught.value.hint
    with pytest.raises(InputError, match="is missing in") as caught:
        open_catalog([b, d])
    assert "under the same names in all" in caught.value.hint
    packed = write(tmp_path / "p", RELEASE=[9010], BRICKID=[5], OBJID=[7], RA=[3.0], DEC=[3.0])
    with pytest.raises(InputError, match="TARGETID is missing in") as caught:
        open_catalog([packed, b])
    assert "--id-column" in caught.value.hint


def test_nulls_of_all_become_one(tmp_path: Path) -> None:
    def integers(path: Path, null: int | None, *values: int) -> Path:
        columns = [
            fits.Column("RA", "D", array=np.ones(len(values))),
            fits.Column("DEC", "D", array=np.ones(len(values))),
        ]
        columns.append(fits.Column("N", "J", array=np.array(values), null=null))
        fits.BinTableHDU.from_columns(columns).writeto(path)
        return path

    a, b, c = (
        integers(tmp_path / "a", -999, 1, -999),
        integers(tmp_path / "b", -1, -1, -999),
        integers(tmp_path / "c", None, 5),
    )
    with open_catalog([a, b, c]) as catalog:
        null = catalog.column_meta("N").null
        assert next(catalog.chunks(["N"]))["N"].tolist() == [1, null, null, -999, 5]
    with open_catalog([a, integers(tmp_path / "d", -999, 7)]) as catalog:
        assert catalog.column_meta("N").null == -999
    clash = integers(tmp_path / "e", None, -(2**31))
    with open_catalog([a, clash]) as catalog, pytest.raises(InputError, match="e HDU 1: column N has the value"):
        list(catalog.chunks(["N"]))


def test_a_value_is_no_null_because_another_file_has_nulls(tmp_path: Path) -> None:
    for name, values in (("a", [1, None]), ("b", [255, 2])):
        columns = {"RA": [1.0, 2.0], "DEC": [1.0, 2.0], "N": pa.array(values, pa.uint8())}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    with open_catalog(tmp_path) as catalog, pytest.raises(InputError, match=r"b\.parquet: column N has the value 255"):
        list(catalog.chunks(["N"]))
    (tmp_path / "a.parquet").unlink()
    with open_catalog(tmp_path) as catalog:
        assert next(catalog.chunks(["N"]))["N"].tolist() == [255, 2]


def test_a_value_is_no_null_because_its_type_has_no_larger(tmp_path: Path) -> None:
    for name, values in (("a", pa.array([1, None], pa.int32())), ("b", pa.array([255, 2], pa.uint8()))):
        pq.write_table(pa.table({"RA": [1.0, 2.0], "DEC": [1.0, 2.0], "N": values}), tmp_path / f"{name}.parquet")
    with open_catalog(tmp_path) as catalog:
        null = catalog.column_meta("N").null
        assert next(catalog.chunks(["N"]))["N"].tolist() == [1, null, 255, 2]


def test_whole_numbers_beside_fractions(tmp_path: Path) -> None:
    """What a CSV file holds is guessed from its values: another part of the same table may have fractions."""
    (tmp_path / "a").write_text("ID,RA,DEC,MAG,N\n1,10,20,,9007199254740993\n2,11,21,19,7\n")
    (tmp_path / "b").write_text("ID,RA,DEC,MAG,N\n3,10.5,20.5,18.5,0.5\n")
    for order in (1, -1):
        with open_catalog([tmp_path / "a", tmp_path / "b"][::order]) as catalog:
            rows = np.sort(np.concatenate(list(catalog.chunks(["MAG"]))), order="id")
            assert (rows["id"].tolist(), rows["ra"].tolist()) == ([1, 2, 3], [10, 11, 10.5])
            np.testing.assert_array_equal(rows["MAG"], [np.nan, 19, 18.5])
            with pytest.raises(InputError, match="column N has whole numbers above 9007199254740992"):
                list(catalog.chunks(["N"]))


def test_a_table_without_rows_has_no_say(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("ID,RA,DEC\n")
    a = write(tmp_path / "a", ID=[5], RA=[1.0], DEC=[2.0])
    for pair in ([tmp_path / "none.csv", a], [a, tmp_path / "none.csv"]):
        with open_catalog(pair) as catalog:
            assert np.concatenate(list(catalog.chunks()))["id"].tolist() == [5]
    with open_catalog([tmp_path / "none.csv", tmp_path / "none.csv"]) as catalog:
        assert catalog.nrows == 0
        assert catalog.dtype(["ID"]).names == ("id", "ra", "dec", "ID")


def test_one_mock_makes_all_of_it_mock(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", RA=[1.0], DEC=[1.0]), write(tmp_path / "b", meta={"MOCK": True}, RA=[1.0], DEC=[1.0])
    with open_catalog([a, b]) as catalog:
        assert catalog.mock
    with open_catalog([a, a]) as catalog:
        assert not catalog.mock


def test_the_missing_file_is_named_and_the_others_closed(tmp_path: Path) -> None:
    a = write(tmp_path / "a", RA=[1.0], DEC=[1.0])
    with pytest.raises(InputError, match="absent"):
        open_tables([a, tmp_path / "absent"])
