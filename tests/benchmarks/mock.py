"""How fast the mock survey is rendered: 256 px cutouts in five bands on two cores."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from galcli.training.mock import instrument, population
from galcli.training.mock.survey import CHUNK
from tests.benchmarks.measure import REPEATS, Result

BANDS, SIZE, SCALE, SURVEY = "ugriz", 256, 0.262, "sdss"
CORES, OBJECTS = 2, 4 * CHUNK


def run(folder: Path) -> list[Result]:
    """Render galaxies in memory, as many at once as `galcli mock` does."""
    del folder
    galaxies = population.draw(OBJECTS, torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    try:
        seconds = [_render(galaxies, seed) for seed in range(REPEATS + 1)][1:]  # the first one warms up
    finally:
        torch.set_num_threads(before)
    facts = {"px": SIZE, "bands": BANDS, "threads": CORES, "galaxies": OBJECTS}
    return [Result("mock: 256 px, five bands", OBJECTS / float(np.median(seconds)), "/s", 50, facts=facts)]


def _render(galaxies: dict[str, torch.Tensor], seed: int) -> float:
    """Seconds for all of them."""
    random = torch.Generator().manual_seed(seed)
    began = time.perf_counter()
    for start in range(0, OBJECTS, CHUNK):
        part = {key: values[start : start + CHUNK] for key, values in galaxies.items()}
        instrument.stamps(part, BANDS, SIZE, SCALE, SURVEY, random)
    return time.perf_counter() - began
