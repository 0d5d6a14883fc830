"""What programs note about columns in the metadata of a Parquet file, beside Arrow's own schema.

astropy writes a header in YAML, and each masked column as two: its values, and which of them are void. The IVOA's
VOParquet convention holds a VOTable without rows.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ASTROPY = b"table_meta_yaml"
_VOPARQUET = b"IVOA.VOTable-Parquet.content"
_MASK = ".mask"

#: What is noted about a column.
WORDS = ("unit", "description", "ucd")

#: Keys under which these notes stand, in capitals: they are at length, and say nothing else.
KEYS = tuple(key.decode().upper() for key in (_ASTROPY, _VOPARQUET))


@dataclass(frozen=True)
class Notes:
    """What is noted about the columns of a file.

    Attributes
    ----------
    words : dict of str to dict of str to str
        Column -> ``unit``, ``description`` and ``ucd``, where they are stated.
    masks : dict of str to str
        Column -> the column that is true where its values are void.
    """

    words: dict[str, dict[str, str]] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)


def notes_of(metadata: Mapping[bytes, bytes] | None) -> Notes:
    """Read the notes in the metadata of an Arrow schema.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    said = metadata or {}
    if _ASTROPY in said:
        return _of_astropy(said[_ASTROPY])
    return _of_votable(said[_VOPARQUET]) if _VOPARQUET in said else Notes()


@functools.lru_cache(maxsize=4)  # the files of a catalogue share them
def _of_astropy(text: bytes) -> Notes:
    from astropy.table.meta import YamlParseError, get_header_from_yaml

    try:
        columns = get_header_from_yaml(text.decode().splitlines())["datatype"]
        words = {column["name"]: _stated(column) for column in columns}
    except (YamlParseError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{_ASTROPY.decode()} cannot be read: {error}") from error
    return Notes(words, {name: name + _MASK for name in words if name + _MASK in words})


@functools.lru_cache(maxsize=4)
def _of_votable(text: bytes) -> Notes:
    from galcli.sky.memory import parse_votable

    columns = [column for table in parse_votable(io.BytesIO(text)).iter_tables() for column in table.fields]
    return Notes({column.name: _stated({word: getattr(column, word) for word in WORDS}) for column in columns})


def _stated(column: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(column[key]).strip() for key in WORDS if column.get(key) is not None}
