"""Pixels of large images: parts of them are read, or the whole image once where many parts are wanted."""

from __future__ import annotations

from collections import OrderedDict
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.checksum import datasum_of_file
from galcli.cutouts.coadd_image import CoaddImage, Plane
from galcli.cutouts.hdus import (
    BEGIN,
    DAMAGE,
    SIZE,
    Bytes,
    BytesOnDisk,
    Cards,
    gzipped_pixels,
    gzipped_tiles,
    hdus,
    packing,
    plain_pixels,
    read_bytes,
    verify,
    without_blanks,
)
from galcli.tables.header import BLOCK, declared_sum

#: Bytes of whole images kept in memory.
KEPT_BYTES = 1 << 29
#: Pixels decoded around a part of a compressed image, along each axis, beyond the part itself: its tiles.
_TILE = 100


class _OpenPlane:
    """An HDU whose pixels are read in parts."""

    def __init__(self, plane: Plane) -> None:
        self._file: Any = None
        if packing(plane.path):
            data = read_bytes(plane.path)
            self.cards = _hdu_of(data, plane.hdu)[0]
            self._values: NDArray[Any] | None = plain_pixels(self.cards, data)
            return
        with BytesOnDisk(plane.path) as there:
            self.cards = _hdu_of(there, plane.hdu)[0]
        if gzipped_tiles(self.cards):
            self._values = gzipped_pixels(plane.path, plane.hdu)
            return
        self._values = None
        self._file = open_fits(plane.path)
        self._hdu = self._file[plane.hdu]

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels (B, h, w) or (h, w) of a part, of any number type."""
        if self._values is not None:
            return self._values[..., rows, columns]
        depth = int(self.cards["ZNAXIS" if self.cards.get("ZIMAGE") else "NAXIS"]) - 2
        part = self._hdu[(*[slice(None)] * depth, rows, columns)]
        return without_blanks(part, self.cards)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class OpenImage:
    """An image and its weight map, open for reading.

    Parameters
    ----------
    image : CoaddImage

    Raises
    ------
    OSError, EOFError, TypeError, ValueError, KeyError, zlib.error
        If a file is damaged.
    """

    def __init__(self, image: CoaddImage) -> None:
        self.image = image
        self._pixels = _OpenPlane(image.plane)
        self._weight: _OpenPlane | None = None
        self.whole: NDArray[Any] | None = None
        if image.weight is not None:
            self._weight = _OpenPlane(image.weight)

    def load(self) -> int:
        """Read the whole image; its bytes."""
        self.whole = self._read(slice(0, self.image.shape[1]), slice(0, self.image.shape[2]))
        return self.whole.nbytes

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """A part (B, h, w) as in the file, NaN where the weight map says that there is no data."""
        return self._read(rows, columns) if self.whole is None else self.whole[:, rows, columns]

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        pixels = self._pixels.read(rows, columns)
        pixels = pixels.reshape(self.image.shape[0], *pixels.shape[-2:])
        if self._weight is None:
            return pixels
        weight = self._weight.read(rows, columns)
        if weight.shape[-2:] != pixels.shape[-2:]:
            raise ValueError(f"the weight map of shape {weight.shape[-2:]} does not fit its image")
        without = ~(np.isfinite(weight) & (weight > 0))
        if not without.any():
            return pixels
        pixels = pixels.astype(np.float32 if pixels.dtype.itemsize <= 4 and pixels.dtype.kind == "f" else np.float64)
        np.copyto(pixels, np.nan, where=np.broadcast_to(without, pixels.shape))
        return pixels

    def close(self) -> None:
        """Close the files."""
        self._pixels.close()
        if self._weight is not None:
            self._weight.close()


class OpenImages:
    """The images of a tile, each opened once, when it is needed first.

    Parameters
    ----------
    wanted : dict of CoaddImage to int
        How many parts of ``side`` pixels will be wanted of each image: many parts of a compressed image are cheaper to
        decode together.
    side : int
    signed : dict of Plane to bool
        HDUs whose checksum was looked at before, and whether they have one; those opened here are added.
    """

    def __init__(self, wanted: dict[CoaddImage, int], side: int, signed: dict[Plane, bool]) -> None:
        self._wanted = wanted
        self._side = side
        self._signed = signed
        self._open: dict[CoaddImage, OpenImage] = {}
        self._damage: dict[CoaddImage, Exception] = {}
        self._whole: OrderedDict[CoaddImage, int] = OrderedDict()

    def settled(self, image: CoaddImage, corner: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.float32]:
        """A part of an image as galcli's pixels are: nanomaggies, bands blue to red, row 0 = south.

        Parameters
        ----------
        image : CoaddImage
        corner : tuple of int
            First (x, y) of the part in the settled image; may lie outside.
        shape : tuple of int
            (h, w) of the part.

        Returns
        -------
        ndarray (B, h, w), float32
            NaN outside the image and where there is no data.

        Raises
        ------
        OSError, EOFError, TypeError, ValueError, KeyError, zlib.error
            If the image is damaged.
        """
        out = np.full((len(image.rule.bands), *shape), np.nan, np.float32)
        height, width = image.sky.shape
        x0, x1 = max(corner[0], 0), min(corner[0] + shape[1], width)
        y0, y1 = max(corner[1], 0), min(corner[1] + shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return out
        target = out[:, y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
        columns = slice(width - x1, width - x0) if image.rule.flip_columns else slice(x0, x1)
        rows = slice(height - y1, height - y0) if image.rule.flip_rows else slice(y0, y1)
        raw = self._get(image).read(*((columns, rows) if image.rule.transpose else (rows, columns)))
        image.rule.settle(raw, target)
        target[np.isinf(target)] = np.nan
        return out

    def _get(self, image: CoaddImage) -> OpenImage:
        if image in self._damage:
            raise self._damage[image]
        if image not in self._open:
            try:
                for plane in (image.plane, image.weight):
                    if plane is not None and plane not in self._signed:
                        self._signed[plane] = check_sum(plane)
                self._open[image] = OpenImage(image)
            except DAMAGE as error:
                self._damage[image] = error
                raise
        opened = self._open[image]
        if opened.whole is not None:
            self._whole.move_to_end(image)
        elif image.compressed and self._wanted.get(image, 0) * (self._side + _TILE) ** 2 > np.prod(image.shape[1:]):
            self._whole[image] = opened.load()
            while len(self._whole) > 1 and sum(self._whole.values()) > KEPT_BYTES:
                oldest, _ = self._whole.popitem(last=False)
                self._open[oldest].whole = None
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in self._open.values():
            opened.close()


def _hdu_of(data: Bytes, wanted: int) -> tuple[Cards, int, int]:
    """Cards of an HDU by its number, and where its header and its data end."""
    for number, hdu in enumerate(hdus(data)):
        if number == wanted:
            return hdu
    raise ValueError(f"the file has no HDU {wanted}")


def check_sum(plane: Plane) -> bool:
    """Check the DATASUM of an HDU, as it lies in its file; False if it has none.

    Raises
    ------
    ValueError
        If it does not match.
    OSError, TypeError, KeyError
        If the file is damaged.
    """
    if packing(plane.path):
        data = read_bytes(plane.path)
        cards, start, stop = _hdu_of(data, plane.hdu)
        return verify(cards, data, start, stop)
    with BytesOnDisk(plane.path) as there:
        cards = _hdu_of(there, plane.hdu)[0]
        declared = declared_sum(cards)
        if declared is None:
            return False
        begin = int(cards[BEGIN])
        end = begin + -(-int(cards[SIZE]) // BLOCK) * BLOCK
        if datasum_of_file(there.descriptor, begin, end) != declared:
            raise ValueError("checksum of the data does not match")
    return True
