"""Images of one made-up sky on any pixel grid: what a stamp must show is known wherever it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

RA, DEC = 150.0, 2.0
SCALE = 0.262


def header(
    side: int | tuple[int, int] = 200, ra: float = RA, dec: float = DEC, scale: float = SCALE, turn: float = 0.0,
    projection: str = "TAN", **cards: Any,
) -> fits.Header:  # fmt: skip
    """Header of an image centred on a position; ``turn`` in degrees."""
    height, width = (side, side) if isinstance(side, int) else side
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = scale / 3600 * np.array([[-c, s], [s, c]])
    return fits.Header(
        {
            "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL1": ra, "CRVAL2": dec,
            "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2, "CUNIT1": "deg", "CUNIT2": "deg",
            **{f"CD{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)},
            "FILTER": "r", "BUNIT": "nanomaggy", "SIZE1": width, "SIZE2": height, **cards,
        }
    )  # fmt: skip


def brightness(ra: Any, dec: Any, seed: int = 0) -> NDArray[np.float64]:
    """Surface brightness of the sky in nanomaggies per square arcsec: Gaussians of 2 arcsec FWHM on a slope."""
    rng = np.random.default_rng(seed)
    x = (np.asarray(ra) - RA) * 3600 * np.cos(np.radians(DEC))
    y = (np.asarray(dec) - DEC) * 3600
    total = 1.0 + 1e-3 * x - 2e-3 * y
    sigma = 2.0 / 2.3548
    for east, north, flux in zip(*rng.uniform(-60, 60, (2, 150)), rng.uniform(1, 20, 150), strict=True):
        total += flux / (2 * np.pi * sigma**2) * np.exp(-((x - east) ** 2 + (y - north) ** 2) / (2 * sigma**2))
    return total


def view(head: fits.Header, seed: int = 0) -> NDArray[np.float32]:
    """The sky on the pixel grid of a header, nanomaggies per pixel."""
    wcs = WCS(head)
    y, x = np.mgrid[: head["SIZE2"], : head["SIZE1"]]
    area = abs(np.linalg.det(wcs.pixel_scale_matrix)) * 3600**2
    return (brightness(*wcs.all_pix2world(x, y, 0), seed) * area).astype(np.float32)


def write(
    path: Path, head: fits.Header, pixels: NDArray[Any] | None = None, compress: bool = False, seed: int = 0
) -> NDArray[Any]:
    """Write an image of the sky, or other pixels on its grid; what was written."""
    values = view(head, seed) if pixels is None else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:  # losslessly, by Rice: whole numbers that float32 holds exactly
        values = np.round(values * 1e4).astype(np.int32)
        hdu = fits.CompImageHDU(values, head, compression_type="RICE_1", tile_shape=(50, 50))
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    else:
        fits.PrimaryHDU(values, head).writeto(path, overwrite=True)
    return values
