"""Whether the two files that describe a Parquet dataset say what its leaves say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from galcli.errors import InputError
from galcli.tables.parquet import reading


def footer_problems(dataset: Path, leaves: Sequence[Path]) -> Iterator[str]:
    """Compare ``_common_metadata`` and ``_metadata`` with the footers of the leaves.

    Parameters
    ----------
    dataset : Path
        Folder that holds the two files and, below it, the leaves.
    leaves : sequence of Path
        In the order in which they were written.

    Yields
    ------
    str
        What differs.
    """
    import pyarrow.parquet as pq

    try:
        with reading(dataset / "_common_metadata") as path:
            schema = pq.read_schema(path)
        with reading(dataset / "_metadata") as path:
            joined = pq.read_metadata(path)
            groups = [_facts(joined.row_group(i)) for i in range(joined.num_row_groups)]
    except InputError as error:
        yield error.message
        return
    found = []
    for leaf in leaves:
        name = leaf.relative_to(dataset).as_posix()
        try:
            with reading(leaf) as path:
                footer = pq.read_metadata(path)
                if not footer.schema.to_arrow_schema().equals(schema, check_metadata=True):
                    yield f"{name} has not the columns of _common_metadata"
                found += [_facts(footer.row_group(i), name) for i in range(footer.num_row_groups)]
        except InputError:
            return  # whoever reads the rows says so
    if found != groups:
        yield "_metadata does not describe the leaves"


def _facts(group: Any, name: str | None = None) -> dict[str, Any]:
    """What the footer says about a group of rows; ``name``: of the file that holds it."""
    facts: dict[str, Any] = group.to_dict()
    if name is not None:
        for column in facts["columns"]:
            column["file_path"] = name
    return facts
