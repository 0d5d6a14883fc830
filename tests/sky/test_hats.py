"""HATS catalogues and folders of Parquet files: all partitions, all rows, or a refusal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galcli.errors import InputError
from galcli.sky.catalog import open_catalog
from tests.sky.tables import IDS, write_collection, write_folder, write_hats, write_parquet

HATS = Path(os.environ.get("GALCLI_REAL_DATA", Path(__file__).parents[3] / "shared/data")) / "hats-small-sky"


def remove_partition(folder: Path) -> None:
    (folder / "dataset/Norder=0/Dir=0/Npix=11.parquet").unlink()


def empty_folder(folder: Path) -> None:
    remove_partition(folder)
    (folder / "dataset/Norder=0/Dir=0/Npix=11").mkdir()


def lose_a_row(folder: Path) -> None:
    path = folder / "dataset/Norder=0/Dir=0/Npix=11.parquet"
    pq.write_table(pq.ParquetFile(path).read().slice(1), path)


def cut(folder: Path) -> None:
    path = folder / "dataset/Norder=0/Dir=0/Npix=11.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def no_list(folder: Path) -> None:
    (folder / "partition_info.csv").write_text("a,b\n1,2\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove_partition, "partition Norder=0, Npix=11 of partition_info.csv is missing"),
        (empty_folder, "Npix=11 .* is missing"), (lose_a_row, "4 rows are there, hats_nrows says 5"),
        (cut, r"Npix=11\.parquet"), (no_list, "partition_info.csv is not a list"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_incomplete_catalogue_is_refused(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    write_hats(tmp_path / "h")
    damage(tmp_path / "h")
    with pytest.raises(InputError, match=words) as caught:
        open_catalog(tmp_path / "h")
    assert caught.value.hint


def test_columns_of_positions_are_those_it_names(tmp_path: Path) -> None:
    write_hats(tmp_path / "h", hats_col_ra="dec", hats_col_dec="RA")
    with open_catalog(tmp_path / "h") as catalog:
        assert (catalog.ra_name, catalog.dec_name) == ("dec", "ra")
    with open_catalog(tmp_path / "h", ra_column="ra", dec_column="dec") as catalog:
        assert catalog.ra_name == "ra"


def test_without_a_list_all_files_count(tmp_path: Path) -> None:
    write_hats(tmp_path / "h")
    (tmp_path / "h" / "partition_info.csv").unlink()
    write_parquet(tmp_path / "h" / "dataset" / "data_thumbnail.parquet")
    with open_catalog(tmp_path / "h") as catalog:
        assert sorted(next(catalog.chunks())["id"].tolist()) == sorted(IDS)


def test_older_name_of_the_properties(tmp_path: Path) -> None:
    write_hats(tmp_path / "h", nrows=6)
    (tmp_path / "h" / "hats.properties").rename(tmp_path / "h" / "properties")
    with pytest.raises(InputError, match="hats_nrows says 6"):
        open_catalog(tmp_path / "h")


def test_ending_of_the_partitions_is_the_one_it_names(tmp_path: Path) -> None:
    write_hats(tmp_path / "h", hats_npix_suffix=".snappy.parquet")
    for path in (tmp_path / "h").rglob("Npix=*"):
        path.rename(path.with_suffix(".snappy.parquet"))
    with open_catalog(tmp_path / "h") as catalog:
        assert catalog.nrows == 5
    write_hats(tmp_path / "f", hats_npix_suffix=".fits")
    with pytest.raises(InputError, match=r"its partitions are \.fits files"):
        open_catalog(tmp_path / "f")


def test_collection_without_its_table_and_several_catalogues(tmp_path: Path) -> None:
    write_collection(tmp_path / "c")
    (tmp_path / "c" / "primary").rename(tmp_path / "c" / "elsewhere")
    with pytest.raises(InputError, match="primary table 'primary' is not there"):
        open_catalog(tmp_path / "c")
    (tmp_path / "c" / "collection.properties").unlink()
    with pytest.raises(InputError, match="several HATS catalogues: elsewhere, margin"):
        open_catalog(tmp_path / "c")


def test_files_of_a_folder_may_differ_in_width_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "f")
    more = pa.table({"OBJECT_ID": pa.array([7], "int32"), "ra": [1.0], "dec": [2.0], "NOBS": ["many"]})
    pq.write_table(more, tmp_path / "f" / "c.parquet")
    with open_catalog(tmp_path / "f") as catalog:
        assert next(catalog.chunks())["id"].tolist() == [*IDS, 7]
        with pytest.raises(InputError, match=r"NOBS is int64 in .*a\.parquet, text in .*c\.parquet"):
            catalog.column_meta("NOBS")
        with pytest.raises(InputError, match=r"MAG is missing in .*c\.parquet"):
            catalog.column_meta("MAG")


def test_ring_order_is_refused(tmp_path: Path) -> None:
    write_hats(tmp_path / "h", hats_ordering="RING")
    write_parquet(tmp_path / "a.parquet", ordering="ring")
    for name in ("h", "a.parquet"):
        with pytest.raises(InputError, match="RING order") as caught:
            open_catalog(tmp_path / name)
        assert "healpy.ring2nest" in caught.value.hint


@pytest.mark.skipif(not HATS.is_dir(), reason=f"no HATS catalogues in {HATS}")
@pytest.mark.parametrize(
    ("name", "rows", "ra", "identifier"),
    [
        ("tests/data/small_sky", 131, "ra", "id"), ("tests/data/small_sky_source", 17161, "source_ra", "source_id"),
        ("tests/data/small_sky_nested", 131, "ra", "id"),
        ("lsdb/tests/data/small_sky_order1_collection", 131, "ra", "id"),
    ],
)  # fmt: skip
def test_real_catalogues_are_read_as_hats_reads_them(name: str, rows: int, ra: str, identifier: str) -> None:
    with open_catalog(HATS / name) as catalog:
        assert (catalog.nrows, catalog.ra_name, catalog.id_name) == (rows, ra, identifier)
        mine = np.concatenate(list(catalog.chunks(size=1000)))
    files = sorted((HATS / name).rglob("Npix=*.parquet"))
    files = [path for path in files if "margin" not in str(path)]
    truth = pa.concat_tables([pq.ParquetFile(path).read(columns=[identifier, ra]) for path in files])
    assert sorted(mine["id"].tolist()) == sorted(truth[identifier].to_pylist())
    assert sorted(mine["ra"].tolist()) == sorted(truth[ra].to_pylist())
