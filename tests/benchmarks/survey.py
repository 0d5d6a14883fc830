"""Surveys to measure on: catalogues, stacks and predict options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.stack_write import Compression, write_stack
from galcli.predict.options import PredictOptions
from galcli.sky import healpix

BANDS = "grz"
SCALE = 0.262


class Silent:
    """A run that tells nobody."""

    def note(self, message: str) -> None:
        """Keep quiet."""

    def start(self, total: int, done: int) -> None:
        """Keep quiet."""

    def advance(self, rows: int) -> None:
        """Keep quiet."""

    def finish(self) -> None:
        """Keep quiet."""


def positions(order: int, pix: int, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions inside one HEALPix pixel."""
    below = np.random.default_rng(seed).integers(0, 1 << 2 * (20 - order), n)
    return healpix.center(20, (pix << 2 * (20 - order)) + below)


def noise(n: int, side: int, seed: int) -> NDArray[np.float32]:
    """Cutouts (n, 3, side, side): a few patches of noise, each cutout at its own level."""
    rng = np.random.default_rng(seed)
    patches = rng.standard_normal((min(n, 64), 3, side, side), np.float32)
    pixels = patches[np.arange(n) % len(patches)]
    pixels += rng.random((n, 1, 1, 1), np.float32)
    return pixels


def write_catalog(path: Path, ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64]) -> None:
    """Write a catalogue of TARGETID, RA and DEC, in pieces."""
    dtype = [("TARGETID", "i8"), ("RA", "f8"), ("DEC", "f8")]
    step = 1 << 20
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            rows = np.empty(len(ids[part]), dtype)
            rows["TARGETID"], rows["RA"], rows["DEC"] = ids[part], ra[part], dec[part]
            if start:
                file[-1].append(rows)
            else:
                file.write(rows, extname="CATALOG")


def write_stacks(
    folder: Path, files: int, each: int, side: int, order: int = 4, compress: Compression | None = None
) -> list[Path]:
    """Write a survey of ``files`` neighbouring tile stacks and its catalogue, ``catalog.fits``; returns the stacks."""
    ids, places, paths = [], [], []
    for number in range(files):
        ra, dec = positions(order, number, each, seed=number)
        ids.append(np.arange(each) + number * each)
        places.append((ra, dec))
        paths.append(folder / f"cutouts/Norder={order}/Dir=0/Npix={number}.fits")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        write_stack(paths[-1], ids[-1], ra, dec, noise(each, side, seed=number), BANDS, SCALE, compress=compress)
    shuffled = np.random.default_rng(0).permutation(files * each)
    ra, dec = (np.concatenate([place[i] for place in places])[shuffled] for i in (0, 1))
    write_catalog(folder / "catalog.fits", np.concatenate(ids)[shuffled], ra, dec)
    return paths


def options(folder: Path, model: Path, **changes: Any) -> PredictOptions:
    """Options of a run over a survey, writing ``predictions.fits`` anew."""
    settings: dict[str, Any] = {
        "catalogs": (folder / "catalog.fits",), "out": folder / "predictions.fits", "cutouts": str(folder / "cutouts"),
        "models": (str(model),), "overwrite": True, "device": "cpu",
    }  # fmt: skip
    return PredictOptions(**settings | changes)
