"""Cutouts in files of their own: FITS in the Legacy Survey layout, JPEG and PNG."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
from galcli.cutouts.header import NO_OVERRIDES, Overrides, blue_to_red
from galcli.cutouts.lookup import Lookup, kind_of, left_aside
from galcli.errors import InputError
from galcli.tables.status import RowStatus

#: Cutouts decoded before they are sorted by shape, and their bytes at most. Fixed, so that the order in which rows
#: come does not depend on the batch size.
WINDOW = 64
WINDOW_BYTES = 1 << 27

#: Files whose bands and survey are looked at before a run.
PROBED = 8

#: Threads that decode, files of a piece of their work, pieces ahead. Reading and decoding let go of the interpreter
#: lock, and on a network disk most of the time is waiting.
_THREADS = 2
_TOGETHER = 8
_AHEAD = 3


@dataclass
class _Group:
    """Decoded cutouts of equal shape."""

    index: list[int]
    images: list[Image]


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
        self._buffers = Buffers()
        self.needs = lookup.needs
        self.kind: Kind
        self.bands: tuple[str, ...]
        self.survey: str
        self.kind, self.bands, self.survey = self._learn(sample)

    def _learn(self, sample: CutoutRequest) -> tuple[Kind, tuple[str, ...], str]:
        """Kind, bands and survey from the first files there are: of the kind that most rows have, FITS before images."""
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
                    problem = problem or f"{paths[row]}: {error}"
            if images:
                bands = tuple(dict.fromkeys(band for image in images for band in image.rule.bands))
                bands = tuple(bands[i] for i in blue_to_red(bands)) if kind == "flux" else DISPLAY_BANDS
                return kind, bands, images[0].rule.survey
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

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield the rows window by window, sorted by shape within a window; see ``CutoutSource``."""
        paths = self._lookup.find(request, self.kind)
        missing = np.array([row for row, path in enumerate(paths) if path is None], np.int64)
        if len(missing):
            yield self._missing(request, missing)
        groups: dict[tuple[Any, ...], _Group] = {}
        rows = size = 0
        for row, image in self._decoded(request, paths):
            if isinstance(image, Failures):
                yield image
                continue
            if self.kind == "flux" and not image.signed:
                self._unsigned += 1
            group = groups.setdefault((image.shape[1:], image.rule.bands), _Group([], []))
            group.index.append(row)
            group.images.append(image)
            rows, size = rows + 1, size + image.raw.nbytes
            if rows == WINDOW or size > WINDOW_BYTES:
                yield from self._batches(groups, batch_size)
                groups, rows, size = {}, 0, 0
        yield from self._batches(groups, batch_size)

    def _missing(self, request: CutoutRequest, rows: NDArray[np.int64]) -> Failures:
        """Rows that have no file of the source's kind."""
        other: Kind = "display" if self.kind == "flux" else "flux"
        only = "no FITS file, only a JPEG or PNG" if self.kind == "flux" else "no JPEG or PNG, only a FITS file"
        lost = failed(rows, RowStatus.MISSING_CUTOUT, "no file")
        lost.reason = ["no file" if path is None else only for path in self._lookup.find(request.take(rows), other)]
        return lost

    def _decoded(self, request: CutoutRequest, paths: list[str | None]) -> Iterator[tuple[int, Image | Failures]]:
        """Images in the order of the rows, a few decoded ahead."""
        there = [(row, path) for row, path in enumerate(paths) if path is not None]
        waiting: deque[Future[list[tuple[int, Image | Failures]]]] = deque()
        with ThreadPoolExecutor(_THREADS, "galcli-decode") as pool:
            for start in range(0, len(there), _TOGETHER):
                waiting.append(pool.submit(self._decode_some, request, there[start : start + _TOGETHER]))
                if len(waiting) > _AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _decode_some(self, request: CutoutRequest, some: list[tuple[int, str]]) -> list[tuple[int, Image | Failures]]:
        """Images of a few rows."""
        return [
            (row, self._decode_or_fail(row, path, float(request.ra[row]), float(request.dec[row])))
            for row, path in some
        ]

    def _decode_or_fail(self, row: int, path: str, ra: float, dec: float) -> Image | Failures:
        """The image of a row, or why there is none: a damaged file costs its own row only."""
        try:
            return self._decode(path, ra, dec)
        except FileNotFoundError:
            return failure(row, RowStatus.MISSING_CUTOUT, f"{path}: no such file")
        except NoOverlapError as error:
            return failure(row, RowStatus.MISSING_CUTOUT, f"{path}: {error}")
        except InputError as error:
            return failure(row, RowStatus.CORRUPT_CUTOUT, f"{path}: {error.message}")
        except (*hdus.DAMAGE, *display_image.DAMAGE) as error:
            return failure(row, RowStatus.CORRUPT_CUTOUT, f"{path}: {error}")

    def _decode(self, path: str, ra: float, dec: float) -> Image:
        """Read a file of the source's kind."""
        if self.kind == "flux":
            return fits_image.read_image(path, ra, dec, self._overrides)
        raw = display_image.read_display(path)
        scale = self._overrides.pixel_scale
        rule = display_image.display_convention(math.nan if scale is None else scale)
        height, width = raw.shape[1:]
        return Image(raw, rule, ((width - 1) / 2, (height - 1) / 2), (3, height, width), signed=False)

    def _batches(self, groups: dict[tuple[Any, ...], _Group], batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Settle groups of equal shape into batches."""
        for group in groups.values():
            for start in range(0, len(group.index), batch_size):
                part = slice(start, start + batch_size)
                batch = self._settle(np.array(group.index[part], np.int64), group.images[part])
                rest, constant = without_signal(batch)
                if constant is not None:
                    yield constant
                if rest is not None:
                    yield rest

    def _settle(self, index: NDArray[np.int64], images: list[Image]) -> PixelBatch:
        """One batch from images of equal shape and bands; bands of the source that they lack are NaN."""
        n, bands, (height, width) = len(images), len(self.bands), images[0].shape[1:]
        pixels = self._buffers.empty((n, bands, height, width))
        flat = pixels.reshape(n, bands, -1)
        low, high = np.empty((n, bands), np.float32), np.empty((n, bands), np.float32)
        own = images[0].rule.bands
        for row, image in enumerate(images):
            if own == self.bands:
                image.rule.settle(image.raw, pixels[row])
            else:
                planes = np.empty(image.shape, np.float32)
                image.rule.settle(image.raw, planes)
                for number, band in enumerate(self.bands):
                    pixels[row, number] = planes[own.index(band)] if band in own else np.nan
            extremes(flat[row : row + 1], low[row : row + 1], high[row : row + 1])
        has_nan, has_data = judge(flat, low, high)
        scale = np.array([image.rule.pixel_scale for image in images], np.float64)
        center = np.array([image.center for image in images], np.float64)
        return PixelBatch(index, pixels, self.bands, self.kind, scale, center, has_nan, has_data)
