"""What every training may be asked for, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from galcli.errors import UsageError

_T = TypeVar("_T")


def lookup(table: Mapping[str, _T], name: str, kind: str) -> _T:
    """An entry of a table of presets, networks and the like.

    Raises
    ------
    UsageError
        Naming the known ones.
    """
    if name not in table:
        raise UsageError(f"unknown {kind} {name!r}", f"known: {', '.join(table)}")
    return table[name]


def require_one_length(
    survey: bool, stream: int | None, minutes: float | None = None, epochs: float | None = None
) -> None:
    """Refuse a stream beside a survey, and epochs beside a time or a stream.

    Raises
    ------
    UsageError
    """
    if stream is not None and survey:
        raise UsageError("only mock galaxies can be streamed", "leave out --stream, or the survey")
    if epochs is not None and (minutes is not None or stream is not None):
        raise UsageError("epochs are given beside a time or a stream, which set the length too", "give one of them")
