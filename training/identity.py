"""Whose training a folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from galcli.errors import IdentityError

#: Differences from another training that are told.
_TOLD = 3


def require_same(out: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a training of other settings.

    Parameters
    ----------
    out : Path
        Its folder.
    there, asked : mapping
        Identity on disk, and that of the training to go on with.

    Raises
    ------
    IdentityError
        Naming what differs.
    """
    one, other = (dict(_facts("", json.loads(json.dumps(facts)))) for facts in (there, asked))
    differing = [key for key in dict.fromkeys([*other, *one]) if one.get(key) != other.get(key)]
    if differing:
        told = [f"{key}: {one.get(key)} there, {other.get(key)} asked" for key in differing[:_TOLD]]
        told += [f"and {len(differing) - _TOLD} more"] if len(differing) > _TOLD else []
        raise IdentityError(f"{out} holds another training ({'; '.join(told)})", "choose another --out")


def _facts(prefix: str, facts: Any) -> Iterator[tuple[str, Any]]:
    """Facts one by one: ``plan.batch`` instead of all of a plan."""
    if not isinstance(facts, dict):
        yield prefix, facts
        return
    for key, value in facts.items():
        yield from _facts(f"{prefix}.{key}" if prefix else key, value)
