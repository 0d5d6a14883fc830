"""The first rows of a predictions table, for a first look."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Rows shown, and scalar columns at most: what fits a terminal.
ROWS, COLUMNS = 5, 9
#: Columns that say little at a first look.
LEFT_OUT = ("HPX",)


def preview(path: Path) -> None:
    """Print the first rows of the predictions, scalar columns only, and how many columns are not shown."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from galcli.predict.merge import opened

    with opened(path) as table:
        names = list(table.fields)
        count = min(ROWS, table.nrows)
        rows = table.read(0, count, names)
    if not count:
        return
    scalars = [n for n in names if rows[n].ndim == 1 and n not in LEFT_OUT and not n.endswith(("_STATUS", "_OOD"))]
    shown = scalars[:COLUMNS]
    lines = Table(*shown, box=None, pad_edge=False)
    for row in range(count):
        lines.add_row(*(escape(_text(rows[name][row])) for name in shown))
    console = Console()
    console.print(lines)
    console.print(
        f"[dim]first rows; {len(names)} columns in all, explained in the file's TCOMM cards[/dim]", highlight=False
    )


def _text(value: object) -> str:
    if isinstance(value, bytes | np.bytes_):
        return value.decode("ascii", "replace").strip()
    if isinstance(value, np.floating):
        return f"{value:.3f}" if np.isfinite(value) else "-"
    return str(value)
