"""The files of a HATS folder, each with its SHA-256: a file that is not as it was written is never opened.

Parquet has checksums for its pages only, and its library ends the process over some damaged footers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from galcli.errors import InputError
from galcli.predict.hats_tree import HatsTree
from galcli.sky.rows import open_table
from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU

#: Extension name of the list.
FILES = "FILES"


def file_table(tree: HatsTree) -> TableHDU:
    """The list of all files that are there."""
    names = _names(tree)
    paths = [tree.root / name for name in names]
    width = max(map(len, names), default=1)
    columns = [
        Column("NAME", f"A{width}", description="file of this folder"),
        Column("BYTES", "i8", unit="byte", description="its size", null=-1),
        Column("SHA256", "A64", description="SHA-256 of its bytes"),
    ]
    values = {
        "NAME": np.array(names, f"S{width}"),
        "BYTES": np.array([path.stat().st_size for path in paths], np.int64),
        "SHA256": np.array([_sha256(path) for path in paths], "S64"),
    }
    return TableHDU(FILES, columns, values)


def file_problems(tree: HatsTree, *, hashed: bool = True) -> dict[str, str]:
    """What is wrong with the files of a folder.

    Parameters
    ----------
    tree : HatsTree
        Its record is whole.
    hashed : bool
        Read every file, rather than look at their sizes.

    Returns
    -------
    dict of str to str
        Name of the file -> what is wrong.

    Raises
    ------
    InputError, KeyError
        If the record has no list of files.
    """
    table = open_table(tree.record, FILES)
    try:
        listed = table.read(0, table.nrows, ["NAME", "BYTES", "SHA256"])
    finally:
        table.close()
    there = set(_names(tree))
    problems = {}
    for name, size, digest in zip(
        listed["NAME"].tolist(), listed["BYTES"].tolist(), listed["SHA256"].tolist(), strict=True
    ):
        path = tree.root / name.decode()
        if name.decode() not in there:
            problems[name.decode()] = "is missing"
        elif path.stat().st_size != size or (hashed and _sha256(path).encode() != digest):
            problems[name.decode()] = "is not as it was written"
        there.discard(name.decode())
    return problems | dict.fromkeys(sorted(there), "is not galcli's")


def _names(tree: HatsTree) -> list[str]:
    """All files but the record, which holds the list."""
    files = (path for path in tree.root.rglob("*") if path.is_file() and path != tree.record)
    return sorted(path.relative_to(tree.root).as_posix() for path in files)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", "check the disk and its permissions") from error
