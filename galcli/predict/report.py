"""What a check of an output found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

#: Kind of what galcli did not write.
OTHER = "other"


@dataclass
class Report:
    """What a check found.

    Attributes
    ----------
    kind : str
        What was checked: ``table``, ``tile``, ``run``, ``hats``, ``hats-fits``, ``stack`` or ``stacks``; ``other`` where
        it is nothing that galcli wrote.
    rows : int
        Rows or objects in it.
    problems : list of str
        What makes it invalid, one line each.
    notes : list of str
        What is good to know and no fault, one line each.
    """

    kind: str
    rows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
