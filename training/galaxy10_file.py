"""The file ``Galaxy10_DECals.h5`` (2.5 GB; zenodo.org/records/10845026), or one of its layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import DISPLAY_BANDS, PixelBatch
from galcli.errors import InputError
from galcli.models.card import Card, Front
from galcli.models.grid import SCALE_LIMITS, to_grid
from galcli.models.session import open_resampler
from galcli.sky import healpix
from galcli.tables.status import NULL_BITS
from galcli.training import cache
from galcli.training.data import Stamps
from galcli.training.galaxy10 import check_labels
from galcli.training.pixels import DISPLAY, FRONTS

#: Of the published file.
SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"
_READ = 256
_BLOCK = 1 << 24
#: Datasets with one number for each image.
_COLUMNS = ("ans", "ra", "dec", "pxscale")
_DAMAGED_OR_OTHER = "the file is damaged, or not of Galaxy10's layout"
#: What h5py raises of files that are damaged, or packed in a way it does not know.
_UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError)


class Galaxy10:
    """Galaxy10 images with their labels.

    Parameters
    ----------
    path : Path
    verify : bool
        Compare its SHA-256 with the published one.
    say : callable
        Takes lines for the user.

    Attributes
    ----------
    labels : ndarray (N,), int64
    pixel_scale : ndarray (N,), float64
        Arcsec per pixel of each image, as the file has it: it may be missing or absurd.

    Raises
    ------
    InputError
        If it is missing, damaged, of another layout, another file, or its labels are no classes.
    """

    def __init__(self, path: Path, verify: bool, say: Callable[[str], None]) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path} is no file", "download Galaxy10_DECals.h5 from zenodo.org/records/10845026")
        stat = path.stat()
        #: What tells this file from another one.
        self.facts = {"name": path.name, "bytes": stat.st_size, "time": stat.st_mtime_ns}
        if verify:
            say(f"verifying {path} ({stat.st_size / 1e9:.2f} GB)")
            _require_published(path)
            self.facts = {"sha256": SHA256}
        with self._open() as file:
            self._check_layout(file)
            labels, ra, dec, self.pixel_scale = (self._column(file, name) for name in _COLUMNS)
        self.labels = check_labels(labels, str(path))
        self.healpix = healpix.pixel(ra, dec)

    def stamps(self, folder: Path, size: int, pixel_scale: float, say: Callable[[str], None]) -> Stamps:
        """All images on one grid, each resampled from its own pixel scale; made once.

        Parameters
        ----------
        folder : Path
            Where caches are kept.
        size, pixel_scale : int, float
            Pixels along a side; arcsec per pixel.
        say : callable
            Takes lines for the user.

        Returns
        -------
        Stamps
            Label ``galaxy10``; NaN where an image has none, or a pixel scale with which it cannot be brought to the
            grid.

        Raises
        ------
        InputError
            If images cannot be read.
        OutputError
            If the disk is full or not writable.
        """
        facts = {"galaxy10": self.facts, "scales": SCALE_LIMITS}  # beyond them images have no label
        recipe = cache.Recipe("galaxy10", len(self.labels), size, pixel_scale, ("galaxy10",), facts)
        front = Front(name=DISPLAY, bands=DISPLAY_BANDS)
        card = Card.model_construct(name="dmagnet", size=(size, size), pixel_scale=pixel_scale, max_masked=1.0)
        resampler = open_resampler("cpu")

        def make(chunk: int, count: int) -> cache.Chunk:
            rows = np.arange(chunk * cache.CHUNK, chunk * cache.CHUNK + count)
            labels = np.where(self.labels[rows] >= 0, self.labels[rows], np.nan).astype(np.float32)
            pixels = np.empty((count, 3, size, size), np.float32)
            with self._open() as file:
                for first in range(0, count, _READ):
                    part = rows[first : first + _READ]
                    grid = to_grid(self._batch(file, part), front, card, resampler)
                    pixels[part - rows[0]] = np.where(grid.valid > 0, grid.pixels, np.float32(np.nan))
                    # Those without a scale were stretched to the whole field.
                    lost = ((grid.status & int(NULL_BITS)) != 0) | ~grid.has_scale
                    labels[part[lost] - rows[0]] = np.nan
            shown = np.full(count, FRONTS.index(DISPLAY), np.int8)
            return cache.Chunk(pixels, shown, labels[:, None], self.healpix[rows])

        stamps = cache.build(folder, recipe, make, say)
        lost = np.flatnonzero((self.labels >= 0) & np.isnan(stamps.labels["galaxy10"]))
        if len(lost):
            say(
                f"{self.path}: {len(lost)} labelled images are left out, whose pixel scale (pxscale) cannot be used: "
                f"the first is row {lost[0]} with {self.pixel_scale[lost[0]]:g} arcsec"
            )
        return stamps

    def _check_layout(self, file: Any) -> None:
        """Refuse files whose datasets are not there, or of another shape or type."""
        with _reading(self.path, "its list of datasets"):
            found: dict[str, Any] = {name: file.get(name) for name in ("images", *_COLUMNS)}
            there = [name for name, values in found.items() if getattr(values, "shape", None) is not None]
            shapes = {name: found[name].shape for name in there}
            dtypes = {name: found[name].dtype for name in there}
        missing = [name for name in found if name not in there]
        if missing:
            raise InputError(f"{self.path} has no dataset {', '.join(missing)}", _DAMAGED_OR_OTHER)
        shape = shapes["images"]
        if len(shape) != 4 or shape[1] != shape[2] or not shape[1] or shape[3] != 3 or dtypes["images"] != np.uint8:
            raise InputError(
                f"{self.path}: its images are {dtypes['images']} of shape {shape}, not square 8-bit colour images",
                "give images of shape (N, S, S, 3), red, green, blue",
            )
        odd = [name for name in _COLUMNS if shapes[name] != shape[:1]]
        if odd:
            raise InputError(
                f"{self.path}: {', '.join(odd)} do not have one value for each of {shape[0]} images",
                _DAMAGED_OR_OTHER,
            )
        odd = [f"{name} ({dtypes[name]})" for name in _COLUMNS if dtypes[name].kind not in "iuf"]
        if odd:
            raise InputError(
                f"{self.path}: {', '.join(odd)} must hold numbers",
                "ans is a class from 0 to 9, ra and dec are in degrees, pxscale in arcsec per pixel",
            )

    def _column(self, file: Any, name: str) -> NDArray[np.float64]:
        with _reading(self.path, f"its dataset {name}"):
            return np.asarray(file[name][()], np.float64)

    def _batch(self, file: Any, rows: NDArray[np.int64]) -> PixelBatch:
        """Images as any other display images: blue to red, row 0 = south, 0 to 1."""
        with _reading(self.path, f"its images {rows[0]} to {rows[-1]}"):
            raw = file["images"][rows[0] : rows[-1] + 1]
        pixels = np.ascontiguousarray(raw[:, ::-1, :, ::-1].transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        middle = np.full((len(rows), 2), (pixels.shape[2] - 1) / 2)
        return PixelBatch(
            np.arange(len(rows)), pixels, DISPLAY_BANDS, "display", self.pixel_scale[rows], middle,
            np.zeros(len(rows), np.bool_), np.ones((len(rows), 3), np.bool_),
        )  # fmt: skip

    def _open(self) -> Any:
        import h5py

        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path} is no readable HDF5 file: {error}", "download it again") from error


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(f"{path}: {what} cannot be read: {error}", "download it again") from error


def _require_published(path: Path) -> None:
    digest = hashlib.sha256()
    with _reading(path, "its content"), path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != SHA256:
        raise InputError(
            f"{path} is not the published Galaxy10_DECals.h5 (its SHA-256 is {digest.hexdigest()[:12]}...)",
            "download it again, or use it all the same with --no-verify",
        )
