"""Rows of any FITS table as native numpy arrays, in bounded memory.

Plain, gzipped (by content, not by name) and fpacked files, binary and ASCII tables are read through one code path:
what is packed is unpacked once into an anonymous temporary file, and rows are then read by position. Nothing is
memory-mapped, because a file that shrinks under a map kills the process, while a short read is an error we can name.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.fields import FitsField, fields_of
from galcli.sky.scratch import Scratch
from galcli.sky.table import says_yes

_BLOCK = 1 << 22  # bytes read at a time: large enough for full disk speed, small enough to stay in a cache
_GAP = 1 << 12  # bytes worth reading rather than seeking over
_STEP_ROWS, _STEP_BYTES = 1 << 16, 1 << 25
_FITS_BLOCK = 2880
_TABLES = ("BINTABLE", "TABLE")

#: What to do about images given as catalogues: a shell that expands their pattern makes catalogues of all but the first.
UNQUOTED = (
    "this is an image, no catalogue: put a pattern given to --cutouts in quotes, so that the shell leaves it alone"
)


@dataclass(frozen=True)
class _Hdu:
    index: int
    header: Any  # astropy.io.fits.Header
    start: int  # of the data, in bytes
    size: int  # of the data without padding

    @property
    def is_table(self) -> bool:
        return self.header.get("XTENSION", "").strip() in _TABLES and not self.header.get("ZIMAGE", False)

    @property
    def is_image(self) -> bool:
        return not self.is_table and int(self.header["NAXIS"]) > 0


class FitsTable:
    """One table HDU of a FITS file; made by `open_table`.

    Attributes
    ----------
    path, where, files, nrows
        See `Table`.
    hdu : int
        Number of the HDU, 0 = primary.
    fields : dict of str to FitsField
        Columns in file order, by their own names.
    """

    def __init__(self, path: Path, hdu: _Hdu, file: IO[bytes], start: int) -> None:
        self.path = path
        self.hdu = hdu.index
        self.where = f"{path} HDU {hdu.index}"
        self.files = (path,)
        self._cards = hdu.header
        self.nrows = int(hdu.header["NAXIS2"])
        self.width = int(hdu.header["NAXIS1"])
        self.fields = fields_of(hdu.header, self.where)
        self._file = file
        self._start = start
        self._lock = threading.Lock()  # seek and read belong together when threads share the table

    @functools.cached_property
    def header(self) -> dict[str, Any]:
        """Keywords that have a value; a card that cannot be read and describes no column says nothing."""
        from astropy.io.fits.card import Undefined
        from astropy.io.fits.verify import VerifyError

        said = {}
        for card in self._cards.cards:
            with contextlib.suppress(VerifyError):
                said[card.keyword] = card.value
        return {key: value for key, value in said.items() if key and not isinstance(value, Undefined)}

    @property
    def mock(self) -> bool:
        """Whether its header says ``MOCK = T``."""
        return says_yes(self.header, "MOCK")

    def exact(self, name: str) -> FitsField:
        """A column; its header says all about it."""
        return self.fields[name]

    def read(self, start: int, stop: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of the rows ``start`` to ``stop``.

        Parameters
        ----------
        start, stop : int
            Row range, 0 <= start <= stop <= nrows.
        names : sequence of str
            Column names as in ``fields``.

        Returns
        -------
        dict of str to ndarray (stop - start, ...)
            Native byte order, scaling applied.

        Raises
        ------
        InputError
            If the file ends early or a column cannot be read.
        """
        out = self._allocate(stop - start, names)
        for low, high, fields in self._spans(names):
            if self.width - (high - low) > _GAP:
                raw = self._gather(np.arange(start, stop, dtype=np.int64), low, high)
                self._decode(raw.reshape(-1), high - low, low, fields, out, slice(None))
                continue
            step = max(1, _BLOCK // self.width)
            for first in range(start, stop, step):
                last = min(first + step, stop)
                block = np.empty((last - first) * self.width, np.uint8)
                used = len(block) - self.width + high - low
                self._read_into(block[:used], first * self.width + low)
                self._decode(block, self.width, low, fields, out, slice(first - start, last - start))
        return out

    def steps(self) -> Iterator[tuple[int, int]]:
        """Row ranges for who reads all rows and keeps none: few enough rows for memory, however wide they are."""
        step = max(1, min(_STEP_ROWS, _STEP_BYTES // max(1, self.width)))
        return ((start, min(start + step, self.nrows)) for start in range(0, self.nrows, step))

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of single rows, in the order given.

        Parameters
        ----------
        rows : ndarray (N,), int64
            Row numbers; sorted ones are read fastest.
        names : sequence of str

        Returns
        -------
        dict of str to ndarray (N, ...)

        Raises
        ------
        InputError
            If the file ends early or a column cannot be read.
        """
        out = self._allocate(len(rows), names)
        for low, high, fields in self._spans(names):
            raw = self._gather(rows, low, high)
            self._decode(raw.reshape(-1), high - low, low, fields, out, slice(None))
        return out

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _allocate(self, n: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        for name in names:
            self.fields[name].require_readable(self.where)
        return {name: np.empty((n, *self.fields[name].shape), self.fields[name].dtype) for name in names}

    def _spans(self, names: Sequence[str]) -> list[tuple[int, int, list[FitsField]]]:
        """Byte ranges of a row that hold the wanted columns: (low, high, columns in it)."""
        spans: list[tuple[int, int, list[FitsField]]] = []
        for field in sorted((self.fields[name] for name in set(names)), key=lambda field: field.offset):
            end = field.offset + field.nbytes
            if spans and field.offset - spans[-1][1] <= _GAP:
                low, high, fields = spans[-1]
                spans[-1] = (low, max(high, end), [*fields, field])
            else:
                spans.append((field.offset, end, [field]))
        return spans

    def _gather(self, rows: NDArray[np.int64], low: int, high: int) -> NDArray[np.uint8]:
        """Bytes ``low`` to ``high`` of single rows, (N, high - low); neighbouring rows share one read."""
        span = high - low
        out = np.empty((len(rows), span), np.uint8)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        far = np.diff(ordered) * self.width - span > _GAP
        edges = [0, *(np.flatnonzero(far) + 1).tolist(), len(rows)]
        longest = max(1, _BLOCK // max(1, self.width))
        for near, end in pairwise(edges):
            begin = near
            while begin < end:
                stop = begin + int(np.searchsorted(ordered[begin:end], ordered[begin] + longest))
                first, last = int(ordered[begin]), int(ordered[stop - 1])
                block = np.empty((last - first + 1) * self.width, np.uint8)
                self._read_into(block[: len(block) - self.width + span], first * self.width + low)
                table = block.reshape(-1, self.width)
                out[order[begin:stop]] = table[ordered[begin:stop] - first, :span]
                begin = stop
        return out

    def _decode(
        self,
        raw: NDArray[np.uint8],
        width: int,
        low: int,
        fields: list[FitsField],
        out: dict[str, NDArray[Any]],
        part: slice,
    ) -> None:
        layout = np.dtype(
            {
                "names": [field.name for field in fields],
                "formats": [(field.raw, field.raw_shape) for field in fields],
                "offsets": [field.offset - low for field in fields],
                "itemsize": width,
            }
        )
        rows = raw.view(layout)
        for field in fields:
            try:
                field.decode(rows[field.name], out[field.name][part])
            except ValueError as error:  # text of an ASCII table
                raise InputError(f"{self.where}: column {field.name}: {error}", "write the table again") from error

    def _read_into(self, buffer: NDArray[np.uint8], offset: int) -> None:
        view = memoryview(cast("Any", buffer))
        done = 0
        with self._lock:
            self._file.seek(self._start + offset)
            while done < len(view):
                try:
                    count = cast("Any", self._file).readinto(view[done:])
                except OSError as error:
                    raise InputError(f"{self.path}: {error.strerror or error}", "check the disk") from error
                if not count:
                    raise _truncated(self.path, self.hdu)
                done += count


def open_table(path: str | Path, hdu: int | str | None = None) -> FitsTable:
    """Open a table HDU of a FITS file.

    Parameters
    ----------
    path : str or Path
        Plain, gzipped or fpacked FITS file.
    hdu : int or str, optional
        Number or EXTNAME of the HDU; by default the first table.

    Returns
    -------
    FitsTable

    Raises
    ------
    InputError
        If the file is missing, no FITS, truncated, or has no such table.
    OutputError
        If a packed table does not fit into the temporary folder.
    """
    from astropy.io.fits.verify import VerifyError

    path = Path(path)
    try:
        with path.open("rb") as plain:
            magic = plain.read(6)
        if magic[:2] != b"\x1f\x8b":
            return _open_plain(path, magic, hdu)
        with gzip.open(path) as packed:
            return _open_gzip(path, cast("IO[bytes]", packed), hdu)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the gzip data is damaged or truncated", "download or write it again") from error
    except VerifyError as error:  # a card that is looked at only now
        raise InputError(f"{path}: a header is damaged ({error})", "write the file again") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", "give the path of a FITS table") from error


def _open_plain(path: Path, magic: bytes, hdu: int | str | None) -> FitsTable:
    with path.open("rb") as walked:
        found = _find(path, magic, walked, hdu)
        if path.stat().st_size < found.start + found.size:
            raise _truncated(path, found.index)
        if found.header.get("ZTABLE", False):
            return _open_fpacked(path, walked, found)
    file = cast("IO[bytes]", path.open("rb", buffering=0))
    try:
        return FitsTable(path, found, file, found.start)
    except BaseException:
        file.close()
        raise


def _open_fpacked(path: Path, packed: IO[bytes], found: _Hdu) -> FitsTable:
    from galcli.sky.fpack import unpack_table

    with Scratch() as scratch:
        header = unpack_table(packed, found.header, found.start, f"{path} HDU {found.index}", scratch.write)
        return FitsTable(path, _Hdu(found.index, header, 0, found.size), scratch.keep(), 0)


def _open_gzip(path: Path, packed: IO[bytes], hdu: int | str | None) -> FitsTable:
    magic = packed.read(6)
    packed.seek(0)
    found = _find(path, magic, packed, hdu)
    if found.header.get("ZTABLE", False):
        raise InputError(f"{path}: HDU {found.index} is an fpacked table inside a gzip file", "run gunzip first")
    packed.seek(found.start)
    with Scratch() as scratch:
        left = int(found.header["NAXIS1"]) * int(found.header["NAXIS2"])
        while left:
            block = packed.read(min(_BLOCK, left))
            if not block:
                raise _truncated(path, found.index)
            scratch.write(block)
            left -= len(block)
        while packed.read(_BLOCK):  # gzip's own checksum stands at the end: without it a flipped bit goes unseen
            pass
        return FitsTable(path, found, scratch.keep(), 0)


def _find(path: Path, magic: bytes, stream: IO[bytes], wanted: int | str | None) -> _Hdu:
    """The HDU asked for, or the first table."""
    if magic != b"SIMPLE":
        raise InputError(f"{path} is not a FITS file", "catalogues are FITS tables (.fits, .fits.gz, .fits.fz)")
    wanted = int(wanted) if isinstance(wanted, str) and wanted.isdecimal() else wanted
    seen: list[str] = []
    has_image = False
    for hdu in _walk(path, stream):
        name = str(hdu.header.get("EXTNAME", "")).strip()
        if wanted is None or wanted == hdu.index or (isinstance(wanted, str) and wanted.upper() == name.upper()):
            if hdu.is_table:
                return hdu
            if wanted is not None:
                raise InputError(f"{path}: HDU {wanted} is not a table", "name a table with --hdu")
        has_image |= hdu.is_image
        seen.append(f"{hdu.index}{' ' + name if name else ''}{'' if hdu.is_table else ' (no table)'}")
    what = "no table" if wanted is None else f"no HDU {wanted}"
    raise InputError(
        f"{path}: {what}; the HDUs are: {', '.join(seen)}",
        UNQUOTED if wanted is None and has_image else "name a table with --hdu",
    )


def _walk(path: Path, stream: IO[bytes]) -> Iterator[_Hdu]:
    from astropy.io.fits import Header
    from astropy.io.fits.verify import VerifyError
    from astropy.utils.exceptions import AstropyWarning

    start, index = 0, 0
    while True:
        stream.seek(start)
        if not cast("Any", stream).peek(1):  # looking back by one byte would unpack a gzip stream from its start
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)  # a sloppy header of another survey is still readable
                header = Header.fromfile(stream)
                size = _data_size(header)
        except EOFError:
            raise
        except (OSError, TypeError, ValueError, KeyError, VerifyError) as error:
            raise InputError(
                f"{path}: the header of HDU {index} is damaged ({error})", "write the file again"
            ) from error
        data = stream.tell()
        yield _Hdu(index, header, data, size)
        start = data + -(-size // _FITS_BLOCK) * _FITS_BLOCK
        index += 1


def _data_size(header: Any) -> int:
    axes = [int(header[f"NAXIS{i}"]) for i in range(1, int(header["NAXIS"]) + 1)]
    if not axes:
        return 0
    elements = int(np.prod(axes, dtype=np.int64))
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + elements)


def _truncated(path: Path, hdu: int) -> InputError:
    return InputError(f"{path}: HDU {hdu} is truncated", "the file was not completely written or downloaded")
