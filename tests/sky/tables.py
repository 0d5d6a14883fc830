"""The same small catalogue in every format."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table

IDS = [3_900_000_000_000_000_001, 3_900_000_000_000_000_003, 2**63 - 1, -5, 9]
NULLS = [1]  # rows whose NOBS and NAME are null


def columns() -> dict[str, list[Any]]:
    return {
        "OBJECT_ID": IDS,
        "ra": [10.5, 11.25, 12.0, 359.0, 0.1],
        "dec": [-5.0, 6.5, 0.0, 1e-7, -89.0],
        "NOBS": [3_900_000_000_000_000_001, None, 3, 4, 5],
        "MAG": [17.5, 18.25, None, 19.0, 20.0],
        "NAME": ["NGC 1", None, "M31", "a, b", "x"],
    }


def astropy_table() -> Table:
    kinds = {"OBJECT_ID": "i8", "ra": "f8", "dec": "f8", "NOBS": "i8", "MAG": "f8", "NAME": "U6"}
    made = {}
    for name, values in columns().items():
        gone = [value is None for value in values]
        filled = [("" if kinds[name] == "U6" else 0) if value is None else value for value in values]
        made[name] = (
            MaskedColumn(np.array(filled, kinds[name]), mask=gone) if any(gone) else np.array(filled, kinds[name])
        )
    table = Table(made)
    table["ra"].unit = table["dec"].unit = "deg"
    table["MAG"].unit = "mag"
    table["MAG"].description = "magnitudes"
    return table


def write_fits(path: Path) -> None:
    table = astropy_table()
    table["NOBS"].fill_value = -1
    table.write(path, format="fits")


def write_csv(
    path: Path, delimiter: str = ",", end: str = "\n", head: str = "", opener: Callable[..., Any] = open
) -> None:
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        file.write(head)
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerow(columns())
        writer.writerows(
            [["" if cell is None else cell for cell in row] for row in zip(*columns().values(), strict=True)]
        )


def arrow_table() -> pa.Table:
    mag = pa.field("MAG", pa.float64(), metadata={"unit": "mag", "description": "magnitudes"})
    schema = [(name, pa.array(values).type) for name, values in columns().items()]
    fields = [mag if name == "MAG" else pa.field(name, kind) for name, kind in schema]
    return pa.table(columns(), schema=pa.schema(fields))


def write_parquet(path: Path, rows: int = 2, **metadata: str) -> None:
    pq.write_table(arrow_table().replace_schema_metadata(metadata or None), path, row_group_size=rows)


def write_voparquet(path: Path) -> None:
    words = {"MAG": {"unit": "mag", "description": "magnitudes"}, "ra": {"unit": "deg"}, "dec": {"unit": "deg"}}
    table = astropy_table()
    metadata = {
        name: dict.fromkeys(("unit", "ucd", "description", "utype"), "") | words.get(name, {}) for name in table.columns
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.write(path, format="parquet.votable", metadata=metadata)


def write_folder(path: Path) -> None:
    path.mkdir()
    pq.write_table(arrow_table().slice(0, 3), path / "a.parquet")
    pq.write_table(arrow_table().slice(3), path / "b.parquet")
    (path / "_metadata").write_bytes(b"")


def write_hats(path: Path, nrows: int = 5, folders: bool = False, **properties: str) -> None:
    """A HATS catalogue of two partitions, each a file, or a folder of two files."""
    for pixel, rows in (("4", slice(0, 3)), ("11", slice(3, 5))):
        part = arrow_table()[rows]
        place = path / "dataset/Norder=0/Dir=0"
        place.mkdir(parents=True, exist_ok=True)
        if folders:
            (place / f"Npix={pixel}").mkdir()
            pq.write_table(part[:1], place / f"Npix={pixel}" / "part0.parquet")
            pq.write_table(part[1:], place / f"Npix={pixel}" / "part1.parquet")
        else:
            pq.write_table(part, place / f"Npix={pixel}.parquet")
    (path / "partition_info.csv").write_text("Norder,Npix\n0,4\n0,11\n")
    said = {"dataproduct_type": "object", "hats_nrows": str(nrows), "hats_col_ra": "ra", "hats_col_dec": "dec"}
    lines = "".join(f"{key}={value}\n" for key, value in (said | properties).items())
    (path / "hats.properties").write_text("#HATS catalog\n" + lines)


def write_collection(path: Path) -> None:
    path.mkdir()
    write_hats(path / "primary")
    write_hats(path / "margin")
    (path / "collection.properties").write_text("#HATS Collection\nhats_primary_table_url=primary\n")


#: File name -> how to write it. The names say nothing about the format where that is possible.
WRITERS: dict[str, Callable[[Path], None]] = {
    "galaxies.fits": write_fits,
    "galaxies.csv": write_csv,
    "galaxies.txt": lambda path: write_csv(path, "\t", "\r\n"),
    "semicolons": lambda path: write_csv(path, ";", head="\ufeff# made by hand\n# nothing to see\n"),
    "galaxies.csv.gz": lambda path: write_csv(path, opener=gzip.open),
    "galaxies.ecsv": lambda path: astropy_table().write(path, format="ascii.ecsv"),
    "galaxies.xml": lambda path: astropy_table().write(path, format="votable"),
    "galaxies.vot": lambda path: astropy_table().write(path, format="votable", tabledata_format="binary2"),
    "galaxies.parquet": write_parquet,
    "astropy.parquet": lambda path: astropy_table().write(path, format="parquet"),
    "voparquet.parquet": write_voparquet,
    "folder.parquet": write_folder,
    "galaxies.hats": write_hats,
    "folders.hats": lambda path: write_hats(path, folders=True),
    "collection": write_collection,
}
