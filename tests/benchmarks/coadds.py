"""How fast stamps are cut from compressed bricks, against decoding each image once with cfitsio and slicing it."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
from astropy.wcs import WCS

from galcli.cutouts.batch import CutoutRequest, PixelBatch
from galcli.cutouts.coadd_index import FileIndex
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.header import NO_OVERRIDES
from tests.benchmarks.measure import Result, alternate
from tests.cutouts.sky_images import header

#: Bricks as those of the Legacy Surveys, of one grid side by side in declination, and rows in each.
BRICKS, SIDE, BANDS, ROWS = 2, 3600, "grz", 2000
STAMP = 146
FIELD = 144 * 0.262


def run(folder: Path) -> list[Result]:
    """Cut the stamps of two dense bricks in three bands with weight maps."""
    paths = write_bricks(folder)
    ra, dec, places = rows_of(folder)
    request = CutoutRequest(np.arange(len(ra)), ra, dec, np.arange(len(ra)))

    def ours() -> None:
        index = FileIndex(map(str, paths), "bricks", NO_OVERRIDES)
        source = CoaddSource(index, (ra, dec), [(ra, dec)], field=FIELD)
        assert sum(len(item) for item in source.read(request, 64) if isinstance(item, PixelBatch)) == len(ra)

    stamps = np.zeros((ROWS, len(BANDS), STAMP, STAMP), np.float32)  # neither side waits for fresh memory
    seconds, bare = alternate([ours, lambda: slice_bricks(folder, places, stamps)], repeats=3)
    return [
        Result("coadds: stamps", len(ra) / seconds, "rows/s", None, facts={"s": seconds, "images": len(paths)}),
        Result("coadds: decode and slice / stamps", bare / seconds, "", 0.8, facts={"bare s": bare}),
    ]  # fmt: skip


def write_bricks(folder: Path) -> list[Path]:
    """Rice-compressed images of noise, and their weights; the images."""
    rng = np.random.default_rng(0)
    paths = []
    for brick in range(BRICKS):
        for band in BANDS:
            cards = dict(header(SIDE, dec=2.0 + 0.25 * brick, FILTER=band))
            for kind in ("image", "invvar"):
                path = folder / f"{brick}-{kind}-{band}.fits.fz"
                pixels = rng.normal(0, 0.02, (SIDE, SIDE)).astype(np.float32) if kind == "image" else None
                with fitsio.FITS(path, "rw") as file:
                    file.write(
                        np.full((SIDE, SIDE), 2500, np.float32) if pixels is None else pixels,
                        header=cards | {"IMTYPE": kind}, compress="rice", qlevel=4, tile_dims=(100, 100),
                    )  # fmt: skip
            paths.append(folder / f"{brick}-image-{band}.fits.fz")
    return paths


def rows_of(folder: Path) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """RA and Dec (n,) of rows spread over the bricks, and their pixels in each brick (ROWS, 2)."""
    rng = np.random.default_rng(1)
    sky, places = [], []
    for brick in range(BRICKS):
        place = rng.uniform(STAMP, SIDE - STAMP, (ROWS, 2))
        cards = fitsio.read_header(folder / f"{brick}-image-g.fits.fz", ext=1)
        wcs = WCS({key: cards[key] for key in dict(header(8)) if key not in ("SIZE1", "SIZE2")}, naxis=2)
        sky.append(np.stack(wcs.all_pix2world(*place.T, 0)))
        places.append(place)
    ra, dec = np.concatenate(sky, axis=1)
    return ra, dec, places


def slice_bricks(folder: Path, places: list[np.ndarray], stamps: np.ndarray) -> None:
    """What a script does: each image decoded as a whole, masked by its weights, and sliced."""
    for brick, place in enumerate(places):
        corner = np.round(place).astype(int) - STAMP // 2
        for plane, band in enumerate(BANDS):
            image, weight = (
                fitsio.read(folder / f"{brick}-{kind}-{band}.fits.fz", ext=1) for kind in ("image", "invvar")
            )
            image[~(weight > 0)] = np.nan
            for stamp, (x, y) in zip(stamps, corner.tolist(), strict=True):
                stamp[plane] = image[y : y + STAMP, x : x + STAMP]
