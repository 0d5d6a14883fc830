"""How fast cutouts in files of their own reach a model, against opening and reading each with fitsio."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import fitsio
import numpy as np

from galcli.cutouts.parallel import cores
from galcli.predict.run import predict
from tests.average import write_average
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import BANDS, SCALE, Silent, noise, options, positions, write_catalog

FILES, SIDE, REPEATS = 16_384, 144, 3


def run(folder: Path) -> list[Result]:
    """Predict a survey of one FITS file per galaxy with a model that only averages; start-up is left out."""
    paths = write_files(folder)
    chosen = options(folder, write_average(folder / "average.onnx"))

    def whole(workers: int, limit: int | None = None) -> None:
        summary = predict(replace(chosen, workers=workers, limit=limit), Silent())
        assert summary.counts is not None
        assert summary.counts.unpredicted == 0

    whole(1)
    bare, *times = alternate(
        [lambda: read_barely(paths), *(partial(whole, n, limit) for n in (1, cores()) for limit in (None, 1))], REPEATS
    )
    results = []
    for workers, seconds, start in ((1, *times[:2]), (cores(), *times[2:])):
        rate = FILES / (seconds - start)
        facts = {"images/s": rate, "start-up, s": start, "bare images/s of one core": FILES / bare, "cores": cores()}
        name = f"files: predict --workers {workers} / (fitsio open + read x cores)"
        results.append(Result(name, rate * bare / FILES / cores(), "", 0.9, facts=facts))
    return results


def write_files(folder: Path) -> list[Path]:
    """Write ``cutouts/<id>.fits`` in the layout of the Legacy Surveys' server, and their catalogue."""
    ids = np.arange(FILES)
    ra, dec = positions(4, 0, FILES, seed=0)
    (folder / "cutouts").mkdir()
    paths = []
    for number, pixels in zip(ids.tolist(), noise(FILES, SIDE, seed=0), strict=True):
        paths.append(folder / f"cutouts/{number}.fits")
        middle = (SIDE + 1) / 2
        header = {
            "BANDS": BANDS, "SURVEY": "LegacySurvey", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
            "CRVAL1": ra[number], "CRVAL2": dec[number], "CRPIX1": middle, "CRPIX2": middle,
            "CD1_1": -SCALE / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE / 3600,
        }  # fmt: skip
        fitsio.write(str(paths[-1]), pixels, header=header)
    write_catalog(folder / "catalog.fits", ids, ra, dec)
    return paths


def read_barely(paths: list[Path]) -> None:
    """Open and read each file with fitsio, in one thread."""
    for path in paths:
        with fitsio.FITS(str(path)) as file:
            file[0].read()
