"""The file ``Galaxy10_DECals.h5`` (2.5 GB; zenodo.org/records/10845026), or one of its layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import DISPLAY_BANDS, PixelBatch
from galcli.errors import InputError
from galcli.models.card import Card, Front
from galcli.models.grid import to_grid
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
        Arcsec per pixel of each image.

    Raises
    ------
    InputError
        If it is missing, damaged, another file, or its labels are no classes.
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
            found = {name: file.get(name) for name in ("images", "ans", "ra", "dec", "pxscale")}
            missing = [name for name, values in found.items() if not hasattr(values, "shape")]
            if missing:
                raise InputError(f"{path} has no dataset {', '.join(missing)}", "give a file of Galaxy10's layout")
            shape, dtype = file["images"].shape, file["images"].dtype
            if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or dtype != np.uint8:
                raise InputError(
                    f"{path}: its images are {dtype} of shape {shape}, not square 8-bit colour images",
                    "give images of shape (N, S, S, 3), red, green, blue",
                )
            columns = {name: np.asarray(file[name][()]) for name in ("ans", "ra", "dec", "pxscale")}
        odd = [name for name, values in columns.items() if values.shape != shape[:1]]
        if odd:
            raise InputError(f"{path}: {', '.join(odd)} do not have one value for each of {shape[0]} images",
                             "the file is damaged")  # fmt: skip
        self.labels = check_labels(columns["ans"], str(path))
        self.pixel_scale = columns["pxscale"].astype(np.float64)
        self.healpix = healpix.pixel(columns["ra"].astype(np.float64), columns["dec"].astype(np.float64))

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
            Label ``galaxy10``; NaN where an image has no usable pixels.
        """
        facts = {"galaxy10": self.facts}
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
                    labels[part - rows[0]][(grid.status & int(NULL_BITS)) != 0] = np.nan
            shown = np.full(count, FRONTS.index(DISPLAY), np.int8)
            return cache.Chunk(pixels, shown, labels[:, None], self.healpix[rows])

        return cache.build(folder, recipe, make, say)

    def _batch(self, file: Any, rows: NDArray[np.int64]) -> PixelBatch:
        """Images as any other display images: blue to red, row 0 = south, 0 to 1."""
        try:
            raw = file["images"][rows[0] : rows[-1] + 1]
        except OSError as error:
            raise InputError(
                f"{self.path}: images {rows[0]} to {rows[-1]} cannot be read", "download it again"
            ) from error
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
            raise InputError(f"{self.path} is no readable HDF5 file", "download it again") from error


def _require_published(path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != SHA256:
        raise InputError(
            f"{path} is not the published Galaxy10_DECals.h5 (its SHA-256 is {digest.hexdigest()[:12]}...)",
            "download it again, or use it all the same with --no-verify",
        )
