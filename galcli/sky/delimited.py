"""Catalogues as text with one line per row: CSV, and the same with tabs, semicolons or bars.

The file is read once, in bounded memory, and copied as it stands, as text, into a temporary Parquet file. What a column
holds is decided when all rows have been seen; its values become numbers when it is read.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from galcli import interrupts
from galcli.errors import InputError
from galcli.sky.parquet import ParquetTable, Shelf, fields_of_schema, one_line
from galcli.sky.scratch import Scratch

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of text per row group of the copy; no line may be longer.
_BLOCK = 1 << 22
#: Bytes within which the names of the columns must stand.
_HEAD = 1 << 20
_DELIMITERS = ",\t;|"
_BOM = b"\xef\xbb\xbf"
#: What programs write where a number is missing; compared in capitals.
_NULLS = ("", "NULL", "NAN", "-NAN", "NA", "N/A", "#N/A", "#NA", "NONE", "\\N", "-", "--")
_WHOLE = r"^-?[0-9]+$"
#: Digits after a leading zero are a name, not a number.
_INTEGER = r"^-?(0|[1-9][0-9]*)$"


@dataclass(frozen=True)
class _Header:
    names: list[str]
    delimiter: str
    offset: int  # of the first row, in bytes


def open_delimited(path: Path, stream: IO[bytes]) -> ParquetTable:
    """Open a text catalogue.

    Parameters
    ----------
    path : Path
        For messages.
    stream : binary file
        Its text, unpacked; read to its end.

    Raises
    ------
    InputError
        If there are no names of columns, a name stands twice, or a row has too few or too many values.
    OutputError
        If the copy does not fit into the temporary folder.
    """
    header = _read_header(path, stream.read(_HEAD))
    stream.seek(header.offset)
    kinds = [_Kind() for _ in header.names]
    counts: list[int] = []
    with Scratch() as scratch:
        _copy(path, stream, header, kinds, counts, scratch)
        file = scratch.keep()
    types = {name: kind.decide() for name, kind in zip(header.names, kinds, strict=True)}
    schema = _schema(types)
    convert = functools.partial(_convert, types)
    return ParquetTable(path, file, schema, fields_of_schema(schema, str(path)), counts, Shelf(), convert)


def _schema(types: dict[str, pa.DataType]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(list(types.items()))


def _convert(types: dict[str, pa.DataType], name: str, text: pa.Array) -> pa.Array:
    """Values of a column of the copy."""
    import pyarrow.types

    kind = types[name]
    return text if pyarrow.types.is_binary(kind) else _numbers(text).cast(kind)


def _copy(
    path: Path, stream: IO[bytes], header: _Header, kinds: list[_Kind], counts: list[int], scratch: Scratch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(dict.fromkeys(header.names, pa.binary()))
    with pq.ParquetWriter(pa.PythonFile(scratch, "w"), schema, use_dictionary=False) as writer:
        for batch in _batches(path, stream, header):
            interrupts.check()
            columns = []
            for name, kind, column in zip(header.names, kinds, batch.columns, strict=True):
                text = _trimmed(column)
                kind.see(text)
                if kind.is_text:
                    _refuse_lines(path, name, column, sum(counts))
                columns.append(text.view(pa.binary()))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            counts.append(len(batch))


def _batches(path: Path, stream: IO[bytes], header: _Header) -> Iterator[pa.RecordBatch]:
    """Rows as text, without judging what they hold."""
    import pyarrow as pa
    from pyarrow import csv as reader

    with _parsing(path):
        if not stream.read(1):  # Arrow takes no file without rows
            return
        stream.seek(header.offset)
        yield from reader.open_csv(
            pa.PythonFile(stream, "r"),
            read_options=reader.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=header.names),
            # A value of several lines is read as such, so that it can be refused: the next rows are not lost in it.
            parse_options=reader.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
            convert_options=reader.ConvertOptions(column_types=dict.fromkeys(header.names, pa.binary())),
        )


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if found is None:
            raise InputError(f"{path}: {one_line(error)}", "write the table again, one line for each row") from error
        row, expected, got = found.groups()
        raise InputError(
            f"{path}: row {row} below the names has {got} values, there are {expected} columns",
            "give each row a value for each column; put values that hold the delimiter in quotation marks",
        ) from error


def _refuse_lines(path: Path, name: str, column: pa.Array, row: int) -> None:
    """A quotation mark that is never closed takes in all lines below it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for end in ("\n", "\r"):
        broken = pc.match_substring(column.view(pa.string()), end)
        if pc.any(broken).as_py():
            row += broken.index(True).as_py() + 1
            raise InputError(
                f"{path}: column {name} in row {row} below the names runs over several lines",
                "close the quotation mark there, or take the line breaks out of the value",
            )


class _Kind:
    """What a column may still hold after the rows seen so far."""

    def __init__(self) -> None:
        self._seen = False
        self._signed = self._unsigned = self._whole = self._float = self._bool = True

    @property
    def is_text(self) -> bool:
        """Whether it can be nothing but text."""
        return not (self._whole or self._float or self._bool)

    def see(self, text: pa.Array) -> None:
        """Take in more rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.is_text:
            return
        values = _numbers(text).drop_null()
        if not len(values):
            return
        self._seen = True
        whole = self._whole and pc.all(pc.match_substring_regex(values, _WHOLE)).as_py()
        integer = whole and pc.all(pc.match_substring_regex(values, _INTEGER)).as_py()
        self._whole = whole
        self._signed = self._signed and integer and _castable(values, pa.int64())
        self._unsigned = self._unsigned and integer and _castable(values, pa.uint64())
        self._float = self._float and (whole or _castable(values, pa.float64()))
        self._bool = self._bool and not whole and not self._float and _castable(values, pa.bool_())

    def decide(self) -> pa.DataType:
        """The type of the column."""
        import pyarrow as pa

        if not self._seen:
            return pa.float64()
        choices = [
            (self._signed, pa.int64()),
            (self._unsigned, pa.uint64()),
            (self._whole, pa.binary()),  # numbers too long, or with leading zeros, keep all their digits as text
            (self._float, pa.float64()),
            (self._bool, pa.bool_()),
        ]
        return next((kind for possible, kind in choices if possible), pa.binary())


def _castable(values: pa.Array, kind: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _trimmed(column: pa.Array) -> pa.Array:
    """Values as strings without blanks around them; bytes that are no UTF-8 stay as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.ascii_trim_whitespace(column.view(pa.string()))


def _numbers(text: pa.Array) -> pa.Array:
    """Text with nulls where a number is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = text.view(pa.string())
    missing = pc.is_in(pc.ascii_upper(text), pa.array(_NULLS))
    return pc.if_else(missing, pa.scalar(None, pa.string()), text)


def _read_header(path: Path, head: bytes) -> _Header:
    """Names of the columns: the first line, or a comment right above the first row."""
    comment: list[str] = []
    begin = len(_BOM) if head.startswith(_BOM) else 0
    for number, match in enumerate(re.compile(rb"([^\r\n]*)(\r\n|\r|\n|$)").finditer(head, begin), 1):
        line = match[1].decode("utf-8", "replace")
        if not line.strip():
            continue
        delimiter = max(_DELIMITERS, key=line.count)
        if line.lstrip().startswith("#"):
            comment = _cells(line.strip().lstrip("# \t"), delimiter)
            continue
        if delimiter not in line:
            raise InputError(
                f"{path} line {number}: no comma, tab or semicolon between names of columns",
                "give a FITS, CSV, ECSV, VOTable or Parquet file; a CSV file begins with a line such as id,ra,dec",
            )
        cells = _cells(line, delimiter)
        named = comment if len(comment) == len(cells) and not any(map(_is_number, comment)) else cells
        if named is comment and not any(map(_is_number, cells)):
            named = cells
        if all(_is_number(cell) for cell in named if cell):
            raise InputError(
                f"{path} line {number}: values where the names of the columns should be",
                "put a line with their names on top, such as id,ra,dec",
            )
        return _Header(_names(path, named, number), delimiter, match.start() if named is comment else match.end())
    raise InputError(f"{path} holds no names of columns", "give a catalogue with a line of names and a line per row")


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _names(path: Path, cells: list[str], number: int) -> list[str]:
    names = [cell or f"COL{n}" for n, cell in enumerate(cells, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} line {number}: two columns are called {twice}", "give every column a name of its own")
    return names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
