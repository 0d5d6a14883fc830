"""The format of a catalogue, told by its content."""

from __future__ import annotations

import gzip
import re
import resource
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from galcli import interrupts
from galcli.errors import InputError
from galcli.sky.joint import JointTable
from galcli.sky.rows import UNQUOTED, open_table
from galcli.sky.systems import refuse_ring
from galcli.sky.table import Table

_HINT = "give a FITS, CSV, ECSV, VOTable or Parquet file, or a folder of Parquet files"
_SNIFFED, _BLOCK = 4096, 1 << 22
#: Files open at a time beside catalogues.
_OWN_FILES = 256
#: How files begin that people may take for catalogues.
_OTHERS = {
    b"\x89HDF": "HDF5", b"ARROW1": "Arrow IPC", b"#ASDF": "ASDF", b"\x93NUMPY": "NumPy", b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text", b"<!DOCTYPE html": "HTML", b"<html": "HTML",
}  # fmt: skip
_IMAGES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG"}
#: The same for programs that pack files.
_PACKED = {b"PK\x03\x04": "ZIP", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_ENDINGS = re.compile(
    r"(\.(fits|fit|fts|csv|tsv|txt|dat|ecsv|xml|vot|votable|parquet|parq|pq))?(\.(gz|fz))?$", re.IGNORECASE
)


def stem_of(path: Path) -> str:
    """Name of a catalogue without what names its format: ``galaxies.csv.gz`` -> ``galaxies``."""
    name = path.name or path.resolve().name
    return _ENDINGS.sub("", name) or name


def open_tables(paths: Sequence[Path], hdu: int | str | None = None) -> Table:
    """Open catalogues of any format, one after the other.

    Parameters
    ----------
    paths : sequence of Path
        At least one.
    hdu : int or str, optional
        Number or EXTNAME of the HDU of FITS files; by default the first table.

    Returns
    -------
    Table
        The rows of all, in the order given.

    Raises
    ------
    InputError
        If a file cannot be read, is of a format that galcli does not know, or holds HEALPix pixels in RING order.
    OutputError
        If a packed or text catalogue does not fit into the temporary folder.
    """
    tables: list[Table] = []
    _allow_files(len(paths))
    try:
        for path in paths:
            tables.append(_open(path, hdu))
            refuse_ring(tables[-1])
        return tables[0] if len(tables) == 1 else JointTable(tables)
    except BaseException:
        for table in tables:
            table.close()
        raise


def most_rows(path: Path, enough: int) -> int:
    """A number of rows that a file cannot exceed, without opening it as a table; of no interest above ``enough``.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with _unpacked(path) as stream:
        size = path.stat().st_size
        head = stream.read(_SNIFFED)
        # Coordinates take more than a byte per row, packed or not.
        if size <= enough or b"\0" in head or head.startswith((b"SIMPLE", b"<")):
            return size
        lines, block = 1, head
        while block and lines <= enough:
            interrupts.check()
            lines += block.count(b"\n") + block.count(b"\r")
            block = stream.read(_BLOCK)
        return lines


def _allow_files(number: int) -> None:
    """Let this process hold so many files open beside its own: a survey may be thousands, many systems allow 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _open(path: Path, hdu: int | str | None) -> Table:
    if path.is_dir():
        from galcli.sky.hats import open_folder

        _refuse_hdu(path, hdu)
        return open_folder(path)
    with _unpacked(path) as stream:
        return _open_stream(path, stream, hdu)


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Bytes of a file, gzipped or not; damage and refusals of the system are an `InputError`."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not packed:
                yield plain
                return
            with gzip.open(plain) as unpacked:
                yield cast("IO[bytes]", unpacked)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the gzip data is damaged or truncated", "download or write it again") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", _HINT) from error


def _open_stream(path: Path, stream: IO[bytes], hdu: int | str | None) -> Table:
    head = stream.read(_SNIFFED)
    stream.seek(0)
    if head.startswith(b"SIMPLE"):
        return open_table(path, hdu)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    _refuse_hdu(path, hdu)
    if head.startswith(b"PAR1"):
        from galcli.sky.parquet import open_parquet

        return open_parquet(path)
    hints = ((_OTHERS, _HINT), (_PACKED, "unpack it first, or pack it with gzip"), (_IMAGES, UNQUOTED))
    for magic, name, hint in ((magic, name, hint) for names, hint in hints for magic, name in names.items()):
        if head.startswith(magic):
            raise InputError(f"{path} is {name}", hint)
    if b"\0" in head:
        raise InputError(f"{path} is of an unknown format", _HINT)
    if text.startswith((b"<?xml", b"<VOTABLE", b"<!--")):
        from galcli.sky.memory import open_votable

        return open_votable(path, stream)
    if text.startswith(b"# %ECSV"):
        from galcli.sky.memory import open_ecsv

        return open_ecsv(path, stream)
    from galcli.sky.delimited import open_delimited

    return open_delimited(path, stream)


def _refuse_hdu(path: Path, hdu: int | str | None) -> None:
    if hdu is not None:
        raise InputError(f"{path} is not a FITS file: it has no HDU {hdu}", "leave out --hdu")
