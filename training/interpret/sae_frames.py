"""Where on the sky a map lies, so that maps of different grids can be drawn over each other and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from galcli.models.grid import overlap

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

#: Cells along a side of a map, and px of an image, that are kept for a picture.
CELLS, PIXELS = 64, 128


@dataclass(frozen=True)
class Frame:
    """The edges of a map, in arcsec (px where there is no scale) from the object.

    Attributes
    ----------
    east, west : float
        Edges of the first and behind the last column, to the east: ``east`` is the larger one.
    south, north : float
        Edges of the first and behind the last row, to the north.
    """

    east: float
    west: float
    south: float
    north: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """As matplotlib wants it, for maps whose row 0 is south."""
        return self.east, self.west, self.south, self.north

    def centres(self, shape: Sequence[int]) -> tuple[Floats, Floats]:
        """Offsets of columns to the east and of rows to the north, of a map (h, w)."""
        height, width = shape
        x = self.east + (np.arange(width) + 0.5) * (self.west - self.east) / width
        y = self.south + (np.arange(height) + 0.5) * (self.north - self.south) / height
        return x, y

    def of_strides(self, cells: Sequence[int], shape: Sequence[int]) -> Frame:
        """The frame of inner maps of a ResNet: cell i looks at pixel i times its stride.

        Parameters
        ----------
        cells : sequence of int
            Height and width of the maps.
        shape : sequence of int
            Height and width of the image that has this frame.
        """
        edges = []
        for low, high, count, pixels in (
            (self.east, self.west, cells[1], shape[1]),
            (self.south, self.north, cells[0], shape[0]),
        ):
            step = (high - low) / pixels
            stride = next((1 << k for k in range(8) if -(-pixels // (1 << k)) == count), pixels / count)
            first = low + (0.5 - stride / 2) * step
            edges += [first, first + count * stride * step]
        return Frame(*edges)


class Picture(NamedTuple):
    """A map (h, w), or an image (h, w, 3), row 0 = south, and where it lies."""

    values: NDArray[Any]
    frame: Frame


def pixel_frame(shape: Sequence[int], center: Floats, scale: float) -> Frame:
    """The frame of a cutout (h, w) with the object at ``center`` (x, y) px, and ``scale`` arcsec per px."""
    height, width = shape
    x, y = float(center[0]), float(center[1])
    return Frame((x + 0.5) * scale, (x + 0.5 - width) * scale, -(y + 0.5) * scale, (height - 0.5 - y) * scale)


def cell_frame(cells: Sequence[int], shape: Sequence[int], center: Floats, scale: float, side: int) -> Frame:
    """The frame of cells of ``side`` x ``side`` px that fill the middle of a cutout; else as `pixel_frame`."""
    top, left = ((length - count * side) // 2 for length, count in zip(shape, cells, strict=True))
    moved = np.array([center[0] - left, center[1] - top])
    return pixel_frame([count * side for count in cells], moved, scale)


def shrunk(picture: Picture) -> Picture:
    """A map with at most `CELLS` cells along a side, each the mean of what it covers."""
    return Picture(_averaged(picture.values, CELLS), picture.frame)


def shrunk_image(picture: Picture) -> Picture:
    """An image, 0 to 1, with at most `PIXELS` px along a side."""
    bands = [_averaged(picture.values[..., band], PIXELS) for band in range(picture.values.shape[-1])]
    return Picture(np.stack(bands, -1).clip(0, 1), picture.frame)


def mean_map(pictures: Sequence[Picture]) -> Picture:
    """The mean of maps, on cells that cover what the median one covers; NaN where none lies."""
    middle = np.median([picture.frame.extent for picture in pictures], axis=0)
    frame = Frame(*(float(edge) for edge in middle))
    shape = tuple(int(np.median([picture.values.shape[axis] for picture in pictures])) for axis in (0, 1))
    total, weight = np.zeros(shape), np.zeros(shape)
    for values, own in pictures:
        across = _share(own.east, own.west, values.shape[1], frame.east, frame.west, shape[1])
        along = _share(own.south, own.north, values.shape[0], frame.south, frame.north, shape[0])
        total += along @ values @ across.T
        weight += np.outer(along.sum(1), across.sum(1))
    found = np.divide(total, weight, out=np.full(shape, np.nan), where=weight > 0)
    return Picture(found, frame)


def _averaged(values: NDArray[Any], most: int) -> Singles:
    """A map on fewer cells."""
    along, across = (_share(0, length, length, 0, length, min(length, most)) for length in values.shape)
    smaller: Singles = (along @ values @ across.T).astype(np.float32)
    return smaller


def _share(low: float, high: float, count: int, first: float, last: float, wanted: int) -> Floats:
    """Part of each of ``wanted`` cells from ``first`` to ``last`` that each of ``count`` from ``low`` to ``high`` covers."""
    step = (high - low) / count
    ratio = (last - first) / wanted / step
    center = ((first + last) / 2 - low) / step - 0.5
    parts: Floats = overlap(np.array([center]), np.array([ratio]), count, wanted)[0].astype(np.float64)
    return parts
