"""What a file or a folder is that galcli has not written, and that there is no check for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from galcli.predict.hats_tree import HatsTree, read_properties
from galcli.predict.table import MODELS, PREDICTIONS, RUN
from galcli.tables.header import Value
from galcli.tables.structure import check_file

#: Stacks in their folder.
STACKS = "Norder=*/Dir=*/Npix=*.fits"

_OURS = {PREDICTIONS, MODELS, RUN}


def other_file(path: Path, headers: Sequence[dict[str, Value | None]]) -> str:
    """What a file is that is no output of galcli; empty if it is one, or may be a damaged one.

    Parameters
    ----------
    path : Path
    headers : sequence of dict
        Cards of its HDUs, none if it is no FITS file.
    """
    if not path.exists():
        return "there is no such file or folder"
    if not headers:
        return "" if _head(path) in (b"", b"SIMPLE") else "it is not a plain FITS file, as outputs of galcli are"
    if _OURS & {cards.get("EXTNAME") for cards in headers}:
        return ""
    if len(headers) == 1 and headers[0]["NAXIS"]:  # where galcli writes no pixels
        return "it is a FITS image, and no stack of cutouts"
    if check_file(path, summed=False):
        return ""
    if any(cards.get("XTENSION") == "BINTABLE" and "ZIMAGE" not in cards for cards in headers):
        return "it is a FITS table that galcli did not write"
    return "it holds FITS images, and is no stack of cutouts"


def other_folder(path: Path) -> str:
    """What is in a folder that is neither a run, nor a HATS folder, nor one of stacks."""
    endings = Counter(file.suffix or "other" for file in path.rglob("*") if file.is_file())
    held = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(3))
    return f"it is neither a run, nor a HATS folder, nor one of stacks {STACKS}; files in it: {held or 'none'}"


def other_hats(tree: HatsTree) -> str:
    """Whose a HATS folder is, if not galcli's; empty if it is galcli's, perhaps damaged."""
    if tree.record.exists():
        return ""
    try:
        builder = read_properties(tree).get("hats_builder", "others")
    except (OSError, UnicodeDecodeError):
        return ""  # whoever checks the folder says so
    return "" if builder.startswith("galcli") else f"it is a HATS catalogue made by {builder}"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(6)
    except OSError:
        return b""  # whoever checks the file says so
