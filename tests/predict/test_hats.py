"""A HATS folder holds what the table would hold, where HATS readers look for it."""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galcli.predict.leaves import join_tiles
from galcli.predict.paths import RunPaths
from galcli.sky.healpix import ORDER_MAX, overlapping
from galcli.sky.tiles import Tile, make_tiles
from tests.survey import Survey, make_survey, read_predictions, write_catalog
from tests.tiny_models import write_classes, write_corners

Run = Callable[..., Any]
BAD = [4, 9]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A survey with bad coordinates, missing cutouts, two models with text and vectors, and a whole number with nulls."""
    survey = make_survey(tmp_path_factory.mktemp("hats") / "survey", 60)
    ra, ids = survey.ra.copy(), survey.ids.copy()
    ra[BAD] = np.nan
    ids[[5, 11]] -= 1
    number = np.arange(60, dtype=np.int32)
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=survey.dec, NUMBER=number)
    with fitsio.FITS(str(survey.catalog), "rw") as file:
        file[1].write_key("TNULL4", 7)
    write_classes(survey.root / "classes.onnx")
    write_corners(survey.root / "corners.onnx")
    return survey


def words(survey: Survey, out: Path, *more: object) -> list[str]:
    models = ["--model", survey.root / "classes.onnx", "--model", survey.root / "corners.onnx"]
    return survey.predict(*models, "--columns", "NUMBER", "--max-fail", 50, "--order", 3, *more, out=out)


@pytest.fixture(scope="module")
def table(odd: Survey, galcli: Run) -> np.ndarray[Any, Any]:
    galcli(*words(odd, odd.root / "table.fits"))
    return read_predictions(odd.root / "table.fits")


@pytest.fixture(scope="module")
def folder(odd: Survey, galcli: Run) -> Path:
    """The HATS folder, in leaves of at most 20 rows and groups of a few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("galcli.predict.hats.LEAF_ROWS", 20)
        patch.setattr("galcli.tables.parquet.GROUP_BYTES", 200)
        galcli(*words(odd, odd.root / "parquet", "--layout", "hats"))
    return odd.root / "parquet"


def quietly(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function of lsdb or hats; only what pandas says about the future of lsdb's own calls is let pass."""
    import pandas.errors

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", getattr(pandas.errors, "Pandas4Warning", DeprecationWarning))
        return function(*given)


def test_readers_of_hats_open_it(folder: Path, table: np.ndarray[Any, Any]) -> None:
    lsdb = quietly(importlib.import_module, "lsdb")
    validation, skymap = (importlib.import_module(f"hats.io.{name}") for name in ("validation", "skymap"))
    assert quietly(validation.is_valid_catalog, folder, True)
    catalog = quietly(importlib.import_module("hats").read_hats, folder)
    assert catalog.catalog_info.total_rows == len(table) - len(BAD)
    assert skymap.read_skymap(catalog, None).sum() == len(table) - len(BAD)
    assert catalog.schema.field("RA").metadata[b"unit"] == b"deg"
    assert catalog.schema.field("RA").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    rows = quietly(lambda: lsdb.open_catalog(folder).compute())
    rows = rows.iloc[np.argsort(rows["CATALOG_ROW"].to_numpy())]
    kept = np.delete(np.arange(len(table)), BAD)
    assert rows["CATALOG_ROW"].tolist() == kept.tolist()
    assert rows["OBJECT_ID"].tolist() == table["OBJECT_ID"][kept].tolist()
    assert rows["CLS_NAME"].fillna("").tolist() == table["CLS_NAME"][kept].tolist()
    corners = np.array([np.stack([np.stack(x) for x in value]) for value in rows["CRN_FLUX"]], np.float32)
    np.testing.assert_array_equal(corners, table["CRN_FLUX"][kept])
    assert rows["NUMBER"].isna().to_numpy().nonzero()[0].tolist() == np.flatnonzero(kept == 7).tolist()
    assert rows["CLS_NR"].isna().sum() == 2  # those without a cutout


def test_rows_are_those_of_the_table(folder: Path, table: np.ndarray[Any, Any]) -> None:
    """All of them, bit for bit, bad coordinates too."""
    from galcli.predict.hats_tree import HatsTree
    from galcli.predict.output_rows import files_of as row_files
    from galcli.predict.output_rows import rows_of

    parts = [rows for path in row_files(HatsTree(folder, ".parquet")) for rows in rows_of(path)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined.pop("CATALOG_ROW"))
    assert set(joined) == set(table.dtype.names or ())
    for name, values in joined.items():
        np.testing.assert_array_equal(
            values[order], table[name].astype("S") if values.dtype.kind == "S" else table[name]
        )


def test_leaves_are_sorted_and_hold_what_their_name_says(folder: Path) -> None:
    leaves = sorted(folder.glob("dataset/Norder=*/Dir=*/*.parquet"))
    listed = np.loadtxt(folder / "partition_info.csv", delimiter=",", skiprows=1, dtype=int)
    assert len(leaves) == len(listed) > 3
    groups = 0
    for leaf in leaves:
        file = pq.ParquetFile(leaf)
        groups += file.num_row_groups
        hpx = file.read(["_healpix_29"])["_healpix_29"].to_numpy()
        order, pix = (int(leaf.parts[-3].split("=")[1]), int(leaf.stem.split("=")[1]))
        assert 0 < len(hpx) <= 20
        assert (np.diff(hpx) >= 0).all()
        assert (hpx >> 2 * (ORDER_MAX - order) == pix).all()
    assert groups > len(leaves)
    assert pq.read_metadata(folder / "dataset/_metadata").num_row_groups == groups


def test_summary_says_where_bad_coordinates_are(odd: Survey, galcli: Run, tmp_path: Path) -> None:
    said = galcli(*words(odd, tmp_path / "p", "--layout", "hats")).err
    assert f"they are in {tmp_path / 'p' / 'bad-coordinates.parquet'}" in said


@pytest.mark.parametrize(("layout", "opener"), [("hats", "lsdb.open_catalog"), ("hats-fits", "hats.read_hats")])
def test_last_line_names_what_opens_the_folder(
    survey: Survey, galcli: Run, tmp_path: Path, layout: str, opener: str
) -> None:
    said = " ".join(galcli(*survey.predict("--layout", layout, out=tmp_path / "p")).out.split())
    assert re.findall(r"[\w.]+\(", said) == [f"{opener}("]
    module, name = opener.split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hats warns that FITS files have no Arrow schema
        opened = getattr(importlib.import_module(module), name)(tmp_path / "p")
    assert len(opened.get_healpix_pixels()) == len(list(tmp_path.glob("p/dataset/Norder=*/*/Npix=*")))


def test_rows_with_bad_coordinates_are_beside(folder: Path, table: np.ndarray[Any, Any]) -> None:
    bad = pq.read_table(folder / "bad-coordinates.parquet")
    assert bad["CATALOG_ROW"].to_pylist() == BAD
    assert bad["_healpix_29"].to_pylist() == [None, None]
    assert bad["OBJECT_ID"].to_pylist() == table["OBJECT_ID"][BAD].tolist()


@pytest.mark.parametrize("layout", ["hats", "hats-fits"])
def test_two_runs_and_shards_give_the_same_bytes(odd: Survey, galcli: Run, tmp_path: Path, layout: str) -> None:
    galcli(*words(odd, tmp_path / "1" / "p", "--layout", layout))
    galcli(*words(odd, tmp_path / "2" / "p", "--layout", layout))
    for index in (1, 0):
        galcli(*words(odd, tmp_path / "3" / "p", "--layout", layout, "--shard", f"{index}/2"))
    galcli("merge", tmp_path / "3" / "p.run", "--max-fail", 50)
    first = files_of(tmp_path / "1")
    assert {"p.problems.csv", "p/galcli.fits", "p/hats.properties"} <= set(first)
    assert files_of(tmp_path / "2") == first
    assert files_of(tmp_path / "3") == first


def test_fits_leaves_are_the_tiles(odd: Survey, galcli: Run, tmp_path: Path, table: np.ndarray[Any, Any]) -> None:
    out = tmp_path / "p"
    galcli(*words(odd, out, "--layout", "hats-fits", "--keep-tiles"))
    leaves = files_of(out / "dataset")
    assert leaves == {name: (RunPaths(out).root / name).read_bytes() for name in leaves}
    rows = np.concatenate(
        [read_predictions(path) for path in [*out.glob("dataset/*/*/*.fits"), out / "bad-coordinates.fits"]]
    )
    rows = rows[np.argsort(rows["CATALOG_ROW"])]
    assert rows["CATALOG_ROW"].tolist() == list(range(len(table)))
    np.testing.assert_array_equal(rows["CRN_FLUX"], table["CRN_FLUX"])
    with fitsio.FITS(str(out / "galcli.fits")) as file, fitsio.FITS(str(odd.root / "table.fits")) as other:
        assert [hdu.get_extname() for hdu in file] == [*(hdu.get_extname() for hdu in other), "FILES"]


@pytest.mark.parametrize("layout", ["hats", "hats-fits"])
def test_parts_of_one_pixel_share_a_leaf(
    galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr("galcli.predict.plan.TILE_ROWS", 5)
    monkeypatch.setattr("galcli.predict.hats.LEAF_ROWS", 10)
    survey = make_survey(tmp_path / "survey", 40, ra=np.full(40, 120.0), dec=np.full(40, 3.0))
    out = tmp_path / "p"
    galcli(*survey.predict("--layout", layout, out=out))
    assert len(list(out.glob("dataset/Norder=29/*/*"))) == 1
    galcli("validate", out, "--catalog", survey.catalog)


def test_catalogue_without_identifiers_needs_no_further_row_number(galcli: Run, tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "survey", 12)
    write_catalog(survey.catalog, RA=survey.ra, DEC=survey.dec)
    galcli(*survey.predict("--layout", "hats", out=tmp_path / "p"))
    names = pq.read_schema(tmp_path / "p/dataset/_common_metadata").names
    assert "ROW" in names
    assert "CATALOG_ROW" not in names
    galcli("validate", tmp_path / "p", "--catalog", survey.catalog)


def test_catalogue_without_rows_gives_a_folder_without_leaves(galcli: Run, tmp_path: Path) -> None:
    from hats import read_hats

    survey = make_survey(tmp_path / "survey", 12)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids[:0], RA=survey.ra[:0], DEC=survey.dec[:0])
    galcli(*survey.predict("--layout", "hats", out=tmp_path / "p"))
    assert quietly(read_hats, tmp_path / "p").catalog_info.total_rows == 0
    galcli("validate", tmp_path / "p", "--catalog", survey.catalog)


# --- what stands there already ------------------------------------------------------------------------------------------


def test_a_finished_folder_is_not_made_again_and_replaced_on_request(
    survey: Survey, galcli: Run, tmp_path: Path
) -> None:
    out = tmp_path / "p"
    galcli(*survey.predict("--layout", "hats", out=out))
    before = files_of(out)
    assert "nothing to do" in galcli(*survey.predict("--layout", "hats", out=out)).err
    assert "is complete" in galcli("status", out).out
    assert "layout: hats -> hats-fits" in galcli(*survey.predict("--layout", "hats-fits", out=out), code=4).error
    galcli(*survey.predict("--layout", "hats-fits", "--overwrite", out=out))
    assert not list(out.rglob("*.parquet"))
    galcli(*survey.predict("--layout", "hats", "--overwrite", out=out))
    assert files_of(out) == before
    assert not RunPaths(out).root.exists()
    next(out.rglob("Npix=*")).unlink()
    assert "is missing" in galcli(*survey.predict("--layout", "hats", out=out), code=6).error


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_folder_of_somebody_else_is_never_touched(
    survey: Survey, galcli: Run, tmp_path: Path, more: list[str]
) -> None:
    out = tmp_path / "p"
    out.mkdir()
    assert "not a folder that galcli wrote" in galcli(*survey.predict("--layout", "hats", *more, out=out), code=6).error
    (out / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in galcli(*survey.predict("--layout", "hats", *more, out=out), code=6).error
    assert files_of(out) == {"thesis.tex": b"years of work"}
    (tmp_path / "file").write_text("text")
    assert "not a folder" in galcli(*survey.predict("--layout", "hats", *more, out=tmp_path / "file"), code=6).error
    assert (tmp_path / "file").read_text() == "text"


def test_merge_puts_the_folder_elsewhere(survey: Survey, galcli: Run, tmp_path: Path) -> None:
    out = tmp_path / "p"
    galcli(*survey.predict("--layout", "hats", "--shard", "0/1", out=out))
    assert "name of a file" in galcli("merge", RunPaths(out).root, "-o", tmp_path / "q.fits", code=2).error
    galcli("merge", RunPaths(out).root, "-o", tmp_path / "q", "--keep-tiles")
    assert not (tmp_path / "q.run").exists()
    assert "exists" in galcli("merge", RunPaths(out).root, "-o", tmp_path / "q", code=6).error
    galcli("merge", RunPaths(out).root, "-o", tmp_path / "q", "--overwrite")
    galcli("validate", tmp_path / "q", "--catalog", survey.catalog)


# --- which layout ----------------------------------------------------------------------------------------------------------


def test_large_catalogues_go_into_a_folder(
    survey: Survey, galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word for word in survey.predict() if word not in ("-o", str(survey.out))]
    monkeypatch.setattr("galcli.predict.options.LARGE", 48)
    galcli(*words)
    assert (tmp_path / "catalog_galcli.fits").is_file()
    monkeypatch.setattr("galcli.predict.options.LARGE", 47)
    galcli(*words)
    assert (tmp_path / "catalog_galcli_hats" / "hats.properties").is_file()
    refusal = galcli(*survey.predict(), code=2)
    assert "48 rows" in refusal.error
    assert "--layout table" in refusal.hint
    galcli(*survey.predict("--layout", "table"))
    galcli(*survey.predict("--limit", 47, out=tmp_path / "some.fits"))
    assert (tmp_path / "some.fits").is_file()


def test_forecast_takes_every_layout(survey: Survey, galcli: Run, tmp_path: Path) -> None:
    found = galcli(*survey.predict("--layout", "hats", "--dry-run", "--json", out=tmp_path / "p")).out
    assert json.loads(found)["rows"] == 48


# --- joining tiles ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, (12 << 2 * ORDER_MAX) - 1), min_size=0, max_size=300),
    st.integers(1, 20), st.integers(0, 100), st.integers(0, 5),
)  # fmt: skip
def test_every_tile_is_in_one_leaf(
    tmp_path_factory: pytest.TempPathFactory, hpx: list[int], max_rows: int, limit: int, twins: int
) -> None:
    pixels = np.array(hpx + hpx[:1] * twins * 20, np.int64)
    tiles = make_tiles(pixels, tmp_path_factory.getbasetemp() / "rows.npy", max_rows=max_rows)
    leaves = join_tiles(tiles, limit)
    assert [tile for leaf in leaves for tile in leaf.tiles] == tiles
    places = [(leaf.order, leaf.pix) for leaf in leaves]
    for leaf in leaves:
        assert overlapping(leaf.order, leaf.pix, places) == [(leaf.order, leaf.pix)]
        assert all((tile.pix >> 2 * (tile.order - leaf.order)) == leaf.pix for tile in leaf.tiles)
        assert len(leaf) <= limit or {(tile.order, tile.pix) for tile in leaf.tiles} == {(leaf.order, leaf.pix)}


def test_neighbours_join_until_the_limit() -> None:
    tiles = [Tile(1, 4, 0, 0, 10), Tile(1, 5, 0, 10, 20), Tile(2, 24, 0, 20, 30), Tile(1, 8, 0, 30, 40)]
    assert [(leaf.order, leaf.pix, len(leaf)) for leaf in join_tiles(tiles, 30)] == [(0, 1, 30), (0, 2, 10)]
    assert [(leaf.order, leaf.pix) for leaf in join_tiles(tiles, 29)] == [(1, 4), (1, 5), (1, 6), (0, 2)]
