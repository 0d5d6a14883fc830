"""Whose training or experiment a folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galcli.errors import IdentityError
from galcli.predict.identity import difference, flatten

#: Differences from another training that are told.
_TOLD = 3


def require_same(out: Path, there: Mapping[str, Any], asked: Mapping[str, Any], what: str = "training") -> None:
    """Refuse to go on with work of other settings.

    Parameters
    ----------
    out : Path
        Its folder.
    there, asked : mapping
        Identity on disk, and that of the work to go on with; JSON-able.
    what : str
        What the folder holds.

    Raises
    ------
    IdentityError
        Naming what differs: there -> asked.
    """
    # On disk tuples are lists.
    lines = difference(*(flatten(json.loads(json.dumps(dict(facts)))) for facts in (there, asked)))
    if lines:
        told = lines[:_TOLD] + ([f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else [])
        raise IdentityError(f"{out} holds another {what} ({'; '.join(told)})", "choose another --out")
