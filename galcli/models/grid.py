"""Cutouts of any size and pixel scale -> the model's grid.

Cutouts within half a percent of the model's scale are cropped or padded by whole pixels, so that their values stay
untouched. All others are resampled by pixel overlap: a model pixel is the sum of the fluxes of the cutout's pixels,
each weighted by the fraction of its area inside the model pixel. The overlap of two axis-aligned grids separates into
a matrix per axis, built here from each object's scale and centre and applied by ``resample.onnx``.

Pixels without data. A model pixel is valid where at least half of it is covered by pixels that have data in every
band of the front; its value is then scaled up to the full area. Elsewhere it is invalid, and zero in every band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import PixelBatch
from galcli.models.card import Card, Front
from galcli.models.session import Graph
from galcli.tables.status import ModelStatus

#: Relative difference of scales below which pixels are taken as they are.
SAME_SCALE = 0.005
#: Smallest and largest cutout pixel, in model pixels, that is resampled.
SCALE_LIMITS = (0.2, 5.0)
#: Part of a model pixel that must be covered by data.
MIN_COVERED = 0.5

Pixels = NDArray[np.float32]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass
class GridBatch:
    """Pixels as the graph takes them.

    Attributes
    ----------
    pixels : ndarray (N, B, h, w), float32
        0 where there is no data. May be the batch's own array: not to be written to.
    valid : ndarray (N, 1, h, w), float32
        1 where every band has data, else 0. Read-only where all are valid.
    status : ndarray (N,), int32
        `ModelStatus` bits MISSING_BAND, MASKED, PIXEL_SCALE, EDGE.
    has_scale : ndarray (N,), bool
        Whether offsets in arcsec mean anything.
    """

    pixels: Pixels
    valid: Pixels
    status: NDArray[np.int32]
    has_scale: Flags


def to_grid(batch: PixelBatch, front: Front, card: Card, resampler: Graph) -> GridBatch:
    """Bring a batch of cutouts to the model's bands, size and pixel scale.

    The pixels of a row depend on that row alone, bit for bit, on the CPU.

    Parameters
    ----------
    batch : PixelBatch
        Flux in nanomaggies per pixel, or display images in 0 to 1. Display images without a scale are resized, about
        the object, so that the cutout's shorter side fills the grid.
    front : Front
        Which bands, in which order.
    card : Card
        Grid (``size``, ``pixel_scale``; neither: pixels stay as they are, unless there are too few for
        ``least_side``) and ``max_masked``.
    resampler : Graph
        From `galcli.models.session.open_resampler`.

    Returns
    -------
    GridBatch
    """
    status = np.zeros(len(batch), np.int32)
    planes = _front_planes(batch, front, status)
    has_scale = np.isfinite(batch.pixel_scale) & (batch.pixel_scale > 0)
    size: tuple[int, int] = card.size or (planes.shape[2], planes.shape[3])
    if card.least_side is not None and min(size) < card.least_side:
        status[status == 0] |= ModelStatus.MASKED
    ratio = _ratios(batch, card, has_scale, size, status)
    corner, inside = _corners(batch.center, planes.shape, size, own_grid=card.size is None)
    near = np.abs(ratio - 1) <= SAME_SCALE
    data = ~batch.has_nan
    if near.all() and inside.all() and data.all() and not corner.any() and planes.shape[2:] == size:
        return GridBatch(planes, _all_valid(len(batch), size), status, has_scale)
    planes, mask = _split_mask(planes, batch.has_nan)
    if near.all():
        pixels, valid = _crop(planes, mask, corner, size)
        covers = inside
    else:
        pixels = np.zeros((*planes.shape[:2], *size), np.float32)
        valid = np.zeros((len(batch), 1, *size), np.float32)
        covers = inside.copy()
        if near.any():
            pixels[near], valid[near] = _crop(planes[near], None if mask is None else mask[near], corner[near], size)
        far = slice(None) if not near.any() else np.flatnonzero(~near)  # a slice saves the gathering
        pixels[far], valid[far], covers[far] = _resample(
            planes[far], None if mask is None else mask[far], batch.center[far], ratio[far], size, resampler
        )
        if batch.kind == "flux":
            pixels[far] *= (ratio[far] ** 2).astype(np.float32)[:, None, None, None]
    _flag(status, valid, covers, data, card.max_masked)
    return GridBatch(pixels, valid, status, has_scale)


def overlap(center: Floats, ratio: Floats, source: int, target: int) -> Pixels:
    """Overlap of cutout pixels and model pixels along one axis.

    Parameters
    ----------
    center : ndarray (N,), float64
        Position of the object in the cutout, in cutout pixels; it comes to lie on ``(target - 1) / 2``.
    ratio : ndarray (N,), float64
        Length of a model pixel in cutout pixels.
    source, target : int
        Pixels of the cutout and of the model along the axis.

    Returns
    -------
    ndarray (N, target, source), float32
        Part of the model pixel (row) that the cutout pixel (column) covers; rows sum to 1 inside the cutout.
    """
    step = np.arange(target + 1) - target / 2
    edges = center[:, None] + 0.5 + step * ratio[:, None]  # cutout pixel j spans j to j + 1
    low, high = edges[:, :-1], edges[:, 1:]
    matrix = np.zeros((len(center), target, source), np.float32)
    first = np.floor(low).astype(np.int64)
    for offset in range(math.ceil(ratio.max(initial=0)) + 1):
        pixel = first + offset
        shared = np.maximum(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0) / ratio[:, None]
        row, line = np.nonzero((pixel >= 0) & (pixel < source))
        matrix[row, line, pixel[row, line]] = shared[row, line]
    return matrix


def _front_planes(batch: PixelBatch, front: Front, status: NDArray[np.int32]) -> Pixels:
    """The front's bands (N, B, H, W); bands the cutouts lack are NaN, and their rows MISSING_BAND."""
    if batch.bands == front.bands:
        status[~batch.band_has_data.all(axis=1)] |= ModelStatus.MISSING_BAND
        return batch.pixels
    position = [batch.bands.index(band) if band in batch.bands else None for band in front.bands]
    planes = np.full((len(batch), len(position), *batch.pixels.shape[2:]), np.nan, np.float32)
    for number, where in enumerate(position):
        if where is None:
            status |= np.int32(ModelStatus.MISSING_BAND)
        else:
            planes[:, number] = batch.pixels[:, where]
            status[~batch.band_has_data[:, where]] |= ModelStatus.MISSING_BAND
    return planes


def _ratios(
    batch: PixelBatch, card: Card, has_scale: Flags, size: tuple[int, int], status: NDArray[np.int32]
) -> Floats:
    """Length of a model pixel in cutout pixels (N,); 1 where the scale is of no use (PIXEL_SCALE)."""
    if card.pixel_scale is None:
        return np.ones(len(batch))
    ratio: Floats = np.divide(card.pixel_scale, batch.pixel_scale, out=np.ones(len(batch)), where=has_scale)
    unusable = has_scale & ((1 / ratio < SCALE_LIMITS[0]) | (1 / ratio > SCALE_LIMITS[1]))
    if batch.kind == "display":
        height, width = batch.pixels.shape[2:]
        ratio[~has_scale] = min(height / size[0], width / size[1])
    else:
        unusable |= ~has_scale
    ratio[unusable] = 1
    status[unusable] |= ModelStatus.PIXEL_SCALE
    return ratio


def _corners(
    center: Floats, shape: tuple[int, ...], size: tuple[int, int], own_grid: bool
) -> tuple[NDArray[np.int64], Flags]:
    """First row and column of each crop (N, 2), which may be negative, and whether the crop lies inside (N,).

    The object comes within half a pixel of the grid's centre; of two crops equally near, that with the lower numbers.
    """
    if own_grid:
        return np.zeros((len(center), 2), np.int64), np.ones(len(center), np.bool_)
    yx = center[:, ::-1]
    corner = np.ceil(yx - (np.array(size) - 1) / 2 - 0.5).astype(np.int64)
    inside = (corner >= 0) & (corner + np.array(size) <= np.array(shape[2:]))
    return corner, inside.all(axis=1)


def _split_mask(planes: Pixels, has_nan: Flags) -> tuple[Pixels, Pixels | None]:
    """Pixels with 0 for no data in every band, and the mask (N, 1, H, W) of pixels with data (None: all of them)."""
    rows = np.flatnonzero(has_nan)
    if not rows.size:
        return planes, None
    mask = np.ones((len(planes), 1, *planes.shape[2:]), np.float32)
    mask[rows, 0] = np.isfinite(planes[rows]).all(axis=1)
    planes = planes.copy()
    planes[rows] = np.where(mask[rows] > 0, planes[rows], np.float32(0))
    return planes, mask


def _crop(
    planes: Pixels, mask: Pixels | None, corner: NDArray[np.int64], size: tuple[int, int]
) -> tuple[Pixels, Pixels]:
    """Cut or pad by whole pixels; one slice per group of rows with the same corner."""
    pixels = np.zeros((*planes.shape[:2], *size), np.float32)
    valid = np.zeros((len(planes), 1, *size), np.float32)
    limits = np.array(planes.shape[2:])
    for place in np.unique(corner, axis=0):
        same = (corner == place).all(axis=1)
        rows = slice(None) if same.all() else np.flatnonzero(same)  # a slice saves the gathering
        low, high = np.clip(place, 0, limits), np.clip(place + size, 0, limits)
        source = (rows, slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
        shift, stop = low - place, high - place
        target = (rows, slice(None), slice(shift[0], stop[0]), slice(shift[1], stop[1]))
        pixels[target] = planes[source]
        valid[target] = 1 if mask is None else mask[source]
    return pixels, valid


def _resample(
    planes: Pixels, mask: Pixels | None, center: Floats, ratio: Floats, size: tuple[int, int], resampler: Graph
) -> tuple[Pixels, Pixels, Flags]:
    """Mean over the valid part of each model pixel, where it is valid, and whether the cutout covers the field."""
    height, width = planes.shape[2:]
    ay = overlap(center[:, 1], ratio, height, size[0])
    ax = overlap(center[:, 0], ratio, width, size[1])
    weights = {"ay": ay, "ax": ax}
    pixels = resampler.run({"pixels": planes, **weights}, ["resampled"])["resampled"]
    # Without gaps the coverage is the product of the two axes' own; a row's bits must not depend on its neighbours.
    covered = ay.sum(axis=2)[:, None, :, None] * ax.sum(axis=2)[:, None, None, :]
    covers = (covered >= MIN_COVERED).all(axis=(1, 2, 3))
    rows = np.flatnonzero((mask == 0).any(axis=(1, 2, 3))) if mask is not None else np.zeros(0, np.int64)
    if mask is not None and rows.size:
        feeds = {"pixels": mask[rows]} | {name: matrix[rows] for name, matrix in weights.items()}
        covered[rows] = resampler.run(feeds, ["resampled"])["resampled"]
    valid = (covered >= MIN_COVERED).astype(np.float32)
    pixels *= valid / np.maximum(covered, np.float32(MIN_COVERED))
    return pixels, valid, covers


def _flag(status: NDArray[np.int32], valid: Pixels, covers: Flags, data: Flags, max_masked: float) -> None:
    """Set EDGE and MASKED in rows that may still get a prediction."""
    usable = status == 0
    rows = np.flatnonzero(usable & ~(covers & data))
    status[usable & ~covers] |= ModelStatus.EDGE
    if rows.size:
        field = valid[rows, 0]
        y, x = (_central(length) for length in field.shape[1:])
        masked = (field.mean(axis=(1, 2), dtype=np.float64) < 1 - max_masked) | ~field[:, y, x].any(axis=(1, 2))
        status[rows[masked]] |= ModelStatus.MASKED


def _central(length: int) -> slice:
    """The central sixteenth of an axis (at least two pixels): 8 of 144, or 2 arcsec of the shipped models."""
    half = max(1, length // 32)
    return slice(length // 2 - half, length // 2 + half)


#: Sizes of which `_all_valid` keeps an array: cutouts of native size may have any.
_SIZES_KEPT = 16
_ones: dict[tuple[int, int], Pixels] = {}


def _all_valid(count: int, size: tuple[int, int]) -> Pixels:
    """Ones (count, 1, h, w), kept between batches and so read-only."""
    kept = _ones.get(size)
    if kept is None or len(kept) < count:
        kept = np.ones((count, 1, *size), np.float32)
        kept.flags.writeable = False
        if len(_ones) >= _SIZES_KEPT:
            _ones.clear()
        _ones[size] = kept
    return kept[:count]
