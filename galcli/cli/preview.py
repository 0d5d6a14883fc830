"""The first rows of a predictions table, for a first look."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galcli.predict.options import HATS, HATS_FITS, TABLE

#: Rows shown.
ROWS = 5
#: Columns that say little at a first look.
LEFT_OUT = ("HPX",)
_OPENERS = {
    HATS: "a HATS folder: lsdb.open_catalog({}) opens it",
    HATS_FITS: "a HATS folder of FITS files: hats.read_hats({}) lists its pixels, astropy and TOPCAT read the files; "
    "for lsdb, take --layout hats",
}


def preview(path: Path, layout: str) -> None:
    """Print the first rows of a table, scalar columns only, and how many are not shown; of a folder, what opens it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from galcli.predict.merge import opened

    if layout != TABLE:
        text = _OPENERS[layout].format(repr(str(path)))
        Console().print(text, style="dim", markup=False, highlight=False)
        return
    with opened(path) as table:
        names = list(table.fields)
        count = min(ROWS, table.nrows)
        rows = table.read(0, count, names)
    if not count:
        return
    scalars = [n for n in names if rows[n].ndim == 1 and n not in LEFT_OUT and not n.endswith(("_STATUS", "_OOD"))]
    console = Console()
    cells = {name: [name, *(_text(rows[name][row]) for row in range(count))] for name in scalars}
    shown = _fitting({name: max(map(len, words)) for name, words in cells.items()}, console.width)
    lines = Table(*shown, box=None, pad_edge=False)
    for row in range(1, count + 1):
        lines.add_row(*(escape(cells[name][row]) for name in shown))
    console.print(lines)
    console.print(
        f"[dim]first rows; {len(names)} columns in all, explained in the file's TCOMM cards[/dim]", highlight=False
    )


def _fitting(widths: dict[str, int], room: int) -> list[str]:
    """The first columns that fit the terminal, leaving out error bars before values; never a cut number."""
    values = [name for name in widths if not name.endswith("_ERR")]
    shown: list[str] = []
    for name in values:
        if shown and sum(widths[one] + 2 for one in (*shown, name)) > room:
            break
        shown.append(name)
    return shown


def _text(value: object) -> str:
    if isinstance(value, bytes | np.bytes_):
        return value.decode("ascii", "replace").strip()
    if isinstance(value, np.floating):
        if not np.isfinite(value):
            return "-"
        return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.0e}"
    return str(value)
