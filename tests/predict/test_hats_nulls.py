"""Where a HATS folder has no value its Parquet files have a null, which every reader knows as such."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galcli.predict.validate import validate
from galcli.sky.formats import open_tables
from tests.predict.test_hats import quietly
from tests.predict.test_validate import replaced, rewrite, seal
from tests.survey import Survey, make_survey, read_predictions, write_catalog
from tests.tiny_models import write_flags

Run = Callable[..., Any]
BAD, MISSING = [4, 9], [5, 11]  # no coordinates; no cutout
NO_MAG = [5, 20]


@pytest.fixture(scope="module")
def flagged(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> Survey:
    """A survey, its table and its HATS folder, with a column of each kind of which some values are missing."""
    survey = make_survey(tmp_path_factory.mktemp("nulls") / "survey", 60)
    ra, ids = survey.ra.copy(), survey.ids.copy()
    ra[BAD] = np.nan
    ids[MISSING] -= 1
    mag = np.linspace(15, 20, 60)
    mag[NO_MAG] = np.nan
    colours = np.arange(120, dtype=np.float32).reshape(60, 2)
    colours[7, 1] = np.nan
    kind = np.array([b"disc", b"", b"round"] * 20)
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=survey.dec, MAG=mag, COLOURS=colours, KIND=kind)
    words = ["--model", write_flags(survey.root / "flags.onnx"), "--columns", "MAG,COLOURS,KIND", "--max-fail", 50]
    galcli(*survey.predict(*words, out=survey.root / "table.fits"))
    galcli(*survey.predict(*words, "--layout", "hats", out=survey.root / "hats"))
    return survey


@pytest.fixture(scope="module")
def table(flagged: Survey) -> np.ndarray[Any, Any]:
    return read_predictions(flagged.root / "table.fits")


@pytest.fixture(scope="module")
def stored(flagged: Survey) -> pa.Table:
    """All rows as Arrow reads them, in the order of the catalogue."""
    files = [*flagged.root.glob("hats/dataset/Norder=*/**/*.parquet"), flagged.root / "hats/bad-coordinates.parquet"]
    return pa.concat_tables([pq.ParquetFile(path).read() for path in files]).sort_by("CATALOG_ROW")


def nulls(stored: pa.Table, name: str) -> list[int]:
    return np.flatnonzero(stored[name].combine_chunks().is_null()).tolist()


def test_what_is_missing_is_null(stored: pa.Table, table: np.ndarray[Any, Any]) -> None:
    gone = sorted(BAD + MISSING)
    assert np.flatnonzero(table["FLG_STATUS"]).tolist() == gone
    assert {name: nulls(stored, name) for name in ("FLG_G", "FLG_HIGH", "RA", "MAG")} == {
        "FLG_G": gone, "FLG_HIGH": gone, "RA": BAD, "MAG": NO_MAG,
    }  # fmt: skip
    assert nulls(stored, "KIND") == list(range(1, 60, 3))
    assert stored["FLG_HIGH"].type == pa.bool_()
    high = stored["FLG_HIGH"].fill_null(False).to_numpy()
    assert 10 < high.sum() < 50
    assert high.tolist() == table["FLG_HIGH"].tolist()


def test_elements_of_arrays_are_null(stored: pa.Table) -> None:
    for name in ("FLG_MEANS", "FLG_HIGHS"):
        assert nulls(stored, name) == []
        elements = stored[name].combine_chunks().flatten()
        assert np.flatnonzero(elements.is_null()).tolist() == [
            3 * row + i for row in sorted(BAD + MISSING) for i in range(3)
        ]
    assert stored["COLOURS"][7].as_py() == [14.0, None]
    assert stored["COLOURS"].combine_chunks().flatten().null_count == 1


def test_statistics_count_the_nulls_and_span_the_values(flagged: Survey, stored: pa.Table) -> None:
    footer = pq.read_metadata(flagged.root / "hats/dataset/_metadata")
    placed = stored.filter(pa.array(~np.isin(np.arange(60), BAD)))
    at = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
    for name in ("FLG_G", "FLG_HIGH", "MAG", "RA"):
        groups = [footer.row_group(i).column(at[name]).statistics for i in range(footer.num_row_groups)]
        values = placed[name].drop_null().to_numpy()
        assert sum(group.null_count for group in groups) == placed[name].null_count == len(placed) - len(values)
        assert min(group.min for group in groups if group.has_min_max) == values.min()
        assert max(group.max for group in groups if group.has_min_max) == values.max()


def test_lsdb_knows_what_is_missing(flagged: Survey, table: np.ndarray[Any, Any]) -> None:
    lsdb = quietly(importlib.import_module, "lsdb")
    catalog = quietly(lsdb.open_catalog, flagged.root / "hats")
    whole = quietly(catalog.compute)
    kept = quietly(lambda: whole.dropna(subset=["FLG_G", "MAG"]))
    rows = pd.DataFrame(whole).set_index("CATALOG_ROW").sort_index()
    for name in ("FLG_G", "FLG_HIGH"):
        assert rows.index[rows[name].isna()].tolist() == MISSING
    assert rows.dtypes.astype(str).loc[["FLG_G", "FLG_HIGH", "MAG"]].tolist() == [
        "float[pyarrow]", "bool[pyarrow]", "double[pyarrow]",
    ]  # fmt: skip
    good = np.flatnonzero(table["FLG_STATUS"] == 0)
    assert rows["FLG_G"].mean() == pytest.approx(table["FLG_G"][good].mean())
    assert rows["FLG_HIGH"].sum() == table["FLG_HIGH"][good].sum()
    assert sorted(kept["CATALOG_ROW"]) == sorted({*good.tolist()} - {*NO_MAG})
    near = quietly(lambda: catalog.cone_search(ra=120, dec=0, radius_arcsec=36000).compute())
    cosine = np.cos(np.radians(table["DEC"])) * np.cos(np.radians(table["RA"] - 120))
    assert 3 < len(near) < 40
    assert sorted(near["CATALOG_ROW"]) == np.flatnonzero(cosine > np.cos(np.radians(10))).tolist()


def test_pandas_knows_what_is_missing(flagged: Survey) -> None:
    rows = pd.concat(map(pd.read_parquet, flagged.root.glob("hats/dataset/Norder=*/**/*.parquet")))
    for name in ("FLG_G", "FLG_HIGH"):
        assert sorted(rows["CATALOG_ROW"][rows[name].isna()]) == MISSING


def test_folder_is_a_catalogue_with_the_values_of_the_table(flagged: Survey, table: np.ndarray[Any, Any]) -> None:
    """Bit for bit: a null is the number that the FITS table has in its place."""
    names = ["CATALOG_ROW", "RA", "MAG", "COLOURS", "KIND", "FLG_G", "FLG_MEANS", "FLG_STATUS"]
    parts = []
    for path in (flagged.root / "hats", flagged.root / "hats/bad-coordinates.parquet"):
        catalog = open_tables([path])
        parts.append(catalog.read(0, catalog.nrows, names))
        catalog.close()
    order = np.argsort(np.concatenate([part["CATALOG_ROW"] for part in parts]))
    for name in names[1:]:
        values = np.concatenate([part[name] for part in parts])[order]
        wanted = table[name].astype("S") if values.dtype.kind == "S" else table[name].astype(values.dtype)
        assert values.dtype.kind == "S" or values.dtype == table[name].dtype.newbyteorder("=")
        assert (values == wanted).all() if values.dtype.kind == "S" else values.tobytes() == wanted.tobytes()


# --- what validate says -----------------------------------------------------------------------------------------------------


def changed(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: replaced(rows, name, change(rows[name].to_pylist()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("FLG_G", lambda v: [np.nan if x is None else x for x in v], "FLG_G holds NaN where a null should be in 1 rows"),
        ("MAG", lambda v: [np.nan if x is None else x for x in v], "MAG holds NaN where a null should be"),
        ("FLG_HIGH", lambda v: [bool(x) for x in v], "FLG_HIGH has a value although FLG_STATUS says it is null in 1 rows"),
        ("FLG_HIGH", lambda v: [None] * len(v), "FLG_HIGH is null although FLG_STATUS says it is good"),
        ("FLG_G", lambda v: [None] * len(v), "FLG_G is not finite although FLG_STATUS says it is good"),
        ("FLG_MEANS", lambda v: [[np.nan] * 3 if x[0] is None else x for x in v], "FLG_MEANS holds NaN where a null"),
        ("KIND", lambda v: [x or "" for x in v], "KIND holds empty text where a null should be"),
    ],
)  # fmt: skip
def test_nulls_that_are_not_where_they_belong_are_named(
    flagged: Survey, tmp_path: Path, name: str, change: Callable[[list[Any]], list[Any]], message: str
) -> None:
    shutil.copytree(flagged.root / "hats", tmp_path / "hats")
    assert validate(tmp_path / "hats").problems == []
    files = sorted(tmp_path.glob("hats/dataset/Norder=*/**/*.parquet"))
    rewrite(
        next(path for path in files if 5 in pq.ParquetFile(path).read()["CATALOG_ROW"].to_pylist()),
        changed(name, change),
    )
    seal(tmp_path / "hats")
    assert message in "\n".join(validate(tmp_path / "hats").problems)
