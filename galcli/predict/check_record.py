"""Whether what an output says of its own making agrees with itself, and with the columns it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.models.card import Card, Table
from galcli.predict.existing import run_entries
from galcli.predict.identity import digest
from galcli.predict.runner import free_name
from galcli.predict.table import MODELS, PREDICTIONS, RUN
from galcli.sky.healpix import ORDER_MAX
from galcli.sky.rows import FitsTable, open_table

#: Keywords of a model in the header of the predictions, and its column in MODELS.
_HEADER = {"MODEL": "NAME", "MVER": "VERSION", "MSHA": "SHA256", "MFRONT": "FRONT"}


def record_problems(path: Path, table: FitsTable, cards: list[Card]) -> Iterator[str]:
    """What contradicts what in the header, in RUN, in MODELS and in the tables of the models, one line each.

    Parameters
    ----------
    path : Path
        A table, or the record of a folder.
    table : FitsTable
        Its predictions.
    cards : list of Card
        Of its models.

    Raises
    ------
    InputError, KeyError, ValueError
        If a table is missing, or no JSON is where it should be.
    """
    entries = run_entries(path)
    facts: dict[str, Any] = {
        "IDENTITY": digest(entries), "GALCLI": entries["galcli"], "ORTVER": entries["onnxruntime"],
        "HPXNEST": True, "HPXORDER": ORDER_MAX,
    }  # fmt: skip
    for keyword, value in facts.items():
        if (found := table.header.get(keyword)) != value:
            meaning = f", the digest of what {RUN} lists" if keyword == "IDENTITY" else ""
            yield f"header card {keyword} is {found}, not {value}{meaning}"
    yield from _column_problems(list(table.fields), json.loads(entries["columns"]))
    nothing: dict[str, str] = {}
    models = zip_longest(_models_of_run(entries), _models(path), fillvalue=nothing)
    for number, (said, listed) in enumerate(models, start=1):
        for keyword, column in _HEADER.items():
            stated = str(table.header.get(f"{keyword}{number}", ""))
            if not said.get(column) == listed.get(column) == stated:
                yield f"{column} of model {number} differs between {RUN}, {MODELS} and the header of {PREDICTIONS}"
    taken = {PREDICTIONS, MODELS, RUN}
    for card in cards:
        for wanted in card.tables:
            yield from _table_problems(path, free_name(wanted.name, taken), wanted)


def _column_problems(found: list[str], wanted: list[str]) -> Iterator[str]:
    missing = [name for name in wanted if name not in found]
    strange = [name for name in found if name not in wanted]
    yield from (f"column {name} is missing" for name in missing)
    yield from (f"column {name} does not belong here: {RUN} does not list it" for name in strange)
    if not missing and not strange and found != wanted:
        yield f"the columns are not in the order of {RUN}"


def _models_of_run(entries: dict[str, str]) -> Iterator[dict[str, str]]:
    number = 0
    while f"models.{number}.name" in entries:
        yield {column: entries[f"models.{number}.{column.lower()}"] for column in _HEADER.values()}
        number += 1


def _models(path: Path) -> Iterator[dict[str, str]]:
    names = list(_HEADER.values())
    columns = _values(path, MODELS, names)
    for values in zip(*(columns[name].tolist() for name in names), strict=True):
        yield {name: value.decode("ascii", "replace") for name, value in zip(names, values, strict=True)}


def _table_problems(path: Path, name: str, wanted: Table) -> Iterator[str]:
    """Whether a table of a model is what its card says."""
    found = _values(path, name, [column.name for column in wanted.columns])
    for column in wanted.columns:
        values = found[column.name]
        if not np.array_equal(values, np.array(column.values, values.dtype)):
            yield f"{name}: column {column.name} differs from the card in {MODELS}"


def _values(path: Path, hdu: str, names: list[str]) -> dict[str, NDArray[Any]]:
    table = open_table(path, hdu)
    try:
        return table.read(0, table.nrows, names)
    finally:
        table.close()
