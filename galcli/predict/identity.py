"""What a run is: everything that determines the values in its table, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from galcli.errors import IdentityError

Identity = dict[str, Any]


def digest(identity: Identity) -> str:
    """SHA-256 of an identity, nested or flattened, independent of key order."""
    return hashlib.sha256(json.dumps(flatten(identity), sort_keys=True).encode()).hexdigest()


def flatten(identity: Identity, prefix: str = "") -> dict[str, str]:
    """Nested identity as ``{"models.0.sha256": "..."}``, for tables and differences: text as FITS tables hold it."""
    flat: dict[str, str] = {}
    for key, value in sorted(identity.items()):
        name = fits_text(f"{prefix}{key}")
        if isinstance(value, dict):
            flat |= flatten(value, name + ".")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            flat |= flatten({str(i): item for i, item in enumerate(value)}, name + ".")
        else:
            flat[name] = fits_text(value if isinstance(value, str) else json.dumps(value))
    return flat


def fits_text(text: str) -> str:
    """Text as it stands in a FITS column: ASCII with escapes, without the blanks at the end that FITS does not keep."""
    return text.encode("ascii", "backslashreplace").decode().rstrip(" ")


def difference(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Flattened entries that differ, one line each: ``key: before -> now``."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, "(absent)"), now.get(key, "(absent)")
        if old != new:
            lines.append(f"{key}: {_change(old, new)}")
    return lines


def _change(old: str, new: str) -> str:
    """What became of a value; of a list only what came and went."""
    before, now = _list(old), _list(new)
    came = [f"+{item}" for item in now if item not in before]
    gone = [f"-{item}" for item in before if item not in now]
    if before and now and (came or gone):
        return " ".join([*gone, *came])
    return f"{_short(old)} -> {_short(new)}"


def _list(text: str) -> list[Any]:
    """The list that a text spells, else an empty one."""
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def require_same(before: dict[str, str], now: dict[str, str], what: str, hint: str) -> None:
    """Refuse to go on with a run made from other inputs or settings.

    Raises
    ------
    IdentityError
        Naming every difference.
    """
    lines = difference(before, now)
    if lines:
        shown = "; ".join(lines[:6]) + (f"; and {len(lines) - 6} more" if len(lines) > 6 else "")
        raise IdentityError(f"{what} was made with other inputs or settings ({shown})", hint)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:16] + "..." + text[-8:]
