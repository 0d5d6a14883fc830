"""The output that is there before a run begins: whether it is galcli's, whole, and what this run would write."""

from __future__ import annotations

from pathlib import Path

from galcli.errors import InputError, OutputError
from galcli.predict.hats_files import file_problems
from galcli.predict.hats_tree import HatsTree
from galcli.predict.identity import Identity, flatten, require_same
from galcli.predict.options import TABLE
from galcli.predict.table import RUN
from galcli.sky.rows import open_table
from galcli.tables.structure import check_file

_HINT = "give --overwrite to replace it, or another name with -o"
_ELSEWHERE = "choose another name with -o"


def entries_of(out: Path, layout: str, *, replaced: bool) -> dict[str, str] | None:
    """What an output says about its own making.

    Parameters
    ----------
    out : Path
    layout : str
        Form of the output that is to stand there.
    replaced : bool
        The output is to be replaced, whatever it says.

    Returns
    -------
    dict of str to str, or None
        Flattened identity; None where there is no output, or it is to be replaced.

    Raises
    ------
    OutputError
        If something else is in the way, or the output is damaged.
    """
    require_replaceable(out, layout)
    if replaced or not out.exists():
        return None
    table = out if layout == TABLE else HatsTree.of_layout(out, layout).record
    try:
        entries = run_entries(table)
    except (InputError, KeyError) as error:
        raise OutputError(f"{out} exists and is not a table that galcli wrote", _HINT) from error
    problems = check_file(table) or ([] if layout == TABLE else _lost_files(HatsTree.of_layout(out, layout)))
    if problems:
        raise OutputError(f"{out} exists and is damaged: {problems[0]}", _HINT)
    return entries


def _lost_files(tree: HatsTree) -> list[str]:
    return [f"{name} {problem}" for name, problem in file_problems(tree, hashed=False).items()]


def run_entries(table: Path) -> dict[str, str]:
    """The RUN table of a file: flattened identity.

    Raises
    ------
    InputError, KeyError
        If galcli did not write the file.
    """
    opened = open_table(table, RUN)
    try:
        rows = opened.read(0, opened.nrows, ["KEY", "VALUE"])
    finally:
        opened.close()
    return {
        key.decode(): value.decode() for key, value in zip(rows["KEY"].tolist(), rows["VALUE"].tolist(), strict=True)
    }


def require_replaceable(out: Path, layout: str) -> None:
    """Refuse to put an output of that form where something of another kind stands; a folder must be galcli's alone.

    Raises
    ------
    OutputError
    """
    if not out.exists():
        return
    if layout == TABLE:
        if not out.is_file():
            raise OutputError(f"{out} is not a file", _ELSEWHERE)
        return
    if not out.is_dir():
        raise OutputError(f"{out} is not a folder", _ELSEWHERE)
    # A file or folder of somebody else's must not go with the rows.
    known = {name for ending in (".parquet", ".fits") for name in HatsTree(out, ending).known}
    strange = sorted(path.name for path in out.iterdir() if path.name not in known)
    if strange:
        raise OutputError(f"{out} holds {strange[0]}, which galcli did not write there", _ELSEWHERE)
    try:
        run_entries(HatsTree.of_layout(out, layout).record)
    except (InputError, KeyError) as error:
        raise OutputError(f"{out} is not a folder that galcli wrote", _ELSEWHERE) from error


def require_identity(out: Path, before: dict[str, str], identity: Identity) -> None:
    """Refuse an output that was made from something else.

    Raises
    ------
    IdentityError
        Naming the differences.
    """
    require_same(before, flatten(identity), f"{out} exists and", _HINT)
