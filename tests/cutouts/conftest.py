from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures, PixelBatch
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.resolve import find_source
from galcli.sky.catalog import open_catalog


class Result:
    """Everything a source yields, by row of the request; each row exactly once."""

    def __init__(self, items: Iterable[PixelBatch | Failures], rows: int) -> None:
        self.pixels: dict[int, NDArray[np.float32]] = {}
        self.status: dict[int, int] = {}
        self.reason: dict[int, str] = {}
        self.batches: list[PixelBatch] = []
        self.order: list[int] = []
        self.scale: dict[int, float] = {}
        self.center: dict[int, tuple[float, float]] = {}
        self.fingerprint: dict[str, Any] = {}
        for item in items:
            if isinstance(item, Failures):
                for row, status, reason in zip(item.index.tolist(), item.status.tolist(), item.reason, strict=True):
                    assert row not in self.status
                    self.status[row], self.reason[row] = status, reason
                continue
            assert item.pixels.dtype == np.float32
            assert item.pixels.dtype.isnative
            assert item.pixels.flags.c_contiguous
            self.batches.append(item)
            self.order += item.index.tolist()
            for k, row in enumerate(item.index.tolist()):
                assert row not in self.pixels
                self.pixels[row] = item.pixels[k].copy()
                self.scale[row] = float(item.pixel_scale[k])
                self.center[row] = (float(item.center[k, 0]), float(item.center[k, 1]))
        assert sorted([*self.pixels, *self.status]) == list(range(rows))

    def stack(self) -> NDArray[np.float32]:
        return np.stack([self.pixels[row] for row in sorted(self.pixels)])


@pytest.fixture
def drain() -> Callable[..., Result]:
    def run(source: CutoutSource, request: CutoutRequest, batch_size: int = 64) -> Result:
        return Result(source.read(request, batch_size), len(request))

    return run


@pytest.fixture
def ask() -> Callable[..., CutoutRequest]:
    def make(ids: Any, ra: Any = None, dec: Any = None, **columns: Any) -> CutoutRequest:
        ids = np.asarray(ids)
        n = len(ids)
        nowhere = np.full(n, np.nan)
        # Rows far from the ids, so that no identifier is mistaken for a row number.
        row = np.arange(n, dtype=np.int64) + 10**6
        ra = nowhere if ra is None else np.asarray(ra, np.float64)
        dec = nowhere if dec is None else np.asarray(dec, np.float64)
        return CutoutRequest(ids, ra, dec, row, {name: np.asarray(value) for name, value in columns.items()})

    return make


@pytest.fixture
def legacy() -> Callable[..., Path]:
    """Writes a file in the layout of the Legacy Survey cutout server."""

    def write(
        path: Path, pixels: NDArray[Any], bands: str = "grz", ra: float = 150.0, dec: float = 2.0,
        scale: float = 0.262, east: int = -1, north: int = 1, **extra: Any,
    ) -> Path:  # fmt: skip
        height, width = pixels.shape[-2:]
        cards = {
            "SURVEY": "DECaLS", "VERSION": "DR9", "IMAGETYP": "image", "BANDS": bands,
            **{f"BAND{i}": band for i, band in enumerate(bands)},
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec,
            "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2,
            "CD1_1": east * scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": north * scale / 3600, **extra,
        }  # fmt: skip
        cards = {key: value for key, value in cards.items() if value is not None}
        with fitsio.FITS(str(path), "rw", clobber=True) as file:
            file.write(pixels, header=[{"name": key, "value": value} for key, value in cards.items()])
        return path

    return write


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture
def stamps(tmp_path: Path, drain: Any) -> Any:
    """Cuts stamps around positions; gives what the source yielded and the source."""

    def cut(cutouts: object, ra: Any, dec: Any, size: int | None = 24, batch_size: int = 7, **how: Any) -> Any:
        ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
        path = tmp_path / "catalogue.fits"
        rows = np.rec.fromarrays([np.arange(len(ra)) + 10**6, ra, dec], names="TARGETID,RA,DEC")
        fitsio.write(str(path), rows, clobber=True)
        with open_catalog(path) as catalog:
            source = find_source(catalog, str(cutouts), size=size, **how)
            assert isinstance(source, CoaddSource)
            request = CutoutRequest(rows["TARGETID"], ra, dec, np.arange(len(ra), dtype=np.int64))
            result = drain(source, request, batch_size)
            result.fingerprint = source.fingerprint()
            return result, source

    return cut
