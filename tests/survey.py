"""Small synthetic surveys whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.stack_write import write_stack
from galcli.sky import healpix
from tests.average import write_average

SIDE = 16
SCALE = 0.262
BANDS = "grz"


@dataclass(frozen=True)
class Survey:
    """A catalogue with its cutouts and a model that averages them.

    Attributes
    ----------
    root : Path
        Folder with ``catalog.fits``, ``cutouts/`` and ``average.onnx``.
    ids, ra, dec : ndarray (n,)
    pixels : ndarray (n, 3, SIDE, SIDE), float32
    """

    root: Path
    ids: NDArray[Any]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    pixels: NDArray[np.float32]

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.fits"

    @property
    def cutouts(self) -> Path:
        return self.root / "cutouts"

    @property
    def model(self) -> Path:
        return self.root / "average.onnx"

    @property
    def out(self) -> Path:
        return self.root / "predictions.fits"

    @property
    def means(self) -> NDArray[np.float64]:
        """What the averaging model should say, (n, 3)."""
        return self.pixels.mean(axis=(2, 3), dtype=np.float64)

    def predict(self, *more: object, out: Path | None = None) -> list[str]:
        """Arguments of the everyday run."""
        words = [
            "predict",
            self.catalog,
            "--model",
            self.model,
            "-o",
            out or self.out,
            "--threads",
            1,
            "--device",
            "cpu",
        ]
        return [str(word) for word in (*words, *more)]


def noise(n: int, side: int = SIDE, seed: int = 0, bands: int = 3) -> NDArray[np.float32]:
    """Cutouts (n, bands, side, side), each band of each cutout at a level of its own."""
    rng = np.random.default_rng(seed)
    pixels = rng.standard_normal((n, bands, side, side), np.float32)
    return pixels + rng.uniform(1, 9, (n, bands, 1, 1)).astype(np.float32)


def make_survey(
    root: Path, n: int = 48, seed: int = 0, ids: NDArray[Any] | None = None, ra: Any = None, dec: Any = None,
    loose: bool = False, **columns: NDArray[Any],
) -> Survey:  # fmt: skip
    """Write a survey over some 40 x 40 degrees.

    Parameters
    ----------
    root : Path
    n, seed : int
    ids, ra, dec : array_like (n,), optional
        Instead of those made up here.
    loose : bool
        One FITS file per object rather than stacks.
    columns : ndarray (n, ...)
        Further columns of the catalogue.
    """
    rng = np.random.default_rng(seed)
    ids = np.arange(n, dtype=np.int64) * 7 + 3_900_000_000_000_000_001 if ids is None else ids
    ra = rng.uniform(100, 140, n) if ra is None else np.asarray(ra, np.float64)
    dec = rng.uniform(-20, 20, n) if dec is None else np.asarray(dec, np.float64)
    survey = Survey(root, ids, ra, dec, noise(n, seed=seed))
    root.mkdir(parents=True, exist_ok=True)
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=dec, **columns)
    if loose:
        survey.cutouts.mkdir()
        for i in range(n):
            name = ids[i].decode().strip() if isinstance(ids[i], bytes) else ids[i]
            write_stamp(survey.cutouts / f"{name}.fits", survey.pixels[i], ra=ra[i], dec=dec[i])
    else:
        write_stacks(survey.cutouts, ids, ra, dec, survey.pixels)
    write_average(survey.model, SIDE, SCALE)
    return survey


def write_catalog(path: Path, units: dict[str, str] | None = None, header: Any = None, **columns: Any) -> Path:
    """Write a catalogue, columns in the order given."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        units = units or {}
        file.write(
            list(columns.values()), names=list(columns), units=[units.get(name, "") for name in columns],
            extname="CATALOG", header=header,
        )  # fmt: skip
    return path


def write_stacks(
    folder: Path, ids: NDArray[Any], ra: NDArray[np.float64], dec: NDArray[np.float64], pixels: NDArray[np.float32],
    order: int = 2, bands: Sequence[str] = BANDS,
) -> list[Path]:  # fmt: skip
    """Write stacks ``Norder=k/Dir=0/Npix=p.fits``; objects that are nowhere on the sky get none."""
    paths = []
    pix = healpix.pixel(ra, dec, order)
    for number in np.unique(pix[pix >= 0]).tolist():
        here = np.flatnonzero(pix == number)
        paths.append(folder / f"Norder={order}/Dir=0/Npix={number}.fits")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        write_stack(paths[-1], ids[here], ra[here], dec[here], pixels[here], bands, SCALE)
    return paths


def write_stamp(
    path: Path, pixels: NDArray[Any], ra: float = 120.0, dec: float = 0.0, bands: str = BANDS, cd: Any = None,
    **cards: Any,
) -> Path:  # fmt: skip
    """Write one cutout as the Legacy Survey's server does: (B, H, W), a TAN projection, bands in the header."""
    height, width = pixels.shape[-2:]
    matrix = np.diag([-SCALE, SCALE]) / 3600 if cd is None else np.asarray(cd)
    header = {
        "SURVEY": "DECaLS", "BANDS": bands, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec,
        "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2,
        **{f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)}, **cards,
    }  # fmt: skip
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(pixels, header=[{"name": name, "value": value} for name, value in header.items()])
    return path


def read_predictions(path: Path) -> NDArray[Any]:
    """Rows of a predictions table, native."""
    with fitsio.FITS(str(path)) as file:
        rows: NDArray[Any] = file["PREDICTIONS"].read()
    return rows.astype(rows.dtype.newbyteorder("="))


def raw_rows(path: Path) -> NDArray[np.void]:
    """Rows of a predictions table as they lie on disk, (n,), one void of all bytes each: compares bit for bit."""
    with fitsio.FITS(str(path)) as file:
        hdu = file["PREDICTIONS"]
        start, count = hdu.get_offsets()["data_start"], hdu.get_nrows()
        width = int(hdu.read_header()["NAXIS1"])
    return np.frombuffer(path.read_bytes()[start : start + width * count], f"V{width}")
