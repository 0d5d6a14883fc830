"""Cutouts in files of their own: FITS in the Legacy Survey layout, JPEG and PNG."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts import display_image, fits_image, hdus
from galcli.cutouts.batch import (
    DISPLAY_BANDS,
    KINDS,
    CutoutRequest,
    Failures,
    Kind,
    PixelBatch,
    extremes,
    failed,
    failure,
    judge,
    without_signal,
)
from galcli.cutouts.buffers import Buffers
from galcli.cutouts.fits_image import Image, NoOverlapError
from galcli.cutouts.hdus import Scratch
from galcli.cutouts.header import NO_OVERRIDES, Overrides, blue_to_red
from galcli.cutouts.lookup import Lookup, kind_of, left_aside
from galcli.cutouts.parallel import ahead, in_flight
from galcli.cutouts.resources import require_resources
from galcli.errors import InputError
from galcli.tables.status import RowStatus

#: Rows that are read together and sorted by shape, and the bytes of their pixels at most. Fixed, so that the order in
#: which rows come does not depend on the batch size.
WINDOW = 32
WINDOW_BYTES = 1 << 27

#: Part of a thread's time below which the processor was idle: it waited for the disk.
_WAITING = 0.5

#: Files whose bands and survey are looked at before a run.
PROBED = 8


@dataclass
class _Group:
    """Cutouts of equal shape and bands, settled as they come."""

    pixels: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    index: list[int] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    center: list[tuple[float, float]] = field(default_factory=list)


class FileSource:
    """Cutouts in one file per object.

    Parameters
    ----------
    lookup : Lookup
        Finds the file of a row.
    sample : CutoutRequest
        Rows from which kind, bands and survey of the source are learnt.
    overrides : Overrides, optional
    used : callable or iterable of CutoutRequest, optional
        All rows of the catalogue in chunks, for the fingerprint of sources whose files cannot be listed.

    Raises
    ------
    InputError
        If no row of the sample has a readable file, or its bands or units cannot be known.
    """

    def __init__(
        self,
        lookup: Lookup,
        sample: CutoutRequest,
        overrides: Overrides = NO_OVERRIDES,
        used: Iterable[CutoutRequest] = (),
    ) -> None:
        self._lookup = lookup
        self._overrides = overrides
        self._used = used
        self._unsigned = 0
        self.all_python = True
        self._buffers = Buffers(keep=in_flight() + 4)
        self.needs = lookup.needs
        self.kind: Kind
        self.bands: tuple[str, ...]
        self.survey: str
        self.field: float
        self.side: int
        self.kind, self.bands, self.survey, self.field, self.side = self._learn(sample)

    def _learn(self, sample: CutoutRequest) -> tuple[Kind, tuple[str, ...], str, float, int]:
        """What the attributes say, from the first files there are: of the kind that most rows have, FITS before images."""
        problem = ""
        there = {kind: self._lookup.find(sample, kind) if len(sample) else self._listed(kind) for kind in KINDS}
        for kind, paths in sorted(there.items(), key=lambda entry: entry[1].count(None) - len(entry[1])):
            self.kind = kind
            rows = [row for row, path in enumerate(paths) if path is not None]
            images: list[Image] = []
            refused: InputError | None = None
            for row in rows:
                if len(images) == PROBED:
                    break
                try:
                    images.append(self._decode(str(paths[row]), math.nan, math.nan))
                except InputError as error:  # where other files can be read, it costs its own row only
                    refused = refused or InputError(f"{paths[row]}: {error.message}", error.hint)
                except NoOverlapError:
                    continue
                except (*hdus.DAMAGE, *display_image.DAMAGE) as error:
                    require_resources(str(paths[row]), error)
                    problem = problem or f"{paths[row]}: {error}"
            if images:
                bands = tuple(dict.fromkeys(band for image in images for band in image.rule.bands))
                bands = tuple(bands[i] for i in blue_to_red(bands)) if kind == "flux" else DISPLAY_BANDS
                field = max(max(image.shape[1:]) * image.rule.pixel_scale for image in images)
                side = max(min(image.shape[1:]) for image in images)
                return kind, bands, images[0].rule.survey, field, side
            if refused is not None:
                raise refused
        if problem:
            raise InputError(f"no readable cutout among the first rows: {problem}", "check the files")
        raise InputError(f"no cutout for the first rows in {self._lookup.describe()}", "check --cutouts")

    def _listed(self, kind: Kind) -> list[str | None]:
        """The files of a kind there are, when no row asks for one."""
        return [path for name, path in self._lookup.listing() or () if kind_of(name) == kind]

    def fingerprint(self) -> dict[str, Any]:
        """SHA-256 over name, size and modification time of the files."""
        listed = self._lookup.listing()
        if listed is None:
            names = (path for request in self._used for path in self._lookup.find(request, self.kind))
            listed = ((path, path) for path in names if path is not None)
        digest = hashlib.sha256()
        for name, path in listed:
            facts = os.stat(path)  # noqa: PTH116 - called 10^6 times
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return {"source": "files", "kind": self.kind, "sha256": digest.hexdigest()}

    def describe(self) -> str:
        """One line for people."""
        bands = "".join(self.bands) if self.kind == "flux" else "colour"
        aside = left_aside((name for name, _ in self._lookup.listing() or ()), self.kind)
        return f"{self._lookup.describe()}{aside}, {bands} {'FITS' if self.kind == 'flux' else 'images'}"

    def counters(self) -> dict[str, int]:
        """FITS files read so far that carry no checksum."""
        return {"no_checksum": self._unsigned}

    def files(self) -> dict[str, frozenset[str]]:
        """Nothing: each file is of one row."""
        return {}

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield the rows window by window, sorted by shape within a window; see ``CutoutSource``."""
        paths = self._lookup.find(request, self.kind)
        missing = np.array([row for row, path in enumerate(paths) if path is None], np.int64)
        if len(missing):
            yield self._missing(request, missing)
        there = [(row, path) for row, path in enumerate(paths) if path is not None]
        windows = (there[start : start + WINDOW] for start in range(0, len(there), WINDOW))
        # More threads would only hand Python's lock to and fro, unless they wait for the disk or decode.
        read = ahead(partial(self._window, request, batch_size), windows, lambda: self.all_python)
        for items, unsigned, self.all_python in read:
            self._unsigned += unsigned
            yield from items

    def rows_ahead(self, batch_size: int) -> int:
        """Whole windows are read, whatever the batches are; the last one is let go of when the next is there."""
        return (in_flight() + 1) * WINDOW

    def _missing(self, request: CutoutRequest, rows: NDArray[np.int64]) -> Failures:
        """Rows that have no file of the source's kind."""
        other: Kind = "display" if self.kind == "flux" else "flux"
        only = "no FITS file, only a JPEG or PNG" if self.kind == "flux" else "no JPEG or PNG, only a FITS file"
        lost = failed(rows, RowStatus.MISSING_CUTOUT, "no file")
        lost.reason = ["no file" if path is None else only for path in self._lookup.find(request.take(rows), other)]
        return lost

    def _window(
        self, request: CutoutRequest, batch_size: int, window: list[tuple[int, str]]
    ) -> tuple[list[PixelBatch | Failures], int, bool]:
        """Batches of some rows, how many of their files carry no checksum, and whether this was all Python."""
        began, busy = time.perf_counter(), time.thread_time()
        scratch = Scratch()
        groups: dict[tuple[Any, ...], _Group] = {}
        items: list[PixelBatch | Failures] = []
        unsigned = size = 0
        for place, (row, path) in enumerate(window):
            image = self._decode_or_fail(row, path, float(request.ra[row]), float(request.dec[row]), scratch)
            if isinstance(image, Failures):
                items.append(image)
                continue
            unsigned += self.kind == "flux" and not image.signed
            key = (image.shape[1:], image.rule.bands)
            if key not in groups:
                groups[key] = self._new_group(image, len(window) - place, first=not groups)
            self._settle(image, row, groups[key])
            size += groups[key].pixels[0].nbytes
            if size > WINDOW_BYTES:
                items += self._batches(groups, batch_size)
                groups, size = {}, 0
        items += self._batches(groups, batch_size)
        plain = self.kind == "flux" and all(path.endswith(".fits") for _, path in window)
        waited = time.thread_time() - busy < _WAITING * (time.perf_counter() - began)
        return items, unsigned, plain and not waited

    def _new_group(self, image: Image, rows: int, *, first: bool) -> _Group:
        """Room for as many rows as may come; what is not used is never touched, and so costs no memory."""
        shape: tuple[int, ...] = (len(self.bands), *image.shape[1:])
        shape = (min(rows, 1 + WINDOW_BYTES // (4 * math.prod(shape))), *shape)
        pixels = self._buffers.empty(shape) if first else np.empty(shape, np.float32)
        return _Group(pixels, np.empty(shape[:2], np.float32), np.empty(shape[:2], np.float32))

    def _decode_or_fail(self, row: int, path: str, ra: float, dec: float, scratch: Scratch) -> Image | Failures:
        """The image of a row, or why there is none: a damaged file costs its own row only."""
        try:
            return self._decode(path, ra, dec, scratch)
        except FileNotFoundError:
            return failure(row, RowStatus.MISSING_CUTOUT, f"{path}: no such file")
        except NoOverlapError as error:
            return failure(row, RowStatus.MISSING_CUTOUT, f"{path}: {error}")
        except InputError as error:
            return failure(row, RowStatus.CORRUPT_CUTOUT, f"{path}: {error.message}")
        except (*hdus.DAMAGE, *display_image.DAMAGE) as error:
            require_resources(path, error)
            return failure(row, RowStatus.CORRUPT_CUTOUT, f"{path}: {error}")

    def _decode(self, path: str, ra: float, dec: float, scratch: Scratch | None = None) -> Image:
        """Read a file of the source's kind."""
        if self.kind == "flux":
            return fits_image.read_image(path, ra, dec, self._overrides, scratch)
        raw = display_image.read_display(path)
        scale = self._overrides.pixel_scale
        rule = display_image.display_convention(math.nan if scale is None else scale)
        height, width = raw.shape[1:]
        return Image(raw, rule, ((width - 1) / 2, (height - 1) / 2), (3, height, width), signed=False)

    def _settle(self, image: Image, row: int, group: _Group) -> None:
        """Add a cutout to its group; bands of the source that it lacks are NaN."""
        number, own = len(group.index), image.rule.bands
        pixels = group.pixels[number]
        if own == self.bands:
            image.rule.settle(image.raw, pixels)
        else:
            planes = np.empty(image.shape, np.float32)
            image.rule.settle(image.raw, planes)
            for position, band in enumerate(self.bands):
                pixels[position] = planes[own.index(band)] if band in own else np.nan
        extremes(pixels.reshape(1, len(self.bands), -1), group.low[number, None], group.high[number, None])
        group.index.append(row)
        group.scale.append(image.rule.pixel_scale)
        group.center.append(image.center)

    def _batches(self, groups: dict[tuple[Any, ...], _Group], batch_size: int) -> list[PixelBatch | Failures]:
        """The groups as batches, without cutouts that hold no signal."""
        items: list[PixelBatch | Failures] = []
        for group in groups.values():
            for start in range(0, len(group.index), batch_size):
                part = slice(start, min(start + batch_size, len(group.index)))
                rest, constant = without_signal(self._batch(group, part))
                items += [item for item in (constant, rest) if item is not None]
        return items

    def _batch(self, group: _Group, part: slice) -> PixelBatch:
        pixels = group.pixels[part]
        flat = pixels.reshape(len(pixels), len(self.bands), -1)
        has_nan, has_data = judge(flat, group.low[part], group.high[part])
        return PixelBatch(
            np.array(group.index[part], np.int64), pixels, self.bands, self.kind, np.array(group.scale[part], np.float64),
            np.array(group.center[part], np.float64), has_nan, has_data,
        )  # fmt: skip
