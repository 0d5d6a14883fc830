"""How long a large catalogue takes to plan: read, hash, pixels, tiles, all on disk."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from galcli.predict.inputs import open_inputs
from galcli.predict.paths import RunPaths
from galcli.predict.plan import make_plan
from galcli.sky import healpix
from tests.average import write_average
from tests.benchmarks.measure import Result
from tests.benchmarks.survey import options, write_catalog, write_stacks

ROWS, REPEATS = 10_000_000, 3


def run(folder: Path) -> list[Result]:
    """Plan ten million rows all over the sky."""
    write_stacks(folder, 1, 16, 32)
    pixel = np.random.default_rng(0).integers(0, 12 << 40, ROWS)
    ra, dec = healpix.center(20, pixel)
    write_catalog(folder / "catalog.fits", np.arange(ROWS) + 10**12, ra, dec)
    del pixel, ra, dec
    chosen = options(folder, write_average(folder / "average.onnx", size=32))
    root = RunPaths(chosen.out).root
    seconds = []
    for _ in range(REPEATS):
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        began = time.perf_counter()
        with open_inputs(chosen) as (catalog, layout, engine):
            tiles = len(make_plan(chosen, catalog, engine, layout).tiles)
            seconds.append(time.perf_counter() - began)
    shutil.rmtree(root)
    taken = float(np.median(seconds))
    facts = {"rows": ROWS, "tiles": tiles, "rows/s": ROWS / taken}
    return [Result("plan: 10^7 rows", taken, "s", 10, at_least=False, facts=facts)]
