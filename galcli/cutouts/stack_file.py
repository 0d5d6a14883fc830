"""One stack file: many cutouts of equal shape in one image HDU, with a table of whose they are."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import extremes
from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.header import Convention, Overrides, convention, split_bands
from galcli.cutouts.mapped import table_rows
from galcli.cutouts.match import ARCSEC, IdIndex, SkyIndex, native, separation
from galcli.cutouts.resources import require_resources
from galcli.cutouts.rice import RicePlanes
from galcli.cutouts.signed import SignedHDU
from galcli.errors import InputError
from galcli.tables.checksum import add_words
from galcli.tables.status import NO_PIXELS, RowStatus

#: What fitsio and numpy raise on damaged files.
DAMAGE = (OSError, TypeError, ValueError, KeyError)

#: Columns of INDEX that are no identifier.
PLAIN_COLUMNS = ("RA", "DEC", "ROW", "PIXSCALE", "STATUS", "X", "Y")
#: Pixels read at once. Each call of numpy or the kernel hands the interpreter lock from thread to thread, which costs
#: more than smaller pieces, that stay in the second-level cache, would save.
_PIECE = 1 << 18


class StackFile:
    """An open stack file.

    Opening reads the headers and the INDEX table, nothing else. Pixels are read with ``pread``, not mapped: a file
    that shrinks while it is mapped kills the process, a short read is an error of one file.

    Parameters
    ----------
    path : Path
    overrides : Overrides

    Attributes
    ----------
    count : int
        Number of cutouts.
    shape : tuple of int
        (B, H, W) of each.
    convention : Convention
    compressed : bool
        Whether its planes are compressed.
    checksums : bool
        Whether the file carries checksums.

    Raises
    ------
    OSError, TypeError, ValueError, KeyError
        If the file is damaged.
    InputError
        If its units or bands cannot be known.
    """

    def __init__(self, path: Path, overrides: Overrides) -> None:
        self.path = path
        self._descriptor = -1  # for `close`, should opening fail
        self._fits: Any = None
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._one_at_a_time = threading.Lock()
        self._overrides = overrides
        with open_fits(path) as file:
            pixels, index = file["PIXELS"], file["INDEX"]
            header = pixels.read_header()
            self._number = pixels.get_extnum()
            self._pixels, signed_index = (SignedHDU.of(self._descriptor, hdu) for hdu in (pixels, index))
            self.compressed = bool(pixels.is_compressed())
            dims = [int(size) for size in pixels.get_info()["dims"]]
            self._settle_shape(header, dims, overrides)
            self._data_start = self._pixels.span.data
            if not self.compressed and pixels.get_info()["img_equiv_type"] != -32:
                raise ValueError("PIXELS is not a float32 image")
            self.checksums = None not in (self._pixels.total, signed_index.total)
            signed_index.verify()
            self._read_index(index, signed_index.span.data)
        self._rice = self._rice_planes() if self.compressed else None

    def _settle_shape(self, header: Any, dims: list[int], overrides: Overrides) -> None:
        """Number and shape of the cutouts from the image's dimensions and the band names."""
        cards = {key: header[key] for key in header.keys() if key}  # noqa: SIM118 - FITSHDR is no mapping
        bands = split_bands(str(cards.get("BANDS") or "")) or overrides.bands
        if not bands:
            raise InputError("PIXELS has no BANDS card", "name the bands in file order: --bands grz")
        if len(dims) != 3 or dims[0] % len(bands):
            raise ValueError(f"PIXELS has the shape {dims} for {len(bands)} bands")
        self.convention: Convention = convention(cards, len(bands), overrides)
        self.count = dims[0] // len(bands)
        self.shape = (len(bands), dims[1], dims[2])

    def _rice_planes(self) -> RicePlanes | None:
        """The planes where threads can decode them; all other kinds of compression go through cfitsio."""
        try:
            return RicePlanes(self.path, self._pixels.cards(), self._data_start)
        except (KeyError, ValueError):
            return None

    def _read_index(self, index: Any, start: int) -> None:
        """Take over the INDEX table: a small one is read, a large one stays on disk and is mapped."""
        dtype, _, variable = index.get_rec_dtype()
        columns = index.get_info()["colinfo"]
        rows = int(index.get_nrows())
        self._fields = {name.upper(): name for name in dtype.names}
        ids = [name for name in self._fields if name not in PLAIN_COLUMNS]
        if not ids or not {"RA", "DEC"} <= set(self._fields):
            raise ValueError("INDEX lacks RA, DEC or an identifier column")
        if variable.any() or any(column["tscale"] != 1 or column["tzero"] != 0 for column in columns) or not rows:
            self._table = index.read() if rows else np.zeros(0, dtype)
        else:
            self._table = table_rows(self.path, dtype, rows, start)
        self._id_field = self._fields[ids[0]]
        self._by_id: IdIndex | None = None
        self._by_position: SkyIndex | None = None

    def __len__(self) -> int:
        return len(self._table)

    @property
    def ids(self) -> NDArray[Any]:
        """Identifiers of all entries, (n,), int64 or bytes."""
        return self._ids_of(slice(None))

    def _ids_of(self, entry: NDArray[np.int64] | slice) -> NDArray[Any]:
        return native(self._table[self._id_field][entry])

    def position(
        self, entry: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """RA and Dec of entries, (m,) each, float64, degrees."""
        ra, dec = (self._table[self._fields[name]][entry].astype(np.float64) for name in ("RA", "DEC"))
        return ra, dec

    def cutout(self, entry: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which cutout of the file each entry points to, (m,), int64."""
        if "ROW" not in self._fields:
            return entry
        return np.asarray(self._table[self._fields["ROW"]][entry], np.int64)

    def status(self, entry: NDArray[np.int64]) -> NDArray[np.int32]:
        """RowStatus bits of entries, (m,), int32; CORRUPT_CUTOUT where one lies outside the file and does not say why."""
        status = self.stated(entry)
        status[~self.inside(entry) & (status == 0)] |= int(RowStatus.CORRUPT_CUTOUT)
        return status

    def stated(self, entry: NDArray[np.int64]) -> NDArray[np.int32]:
        """RowStatus bits that the INDEX table gives to entries, (m,), int32."""
        if "STATUS" not in self._fields:
            return np.zeros(len(entry), np.int32)
        return np.asarray(self._table[self._fields["STATUS"]][entry].astype(np.int32) & np.int32(NO_PIXELS))

    def inside(self, entry: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which entries point to a cutout of the file, (m,), bool."""
        cutout = self.cutout(entry)
        return (cutout >= 0) & (cutout < self.count)

    def pixel_scale(self, entry: NDArray[np.int64]) -> NDArray[np.float64]:
        """Pixel scale of entries, (m,), arcsec; the header's where the column has none, NaN where unknown."""
        default = self.convention.pixel_scale
        if "PIXSCALE" not in self._fields or self._overrides.pixel_scale is not None:
            return np.full(len(entry), default)
        scale = self._table[self._fields["PIXSCALE"]][entry].astype(np.float64)
        return np.where(scale > 0, scale, default)

    def center(self, entry: NDArray[np.int64]) -> NDArray[np.float64]:
        """(x, y) of the objects in their cutouts, (m, 2), pixels from 0; the middle where the file does not say."""
        center = np.tile([(self.shape[2] - 1) / 2, (self.shape[1] - 1) / 2], (len(entry), 1))
        if "X" in self._fields and "Y" in self._fields:
            said = np.stack([self._table[self._fields[axis]][entry].astype(np.float64) for axis in "XY"], axis=1)
            np.copyto(center, said, where=np.isfinite(said))
        return center

    def find(
        self, ids: NDArray[Any], ra: NDArray[np.float64], dec: NDArray[np.float64], *, by_position: bool
    ) -> NDArray[np.int64]:
        """Entry of the INDEX table of each row wanted, -1 where there is none.

        Parameters
        ----------
        ids : ndarray (m,)
        ra, dec : ndarray (m,), degrees
        by_position : bool
            The identifiers are row numbers of a catalogue without any: they count only where the position agrees
            within 1 arcsec; else the nearest position within 1 arcsec is taken. Otherwise identifiers decide, and
            the position among entries of one identifier; an entry whose cutout cannot hold the row's position is
            another object's.
        """
        if self._by_id is None:
            self._by_id = IdIndex(self._table[self._id_field])
        entry = self._by_id.find(ids)
        if not len(self):
            return entry
        # Without a position on either side comparisons are false, and the identifier is all there is.
        away = separation(*self.position(entry), ra, dec)
        if by_position:
            rows = np.flatnonzero((away > ARCSEC) | (entry < 0))
            entry[rows] = self._nearest(ra[rows], dec[rows])
            return entry
        if self._by_id.repeats:
            rows = np.flatnonzero((away > ARCSEC) & (entry >= 0))
            near = self._nearest(ra[rows], dec[rows])
            same = (near >= 0) & (self._ids_of(near) == self._ids_of(entry[rows]))
            entry[rows[same]], away[rows[same]] = near[same], 0.0
        reach = self.pixel_scale(entry) * math.hypot(*self.shape[1:]) / 2 * ARCSEC
        entry[away > reach] = -1
        return entry

    def _nearest(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.int64]:
        """Nearest entry within 1 arcsec, -1 where there is none."""
        if self._by_position is None:
            self._by_position = SkyIndex(*self.position())
        return self._by_position.find(ra, dec, ARCSEC)

    @property
    def can_sum(self) -> bool:
        """Whether the pixels can be summed while they are read (in steps of 8 bytes), and it is worth it."""
        return self._pixels.total is not None and not self.compressed and math.prod(self.shape) % 2 == 0

    def require_whole(self) -> None:
        """Raise ValueError where the file ends before its pixels do."""
        self._pixels.require_whole()

    def verify(self, summed: int = 0, seen: NDArray[np.bool_] | None = None) -> None:
        """Check the sums of the pixels.

        Parameters
        ----------
        summed : int
            Sum of the cutouts that were read already, from `read_into`.
        seen : ndarray (count,), bool, optional
            Which these are; by default none.

        Raises
        ------
        OSError, ValueError
            If the bytes are not those that were written.
        """
        if seen is None:
            self._pixels.verify()
            return
        start, size = self._pixels.span.data, 4 * math.prod(self.shape)
        edges = (np.flatnonzero(np.diff(~seen, prepend=False, append=False)) * size + start).tolist()
        padding = (start + size * self.count, self._pixels.span.end)
        self._pixels.verify(summed, [*zip(edges[::2], edges[1::2], strict=True), padding])

    def read_into(
        self, rows: NDArray[np.int64], out: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32],
        summed: NDArray[np.bool_] | None = None,
    ) -> int:  # fmt: skip
        """Read cutouts, native and in nanomaggies, and find each band's extremes while it is in the cache.

        Any number of threads may do so at once.

        Parameters
        ----------
        rows : ndarray (m,), int64
            Cutouts wanted; contiguous ones are read together.
        out : ndarray (m, B, H, W), float32
        low, high : ndarray (m, B), float32
            Overwritten.
        summed : ndarray (m,), bool, optional
            Cutouts whose bytes are to be summed, of a file that `can_sum`.

        Returns
        -------
        int
            Plain sum of the 32-bit words of these cutouts.

        Raises
        ------
        OSError, ValueError
            If the file is damaged or too short.
        """
        summed = np.zeros(len(rows), np.bool_) if summed is None else summed
        step = 1 if self.compressed else max(1, _PIECE // math.prod(self.shape))
        scratch = np.empty((0 if self.compressed else step, *self.shape), ">f4")
        breaks = np.flatnonzero((np.diff(rows) != 1) | np.diff(summed)) + 1
        total = 0
        for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            for at in range(start, stop, step):
                part = slice(at, min(at + step, stop))
                first, size = int(rows[at]), part.stop - at
                raw = self._decompress(first) if self.compressed else self._read(first, scratch[:size])
                self.convention.settle(raw, out[part])
                extremes(out[part].reshape(size, self.shape[0], -1), low[part], high[part])
                if summed[at]:
                    total += add_words(raw.reshape(-1).view(">u8"))
        return total

    def _read(self, first: int, scratch: NDArray[Any]) -> NDArray[Any]:
        """Big-endian cutouts of an uncompressed file."""
        offset = self._data_start + 4 * first * math.prod(self.shape)
        if os.preadv(self._descriptor, [scratch.view(np.uint8).reshape(-1).data], offset) != scratch.nbytes:
            raise ValueError("file is shorter than its header says")
        return scratch

    def _decompress(self, cutout: int) -> NDArray[Any]:
        """One cutout of a compressed file, native, (1, B, H, W)."""
        first, stop = cutout * self.shape[0], (cutout + 1) * self.shape[0]
        if self._rice is not None and self._rice.hold(first, stop):
            planes = self._rice.read(self._descriptor, first, stop)
        else:
            with self._one_at_a_time:  # cfitsio knows no threads
                self._fits = self._fits or open_fits(self.path)
                planes = self._fits[self._number][first:stop, :, :]
        return np.asarray(planes).reshape(1, *self.shape)

    def __del__(self) -> None:
        # A batch in work may outlive the source's interest in the file; the last one to let go of it closes it.
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._fits is not None:
            self._fits.close()
            self._fits = None


def identity(path: Path) -> str:
    """DATASUM cards of PIXELS and INDEX, the file size where one is missing: changes when the cutouts do."""
    size = f"{path.stat().st_size} bytes"
    try:
        with open_fits(path) as file, path.open("rb") as raw:
            sums = [SignedHDU.of(raw.fileno(), file[name]).total for name in ("PIXELS", "INDEX")]
    except DAMAGE as error:
        require_resources(path, error)
        return f"damaged, {size}"
    return " ".join(str(total) if total is not None else size for total in sums)
