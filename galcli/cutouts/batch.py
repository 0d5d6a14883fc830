"""The one form in which pixels travel: a batch of cutouts of equal shape, and the protocol of their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from galcli.tables.status import RowStatus

Kind = Literal["flux", "display"]
KINDS: tuple[Kind, ...] = ("flux", "display")

#: Bands of a display image, in the order of the channel axis.
DISPLAY_BANDS = ("blue", "green", "red")


@dataclass(frozen=True)
class CutoutRequest:
    """Rows of one tile whose pixels are wanted.

    Attributes
    ----------
    id : ndarray (N,), int64 or bytes ``S``
        Identifier of each row (the catalogue row number where there is no id column).
    ra, dec : ndarray (N,), float64, degrees
    row : ndarray (N,), int64
        Catalogue row.
    columns : dict of str to ndarray (N, ...)
        Catalogue columns the source asked for with ``needs``.
    provisional : bool
        Pixels may come before the checksum of their file is known: it is summed while they are read, not before.
        Who asks so can take rows back.
    """

    id: NDArray[Any]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    row: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    provisional: bool = False

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[np.int64]) -> CutoutRequest:
        """The request for a subset of the rows."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return CutoutRequest(
            self.id[index], self.ra[index], self.dec[index], self.row[index], columns, self.provisional
        )


@dataclass
class PixelBatch:
    """Cutouts of equal shape, ready for any model.

    Attributes
    ----------
    index : ndarray (N,), int64
        Position of each cutout in the request.
    pixels : ndarray (N, B, H, W), float32, native byte order, C-contiguous
        Nanomaggies per pixel (kind ``flux``) or 0 to 1 (kind ``display``); NaN = no data. Row 0 = south.
    bands : tuple of str
        Names of the B bands, blue to red.
    kind : 'flux' or 'display'
    pixel_scale : ndarray (N,), float64, arcsec per pixel
        NaN where the image declares none.
    center : ndarray (N, 2), float64, pixels
        (x, y) of the object in its cutout; ((W-1)/2, (H-1)/2) when centred.
    has_nan : ndarray (N,), bool
        Whether any pixel of the cutout is NaN: lets models skip the search.
    band_has_data : ndarray (N, B), bool
        False where a band is all NaN or constant.
    """

    index: NDArray[np.int64]
    pixels: NDArray[np.float32]
    bands: tuple[str, ...]
    kind: Kind
    pixel_scale: NDArray[np.float64]
    center: NDArray[np.float64]
    has_nan: NDArray[np.bool_]
    band_has_data: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: NDArray[np.int64]) -> PixelBatch:
        """The batch of a subset of the cutouts (pixels are copied)."""
        return PixelBatch(
            self.index[rows], self.pixels[rows], self.bands, self.kind, self.pixel_scale[rows], self.center[rows],
            self.has_nan[rows], self.band_has_data[rows],
        )  # fmt: skip


@dataclass
class Failures:
    """Rows of a request for which there are no pixels.

    Attributes
    ----------
    index : ndarray (M,), int64
        Position in the request.
    status : ndarray (M,), int32
        ``RowStatus`` bits: MISSING_CUTOUT, CORRUPT_CUTOUT or CONSTANT.
    reason : list of str
        One line each, for the run summary.
    """

    index: NDArray[np.int64]
    status: NDArray[np.int32]
    reason: list[str]


class CutoutSource(Protocol):
    """Where cutouts come from. Implementations: stack, files, column.

    A source is opened once per run and is used by one thread at a time.
    """

    kind: Kind
    #: Bands every cutout of this source declares, blue to red (a single cutout may miss some).
    bands: tuple[str, ...]
    #: Lower-case survey card, such as ``sdss`` or ``legacy``; '' when the source names none.
    survey: str
    #: Longer side of the first cutouts in arcsec; NaN where their pixel scale is unknown.
    field: float
    #: Catalogue columns the source wants in its requests (file names, an image column).
    needs: tuple[str, ...]

    @property
    def side(self) -> int:
        """Shorter side of the first cutouts in px."""
        ...

    @property
    def all_python(self) -> bool:
        """Whether reading is Python's own work for the most part, rather than waiting, copying or decoding."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the pixels (JSON-able; part of the run's identity)."""
        ...

    def describe(self) -> str:
        """One line for people."""
        ...

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield every row of the request exactly once, in batches of at most ``batch_size`` cutouts of equal shape.

        The order and content of what is yielded depends on the request alone, never on ``batch_size``.
        A damaged cutout costs only its own row. Arrays of a yielded batch belong to the caller. Where the request is
        ``provisional``, failures may name rows that came before: their file turned out to be damaged.
        """
        ...

    def rows_ahead(self, batch_size: int) -> int:
        """Rows whose pixels `read` may hold beside the batch that it yields or makes."""
        ...

    def counters(self) -> dict[str, int]:
        """Facts for the run summary, such as ``no_checksum``: number of files of one row read without a checksum."""
        ...

    def files(self) -> dict[str, frozenset[str]]:
        """Facts about files of many rows -> those met so far; named, since several processes may read the same one."""
        ...


#: Pixels handled together, so that a second pass over them runs out of the processor's cache.
CACHE_PIXELS = 1 << 16


def extremes(flat: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
    """Smallest and largest value of each band; NaN where a band holds any NaN.

    Parameters
    ----------
    flat : ndarray (n, B, H*W), float32
    low, high : ndarray (n, B), float32
        Overwritten.
    """
    np.minimum.reduce(flat, axis=2, out=low)
    np.maximum.reduce(flat, axis=2, out=high)


def judge(
    flat: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find NaN and empty bands from the extremes; infinite pixels become NaN, in place.

    Parameters
    ----------
    flat : ndarray (N, B, H*W), float32
    low, high : ndarray (N, B), float32
        From ``extremes``.

    Returns
    -------
    has_nan : ndarray (N,), bool
    band_has_data : ndarray (N, B), bool
        False where a band is all NaN, or all its finite pixels are equal.
    """
    odd = ~(np.isfinite(low) & np.isfinite(high))
    has_data = high > low
    for row, band in np.argwhere(odd):
        values = flat[row, band]
        lowest, highest = np.fmin.reduce(values), np.fmax.reduce(values)  # NaN only if there is nothing else
        if np.isinf(lowest) or np.isinf(highest):
            values[np.isinf(values)] = np.nan  # an infinite pixel is no data either
            lowest, highest = np.fmin.reduce(values), np.fmax.reduce(values)
        has_data[row, band] = lowest < highest
    return np.asarray(odd.any(axis=1)), has_data


def survey_pixels(pixels: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find NaN and empty bands in one pass.

    Parameters
    ----------
    pixels : ndarray (N, B, H, W), float32
        Infinite pixels become NaN, in place.

    Returns
    -------
    has_nan : ndarray (N,), bool
    band_has_data : ndarray (N, B), bool
        False where a band is all NaN, or all its finite pixels are equal.
    """
    n, bands = pixels.shape[:2]
    flat = pixels.reshape(n, bands, -1)
    low, high = np.empty((n, bands), np.float32), np.empty((n, bands), np.float32)
    step = max(1, CACHE_PIXELS // max(1, bands * flat.shape[2]))
    for start in range(0, n, step):
        part = slice(start, start + step)
        extremes(flat[part], low[part], high[part])
    return judge(flat, low, high)


def without_signal(batch: PixelBatch) -> tuple[PixelBatch | None, Failures | None]:
    """Take the cutouts that hold no signal in any band out of a batch.

    Parameters
    ----------
    batch : PixelBatch

    Returns
    -------
    batch : PixelBatch or None
        The rest; None when nothing is left.
    failures : Failures or None
        Rows with status CONSTANT; None when there are none.
    """
    kept = batch.band_has_data.any(axis=1)
    if kept.all():
        return batch, None
    lost = batch.index[~kept]
    reason = "all pixels are equal, or none has data"
    failures = Failures(lost, np.full(len(lost), int(RowStatus.CONSTANT), np.int32), [reason] * len(lost))
    return (batch.take(np.flatnonzero(kept)) if kept.any() else None), failures


def failed(index: NDArray[np.int64], status: RowStatus, reason: str) -> Failures:
    """Rows that fail for one common reason."""
    return Failures(index.astype(np.int64), np.full(len(index), int(status), np.int32), [reason] * len(index))


def failure(index: int, status: RowStatus, reason: str) -> Failures:
    """One row without pixels."""
    return Failures(np.array([index], np.int64), np.array([int(status)], np.int32), [reason])
