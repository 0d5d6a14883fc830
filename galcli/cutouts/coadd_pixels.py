"""Pixels of large images: parts of them are read, or the whole image once where many parts are wanted."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import ExitStack
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
from galcli.cutouts.resources import require_resources
from galcli.tables.header import BLOCK, declared_sum

#: Images kept open, and bytes of whole ones kept in memory; beyond these, the ones not used for longest are let go.
KEPT_IMAGES, KEPT_BYTES = 100, 1 << 30


class _OpenPlane:
    """An HDU whose pixels are read in parts.

    Parameters
    ----------
    plane : Plane
    signed : dict of Plane to bool
        HDUs whose checksum was looked at before, and whether they have one; this one is added.
    """

    def __init__(self, plane: Plane, signed: dict[Plane, bool]) -> None:
        self._file: Any = None
        self._values: NDArray[Any] | None = None
        if packing(plane.path):
            data = read_bytes(plane.path)
            self.cards, start, stop = _hdu_of(data, plane.hdu)
            if plane not in signed:
                signed[plane] = verify(self.cards, data, start, stop)
            self._values = plain_pixels(self.cards, data)
            return
        with BytesOnDisk(plane.path) as there:
            self.cards = _hdu_of(there, plane.hdu)[0]
            if plane not in signed:
                signed[plane] = _verify_data(self.cards, there)
        if gzipped_tiles(self.cards):
            self._values = gzipped_pixels(plane.path, plane.hdu, self.cards)
            return
        self._file = open_fits(plane.path)
        self._hdu = self._file[plane.hdu]

    @property
    def in_memory(self) -> bool:
        """Whether its pixels had to be read as a whole."""
        return self._values is not None

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
    whole : bool
        Whether to read all of it at once.
    signed : dict of Plane to bool
        HDUs whose checksum was looked at before, and whether they have one; those opened here are added.

    Attributes
    ----------
    nbytes : int
        Of the pixels in memory.

    Raises
    ------
    OSError, EOFError, TypeError, ValueError, KeyError, zlib.error
        If a file is damaged.
    """

    def __init__(self, image: CoaddImage, whole: bool, signed: dict[Plane, bool]) -> None:
        self._shape = image.shape
        self._rule = image.rule
        self._height, self._width = image.sky.shape
        self._whole: NDArray[np.float32] | None = None
        self._files = ExitStack()
        self._planes: list[_OpenPlane] = []
        with ExitStack() as files:
            for plane in (image.plane, image.weight):
                if plane is not None:
                    self._planes.append(_OpenPlane(plane, signed))
                    files.callback(self._planes[-1].close)
            if whole or any(plane.in_memory for plane in self._planes):
                self._whole = self._settled(self._read(slice(0, self._shape[1]), slice(0, self._shape[2])))
                self._planes.clear()
            else:
                self._files = files.pop_all()
        self.nbytes = 0 if self._whole is None else self._whole.nbytes

    def read_into(self, out: NDArray[np.float32], x: int, y: int) -> None:
        """Fill ``out`` (B, h, w) with the settled pixels from (x, y) on; NaN where there is no data."""
        right, top = x + out.shape[2], y + out.shape[1]
        if self._whole is not None:
            np.copyto(out, self._whole[:, y:top, x:right])
            return
        columns = slice(self._width - right, self._width - x) if self._rule.flip_columns else slice(x, right)
        rows = slice(self._height - top, self._height - y) if self._rule.flip_rows else slice(y, top)
        self._settle(self._read(*((columns, rows) if self._rule.transpose else (rows, columns))), out)

    def _settled(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """The whole image, in the memory of ``raw`` where its pixels can stay in their places."""
        rule = self._rule
        moved = rule.transpose or rule.flip_rows or rule.flip_columns or rule.reordered
        if moved or raw.dtype != np.float32 or not raw.flags.writeable:
            out = np.empty((self._shape[0], self._height, self._width), np.float32)
            self._settle(raw, out)
            return out
        rule.apply_flux(raw)
        raw[np.isinf(raw)] = np.nan
        return raw

    def _settle(self, raw: NDArray[Any], out: NDArray[np.float32]) -> None:
        self._rule.settle(raw, out)
        out[np.isinf(out)] = np.nan

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """A part (B, h, w) as in the file, NaN where the weight map says that there is no data."""
        pixels, *weights = (plane.read(rows, columns) for plane in self._planes)
        pixels = pixels.reshape(self._shape[0], *pixels.shape[-2:])
        for weight in weights:
            if weight.shape[-2:] != pixels.shape[-2:]:
                raise ValueError(f"the weight map of shape {weight.shape[-2:]} does not fit its image")
            without = ~(np.isfinite(weight) & (weight > 0))
            if without.any():
                if pixels.dtype.kind != "f" or not pixels.flags.writeable:
                    pixels = pixels.astype(np.result_type(pixels, np.float32))
                np.copyto(pixels, np.nan, where=np.broadcast_to(without, pixels.shape))
        return pixels

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class OpenImages:
    """The images of a tile, each opened when it is needed first, and kept while there is room.

    Parameters
    ----------
    wanted : dict of CoaddImage to int
        How many parts of ``side`` pixels will be wanted of each image: many parts of a compressed image are cheaper to
        decode together. Counted down by `done`.
    side : int
    signed : dict of Plane to bool
        HDUs whose checksum was looked at before, and whether they have one; those opened here are added.
    kept_bytes : int
        Bytes of whole images kept in memory.
    """

    def __init__(
        self, wanted: dict[CoaddImage, int], side: int, signed: dict[Plane, bool], kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._wanted = wanted
        self._kept_bytes = kept_bytes
        self._side = side
        self._signed = signed
        self._open: OrderedDict[CoaddImage, OpenImage] = OrderedDict()
        self._nbytes = 0
        self._damage: dict[CoaddImage, str] = {}

    def settle(self, image: CoaddImage, corner: tuple[int, int], out: NDArray[np.float32]) -> None:
        """Copy a part of an image as galcli's pixels are: nanomaggies, bands blue to red, row 0 = south.

        Parameters
        ----------
        image : CoaddImage
        corner : tuple of int
            First (x, y) of the part in the settled image; may lie outside.
        out : ndarray (B, h, w), float32
            Overwritten; NaN outside the image and where there is no data.

        Raises
        ------
        OSError, EOFError, TypeError, ValueError, KeyError, zlib.error
            If the image is damaged.
        """
        height, width = image.sky.shape
        x0, x1 = max(corner[0], 0), min(corner[0] + out.shape[2], width)
        y0, y1 = max(corner[1], 0), min(corner[1] + out.shape[1], height)
        if (y1 - y0, x1 - x0) != out.shape[1:]:
            out.fill(np.nan)
        if x0 < x1 and y0 < y1:
            target = out[:, y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
            self._get(image).read_into(target, x0, y0)

    def _get(self, image: CoaddImage) -> OpenImage:
        if image in self._damage:
            raise ValueError(self._damage[image])
        if image in self._open:
            self._open.move_to_end(image)
            return self._open[image]
        whole = self._wants_whole(image) and self._has_room(4 * math.prod(image.shape))
        try:
            opened = OpenImage(image, whole, self._signed)
        except DAMAGE as error:
            require_resources(image.path, error)
            self._damage[image] = str(error)
            raise
        self._open[image] = opened
        self._nbytes += opened.nbytes
        while len(self._open) > 1 and (len(self._open) > KEPT_IMAGES or self._nbytes > self._kept_bytes):
            self._close(next(iter(self._open)))
        return opened

    def _close(self, image: CoaddImage) -> None:
        opened = self._open.pop(image)
        self._nbytes -= opened.nbytes
        opened.close()

    def done(self, images: Iterable[CoaddImage]) -> None:
        """Say that one part less is wanted of each of the images; one of which none is wanted is let go."""
        for image in images:
            self._wanted[image] -= 1
            if not self._wanted[image] and image in self._open:
                self._close(image)

    def _has_room(self, nbytes: int) -> bool:
        """Whether more bytes fit into memory, once the images that are hardly wanted any more are let go."""
        if self._nbytes + nbytes > self._kept_bytes:
            for image in [image for image, opened in self._open.items() if opened.nbytes]:
                if not self._wants_whole(image):
                    self._close(image)
        return self._nbytes + nbytes <= self._kept_bytes

    def _wants_whole(self, image: CoaddImage) -> bool:
        """Whether the parts of an image that are still wanted are decoded faster as a whole."""
        tile = image.tile
        if tile is None:
            return False
        size = image.shape[1:]
        part = [min(self._side + step, length) for step, length in zip(tile, size, strict=True)]
        return self._wanted[image] * math.prod(part) > math.prod(size)

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


def _verify_data(cards: Cards, there: BytesOnDisk) -> bool:
    """Check the DATASUM of an HDU, as it lies in its file; False if it has none.

    Raises
    ------
    ValueError
        If it does not match.
    """
    declared = declared_sum(cards)
    if declared is None:
        return False
    begin = int(cards[BEGIN])
    end = begin + -(-int(cards[SIZE]) // BLOCK) * BLOCK
    if datasum_of_file(there.descriptor, begin, end) != declared:
        raise ValueError("checksum of the data does not match")
    return True
