"""The table that is there before a run begins: whether it is galcli's, whole, and what this run would write."""

from __future__ import annotations

from pathlib import Path

from galcli.errors import InputError, OutputError
from galcli.predict.identity import Identity, flatten, require_same
from galcli.predict.table import RUN, text_bytes
from galcli.sky.rows import open_table
from galcli.tables.verify import check_file

_HINT = "give --overwrite to replace it, or another name with -o"


def entries_of(out: Path, *, replaced: bool) -> dict[str, str] | None:
    """What a table says about its own making.

    Parameters
    ----------
    out : Path
    replaced : bool
        The table is to be replaced, whatever it is.

    Returns
    -------
    dict of str to str, or None
        Flattened identity; None where there is no table, or it is to be replaced.

    Raises
    ------
    OutputError
        If something else is in the way, or the table is damaged.
    """
    if not out.exists():
        return None
    if not out.is_file():
        raise OutputError(f"{out} is not a file", "choose another name with -o")
    if replaced:
        return None
    try:
        table = open_table(out, RUN)
        try:
            rows = table.read(0, table.nrows, ["KEY", "VALUE"])
        finally:
            table.close()
    except (InputError, KeyError) as error:
        raise OutputError(f"{out} exists and is not a table that galcli wrote", _HINT) from error
    problems = check_file(out)
    if problems:
        raise OutputError(f"{out} exists and is damaged: {problems[0]}", _HINT)
    return {
        key.decode(): value.decode() for key, value in zip(rows["KEY"].tolist(), rows["VALUE"].tolist(), strict=True)
    }


def require_identity(out: Path, before: dict[str, str], identity: Identity) -> None:
    """Refuse a table that was made from something else.

    Raises
    ------
    IdentityError
        Naming the differences.
    """
    now = {text_bytes(key).decode(): text_bytes(value).decode() for key, value in flatten(identity).items()}
    require_same(before, now, f"{out} exists and", _HINT)
