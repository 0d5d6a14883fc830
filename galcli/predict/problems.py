"""The list of rows that went wrong, beside the output table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np

from galcli.predict.plan import Plan
from galcli.sky.tiles import Tile
from galcli.tables.atomic import atomic_write, output_error

#: What the reason of a row says whose tile was given up.
_GIVEN_UP = re.compile(r"tile (\S+) given up after \d+ tries: ")


def reason_given_up(tile: Tile, tries: int, why: str) -> str:
    """The reason of every row of a tile that could not be made."""
    return f"tile {tile.path} given up after {tries} tries: {why}"


def given_up_in(path: Path) -> int:
    """How many tiles of an output were given up, by its list of problems."""
    if not path.exists():
        return 0
    with path.open(newline="", encoding="utf-8") as lines:
        found = (_GIVEN_UP.match(reason) for _, _, reason in csv.reader(lines))
        return len({match[1] for match in found if match})


def write_problems(plan: Plan, path: Path) -> dict[str, int]:
    """Write the rows that went wrong as CSV; where none did, there is no such file.

    Returns
    -------
    dict of str to int
        Rows to which each of the five most frequent reasons applies; names of files and models are left out.

    Raises
    ------
    OutputError
        If the list cannot be written.
    """
    reports = [plan.paths.report(tile) for tile in plan.tiles]
    entries = [(row, reason) for report in reports if report.exists() for row, reason in json.loads(report.read_text())]
    bad = np.concatenate([plan.rows[t.start : t.stop] for t in plan.tiles if t.order < 0] or [np.empty(0, np.int64)])
    entries += [(int(row), "RA or Dec is missing, not finite or out of range") for row in bad]
    if not entries:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        return {}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["row", "id", "reason"])
    entries.sort()
    for row, reason in entries:
        identifier = plan.catalog["id"][row]
        writer.writerow([row, identifier.decode() if isinstance(identifier, bytes) else identifier, reason])
    # A file name that is no UTF-8 is in the list as escapes.
    atomic_write(path, text.getvalue().encode("utf-8", "backslashreplace"))
    once = dict.fromkeys((row, reason.split(": ")[-1]) for row, reason in entries)  # models may share a reason
    return dict(Counter(reason for _, reason in once).most_common(5))
