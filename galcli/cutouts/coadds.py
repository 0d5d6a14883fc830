"""Stamps cut on the fly from images that hold many objects: coadds, survey bricks, frames, single exposures.

A stamp lies on the pixel grid of the image in which its object stands deepest (of the finest bands' images, if scales
differ). Other images fill in what that one lacks: as they are where they share its grid, interpolated where not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures, Kind, PixelBatch, failure, survey_pixels, without_signal
from galcli.cutouts.buffers import Buffers
from galcli.cutouts.coadd_image import CoaddImage, Plane
from galcli.cutouts.coadd_index import ImageIndex, fingerprint
from galcli.cutouts.coadd_pixels import KEPT_BYTES, OpenImages
from galcli.cutouts.fit import first_pixel
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.header import blue_to_red
from galcli.cutouts.interpolate import REACH, cubic
from galcli.cutouts.match import unit_vectors
from galcli.errors import InputError
from galcli.tables.status import RowStatus

#: Pixels by which two grids may differ and still count as one.
SAME_GRID = 1e-3
#: Largest side of a stamp, in pixels.
MAX_SIDE = 1 << 13
#: Part of a band's pixels that may be exactly zero by chance.
ZEROS = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Hit:
    """An image that holds a part of a stamp.

    Attributes
    ----------
    image : CoaddImage
    number : int
        Position among the tile's images.
    x, y : float
        Where the object lies in the settled image.
    depth : float
        Distance to the nearest edge in arcsec; negative outside.
    scale : float
        Pixel scale there, arcsec.
    """

    image: CoaddImage
    number: int
    x: float
    y: float
    depth: float
    scale: float


class CoaddSource:
    """Stamps around positions, from images indexed by their place on the sky.

    Parameters
    ----------
    index : ImageIndex
    probe : (ra, dec), ndarray (n,), float64, degrees
        Rows spread over the catalogue, whose images tell the bands.
    used : iterable of (ra, dec)
        Positions of all rows in chunks, for the fingerprint.
    field : float, arcsec
        Side of the field that a stamp must cover.
    size : int, optional
        Side of the stamps in pixels, instead of what ``field`` needs.

    Attributes
    ----------
    field : float, arcsec
        Side of what stamps cover; may be made smaller before reading.
    kept_bytes : int
        Bytes of whole images kept in memory; may be changed before reading.

    Raises
    ------
    InputError
        If no image lies near the rows.
    """

    kind: Kind = "flux"
    needs: tuple[str, ...] = ()
    all_python = False

    def __init__(
        self,
        index: ImageIndex,
        probe: tuple[Floats, Floats],
        used: Iterable[tuple[Floats, Floats]],
        field: float,
        size: int | None = None,
    ) -> None:
        self._index = index
        self._used = used
        self.field = field
        self._size = size
        self._signed: dict[Plane, bool] = {}
        self._zeros = 0
        self.kept_bytes = KEPT_BYTES
        self._buffers = Buffers()
        first = self._first_images([probe]) or self._first_images(used) or self._refuse()
        bands = tuple(dict.fromkeys(band for image in first for band in image.rule.bands))
        self.bands = tuple(bands[i] for i in blue_to_red(bands))
        self.survey = first[0].rule.survey
        self._finest = min(image.sky.finest for image in first)
        if size is not None:
            self.field = size * max(image.rule.pixel_scale for image in first)

    @property
    def side(self) -> int:
        """Side of the stamps of the first images in px."""
        return self._stamp(self._finest)

    @property
    def _reach(self) -> float:
        """How far from an object its stamp may reach, degrees."""
        return self.field / math.sqrt(2) / 3600

    def _first_images(self, positions: Iterable[tuple[Floats, Floats]]) -> Sequence[CoaddImage]:
        """The images around the first rows that have any."""
        for ra, dec in positions:
            good = np.isfinite(ra) & np.isfinite(dec)
            groups = self._index.near(ra[good], dec[good], self._reach)
            images = self._index.sample(groups)
            if images:
                return images
        return []

    def _refuse(self) -> NoReturn:
        why = next((f"; {path}: {reason}" for path, reason in self._index.unreadable.items()), "")
        raise InputError(
            f"no row of the catalogue is named by, or lies in, {self._index.describe()}{why}",
            "check --cutouts, --id-column and the coordinates (degrees?)",
        )

    def fingerprint(self) -> dict[str, Any]:
        """SHA-256 over name, size and modification time of the files, and the size of the stamps."""
        side = {"size": self._size} if self._size else {"field": self.field}
        return fingerprint(self._index.files(self._used, self._reach)) | side

    def describe(self) -> str:
        """One line for people."""
        return f"{self._index.describe()}, bands {''.join(self.bands)}"

    def counters(self) -> dict[str, int]:
        """Stamps with zeros that nothing explains."""
        return {"zeros": self._zeros}

    def files(self) -> dict[str, frozenset[str]]:
        """Files without a checksum, and those that could not be read."""
        unsigned = frozenset(plane.path for plane, signed in self._signed.items() if not signed)
        return {"no_checksum": unsigned, "unreadable": frozenset(self._index.unreadable)}

    def rows_ahead(self, batch_size: int) -> int:
        """One batch is read at a time."""
        return 0

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield the rows image by image; see ``CutoutSource``."""
        hits = self._hits(request)
        sides: dict[int, int] = {}
        grids: dict[int, _Hit] = {}
        for row in range(len(request)):
            grid = _grid_of(hits[row])
            if grid is None:
                yield failure(row, RowStatus.MISSING_CUTOUT, "no image holds this position")
            else:
                grids[row], sides[row] = grid, self._side(grid.image)
        # Rows of one image stand together, so that few images are in memory at a time.
        order = sorted(grids, key=lambda row: (sides[row], grids[row].number, row))
        wanted: dict[CoaddImage, int] = defaultdict(int)
        for row in order:
            for hit in hits[row]:
                wanted[hit.image] += 1
        with OpenImages(wanted, max(sides.values(), default=0), self._signed, self.kept_bytes) as images:
            for start, stop in _runs([sides[row] for row in order], batch_size):
                yield from self._batch(order[start:stop], hits, grids, sides, images)

    def _side(self, image: CoaddImage) -> int:
        """Side of the stamps of an image: the field and a pixel to spare on each side, so that any crop of it fits.

        It is the same all over the image, so that an image whose scale varies is still read in one go.

        Raises
        ------
        ValueError, ZeroDivisionError
            If the pixels of the image are too small to be any.
        """
        side = self._stamp(image.sky.finest)
        if side > MAX_SIDE:
            raise ValueError(f"its pixels of {image.sky.finest:.3g} arcsec are none of a survey")
        return side

    def _stamp(self, pixel: float) -> int:
        """Side in pixels of the stamps of an image with pixels of ``pixel`` arcsec."""
        return self._size or math.ceil(self.field / pixel - 1e-6) + 2

    def _hits(self, request: CutoutRequest) -> list[list[_Hit]]:
        """The images that hold a part of each row's stamp, those first in which the object stands deepest."""
        hits: list[list[_Hit]] = [[] for _ in range(len(request))]
        usable = np.flatnonzero(np.isfinite(request.ra) & np.isfinite(request.dec))
        points = unit_vectors(request.ra[usable], request.dec[usable])
        groups = self._index.near(request.ra[usable], request.dec[usable], self._reach)
        for number, image in enumerate(image for group in groups for image in self._index.images(group)):
            center, radius = image.sky.footprint
            near = usable[points @ center >= math.cos(math.radians(min(radius + self._reach, 180)))]
            if not len(near):
                continue
            try:
                # Rounded, so that noise in the last digit cannot decide between two pixels.
                x, y = (np.round(axis, 4) for axis in image.sky.to_pixel(request.ra[near], request.dec[near]))
                scale = image.sky.scale_at(x, y)
                half = self._side(image) / 2 + 1
            except DAMAGE as error:  # a projection that does not exist, or has no inverse
                self._index.unreadable[image.path] = str(error)
                continue
            height, width = image.sky.shape
            depth = np.minimum(np.minimum(x + 0.5, width - 0.5 - x), np.minimum(y + 0.5, height - 0.5 - y))
            for at in np.flatnonzero(depth > -half).tolist():
                place = (float(x[at]), float(y[at]), float(depth[at] * scale[at]), float(scale[at]))
                hits[near[at]].append(_Hit(image, number, *place))
        for row in hits:
            row.sort(key=lambda hit: (-hit.depth, hit.number))
        return hits

    def _batch(
        self, rows: list[int], hits: list[list[_Hit]], grids: dict[int, _Hit], sides: dict[int, int], images: OpenImages
    ) -> Iterator[PixelBatch | Failures]:
        """Cut the stamps of rows whose stamps are of one size."""
        side = sides[rows[0]]
        pixels = self._buffers.empty((len(rows), len(self.bands), side, side))
        scale, center = np.empty(len(rows)), np.empty((len(rows), 2))
        good: list[int] = []
        for at, row in enumerate(rows):
            grid = grids[row]
            corner = (first_pixel(grid.x, side), first_pixel(grid.y, side))
            try:
                self._cut(pixels[at], grid, corner, hits[row], images)
            except DAMAGE as error:
                yield failure(row, RowStatus.CORRUPT_CUTOUT, str(error))
                continue
            finally:
                images.done(hit.image for hit in hits[row])
            good.append(at)
            self._zeros += self._has_zeros(pixels[at], hits[row])
            center[at] = round(grid.x - corner[0], 4), round(grid.y - corner[1], 4)
            scale[at] = grid.scale
        if not good:
            return
        if len(good) < len(rows):
            pixels = pixels[good]
        index = np.array(rows, np.int64)[good]
        has_nan, has_data = survey_pixels(pixels)
        batch = PixelBatch(index, pixels, self.bands, self.kind, scale[good], center[good], has_nan, has_data)
        rest, constant = without_signal(batch)
        if constant is not None:
            yield constant
        if rest is not None:
            yield rest

    def _cut(
        self, out: NDArray[np.float32], grid: _Hit, corner: tuple[int, int], hits: list[_Hit], images: OpenImages
    ) -> None:
        """Fill a stamp (B, S, S) from the images that hold parts of it; NaN where none does."""
        blank = set(range(len(self.bands)))
        for hit in hits:
            planes = [
                (self.bands.index(band), at) for at, band in enumerate(hit.image.rule.bands) if band in self.bands
            ]
            lacking = [(band, at) for band, at in planes if band in blank or np.isnan(out[band]).any()]
            if not lacking:
                continue
            band, _ = lacking[0]
            if band in blank and len(hit.image.rule.bands) == 1:  # as most surveys' images: no copy between
                _fill(out[band : band + 1], hit, grid, corner, images)
                blank.discard(band)
                continue
            part = np.empty((len(hit.image.rule.bands), *out.shape[1:]), np.float32)
            _fill(part, hit, grid, corner, images)
            for band, at in lacking:
                np.copyto(out[band], part[at], where=band in blank or np.isnan(out[band]))
                blank.discard(band)
        out[list(blank)] = np.nan

    def _has_zeros(self, stamp: NDArray[np.float32], hits: list[_Hit]) -> bool:
        """Whether a band of a stamp (B, S, S) without a weight map holds many zeros beside other values."""
        unweighted = {band for hit in hits if hit.image.weight is None for band in hit.image.rule.bands}
        if not unweighted:
            return False
        zeros = (stamp[[band in unweighted for band in self.bands]] == 0).mean(axis=(1, 2))
        return bool(((zeros > ZEROS) & (zeros < 1)).any())


def _grid_of(hits: list[_Hit]) -> _Hit | None:
    """The image whose pixel grid a stamp takes; None if no image holds the object.

    Of each band the image in which the object stands deepest, and of these the one with the finest pixels.
    """
    best: dict[str, _Hit] = {}
    for hit in hits:
        if hit.depth > 0:
            for band in hit.image.rule.bands:
                best.setdefault(band, hit)
    # Scales are compared as printed: the same grid must win whatever the last digit says.
    return min(best.values(), key=lambda hit: (round(hit.scale, 3), -hit.depth, hit.number), default=None)


def _runs(sides: list[int], batch_size: int) -> Iterator[tuple[int, int]]:
    """Ranges of equal sides, of at most ``batch_size``."""
    start = 0
    for stop in range(1, len(sides) + 1):
        if stop == len(sides) or stop - start == batch_size or sides[stop] != sides[start]:
            yield start, stop
            start = stop


def _fill(out: NDArray[np.float32], hit: _Hit, grid: _Hit, corner: tuple[int, int], images: OpenImages) -> None:
    """What an image has of a stamp, on the stamp's grid, into ``out`` (B, S, S)."""
    if hit.image is grid.image or hit.image.sky.key == grid.image.sky.key:
        images.settle(hit.image, corner, out)
        return
    ends = np.array([0.0, out.shape[-1] - 1.0])
    x, y = (axis.ravel() for axis in np.meshgrid(corner[0] + ends, corner[1] + ends))
    there = np.stack(hit.image.sky.to_pixel(*grid.image.sky.to_sky(x, y))) - np.stack([x, y])
    shift = np.round(there.mean(axis=1))
    if np.abs(there - shift[:, None]).max() < SAME_GRID:
        images.settle(hit.image, (corner[0] + int(shift[0]), corner[1] + int(shift[1])), out)
    else:
        _interpolate(out, hit.image, grid.image, corner, images)


def _interpolate(
    out: NDArray[np.float32], image: CoaddImage, grid: CoaddImage, corner: tuple[int, int], images: OpenImages
) -> None:
    """An image at the pixels of another grid (B, S, S): its surface brightness there, times the area of a pixel."""
    side = out.shape[-1]
    y, x = np.mgrid[-1 : side + 1, -1 : side + 1].astype(np.float64)  # a pixel more, to know how large each one is
    x, y = image.sky.to_pixel(*grid.sky.to_sky(x + corner[0], y + corner[1]))
    area = np.abs(
        (x[1:-1, 2:] - x[1:-1, :-2]) * (y[2:, 1:-1] - y[:-2, 1:-1])
        - (x[2:, 1:-1] - x[:-2, 1:-1]) * (y[1:-1, 2:] - y[1:-1, :-2])
    ) / 4  # fmt: skip
    height, width = image.sky.shape
    x, y = _within(x[1:-1, 1:-1], width), _within(y[1:-1, 1:-1], height)
    x0, y0 = int(np.floor(x.min())) - REACH, int(np.floor(y.min())) - REACH
    shape = (int(np.ceil(y.max())) + REACH + 1 - y0, int(np.ceil(x.max())) + REACH + 1 - x0)
    around = np.empty((len(out), *shape), np.float32)
    images.settle(image, (x0, y0), around)
    np.multiply(cubic(around, x - x0, y - y0), area.astype(np.float32), out=out)


def _within(place: Floats, length: int) -> Floats:
    """Pixels along an axis, those far outside the image, or nowhere, brought to just outside."""
    return np.clip(np.nan_to_num(place, nan=-1.0 - REACH), -1.0 - REACH, length + REACH)
