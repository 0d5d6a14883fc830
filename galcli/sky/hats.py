"""Folders of Parquet files, HATS catalogues among them (hats.readthedocs.io, IVOA note HATS 1.0).

A HATS catalogue is cut by HEALPix pixel into ``dataset/Norder=k/Dir=d/Npix=p.parquet``, or into folders
``Npix=p/`` of such files. A HATS collection is a folder of them whose ``collection.properties`` name the primary one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from galcli.errors import InputError
from galcli.sky.joint import JointTable
from galcli.sky.parquet import Shelf, open_parquet
from galcli.sky.table import Field, Table

_COLLECTION = "collection.properties"
#: Files that say what a HATS catalogue is; the second is the older name.
_PROPERTIES = ("hats.properties", "properties")
#: Ending of a partition's file, unless the properties name another; ``/`` where it is a folder.
_SUFFIX = ".parquet"
_COPY_AGAIN = "copy or download the catalogue again"


def open_folder(folder: Path) -> Table:
    """Open a HATS catalogue, a HATS collection, or a folder of Parquet files in the order of their names.

    Raises
    ------
    InputError
        If there is nothing to read, a file is damaged, or partitions or rows are missing.
    """
    if (folder / _COLLECTION).is_file():
        primary = _properties(folder / _COLLECTION).get("HATS_PRIMARY_TABLE_URL", "")
        if not (primary and (folder / primary).is_dir()):
            raise InputError(f"{folder}: its primary table {primary!r} is not there", _COPY_AGAIN)
        return open_folder(folder / primary)
    said = next((folder / name for name in _PROPERTIES if (folder / name).is_file()), None)
    if said is not None:
        return _open_hats(folder, _properties(said))
    inside = sorted(path.parent.name for path in folder.glob(f"*/{_PROPERTIES[0]}"))
    if inside:
        raise InputError(f"{folder} holds several HATS catalogues: {', '.join(inside)}", "name one of them")
    files = _parquet_files(folder)
    if not files:
        raise InputError(f"{folder} holds no Parquet files", f"name the files of other formats: {folder}/*.fits")
    return JointTable(_opened(files), folder)


def _open_hats(folder: Path, properties: dict[str, str]) -> Table:
    suffix = properties.get("HATS_NPIX_SUFFIX", _SUFFIX)
    if suffix != "/" and not suffix.endswith(_SUFFIX):
        raise InputError(f"{folder}: its partitions are {suffix} files", "give a HATS catalogue of Parquet files")
    files = list(_partitions(folder, folder / "partition_info.csv", suffix))
    if not files:
        raise InputError(f"{folder}: the HATS catalogue holds no Parquet files", _COPY_AGAIN)
    table = JointTable(_opened(files), folder, properties)
    expected = properties.get("HATS_NROWS", "").strip()
    if expected and expected != str(table.nrows):
        table.close()
        raise InputError(f"{folder}: {table.nrows:,} rows are there, hats_nrows says {expected}", _COPY_AGAIN)
    return table


def _opened(files: Iterable[Path]) -> list[Table]:
    shelf = Shelf()
    tables: list[Table] = []
    like: dict[str, Field] | None = None
    for path in files:
        table = open_parquet(path, shelf, like)
        tables.append(table)
        like = table.fields
    return tables


def _partitions(folder: Path, listed: Path, suffix: str) -> Iterable[Path]:
    """Files of all partitions, in the order of the list; without a list, in the order of their names."""
    if not listed.is_file():
        for place in sorted((folder / "dataset").glob("Norder=*")):  # beside them may lie a sample of all rows
            yield from _parquet_files(place)
        return
    for order, pixel in _pixels(listed):
        stem = folder / "dataset" / f"Norder={order}" / f"Dir={pixel // 10000 * 10000}" / f"Npix={pixel}"
        files = [stem.with_name(stem.name + suffix.strip("/"))]
        files = _parquet_files(stem) if stem.is_dir() else [path for path in files if path.is_file()]
        if not files:
            raise InputError(
                f"{folder}: partition Norder={order}, Npix={pixel} of {listed.name} is missing", _COPY_AGAIN
            )
        yield from files


def _pixels(listed: Path) -> list[tuple[int, int]]:
    try:
        with listed.open(newline="", encoding="utf-8") as file:
            return [(int(row["Norder"]), int(row["Npix"])) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise InputError(f"{listed} is not a list of partitions with Norder and Npix", _COPY_AGAIN) from error


def _parquet_files(folder: Path) -> list[Path]:
    """Data files below a folder; names that begin with _ or . are notes about them."""
    files = (path for path in folder.rglob("*.*") if path.suffix in (".parquet", ".parq", ".pq") and path.is_file())
    return sorted(path for path in files if not path.name.startswith(("_", ".")))


def _properties(path: Path) -> dict[str, str]:
    """``key=value`` lines of a properties file, keys in capitals."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", _COPY_AGAIN) from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip().upper(): value.strip() for key, _, value in pairs}
