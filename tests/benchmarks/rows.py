"""Ten million rows: what a row costs, what a run holds in memory, and how soon `plan` and `status` answer."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from tests.average import write_average
from tests.benchmarks.measure import Result, command
from tests.benchmarks.memory import Cost, run_alone, shared_survey

SMALL, LARGE, SIDE = 100_000, 10_000_000, 16
#: Times the small catalogue is run, before, after and between looks at the large one.
REPEATS = 4


def run(folder: Path) -> list[Result]:
    """Predict a small and a large catalogue whose rows share 2,048 cutouts, in turns."""
    model = write_average(folder / "average.onnx", size=SIDE)
    few, many = (shared_survey(folder / str(rows), rows, SIDE) for rows in (SMALL, LARGE))
    before = [run_alone(few, model) for _ in range(REPEATS // 2)]
    large = run_alone(many, model, keep_tiles=True)
    small = before + [run_alone(few, model) for _ in range(REPEATS - REPEATS // 2)]
    return [*_cost(small, large), *_memory(small, large), *_answers(many, model)]


def _cost(small: list[Cost], large: Cost) -> list[Result]:
    each, alone = large.cpu / LARGE * 1e6, statistics.median(cost.cpu for cost in small) / SMALL * 1e6
    facts = {"us at 10^7": each, "us at 10^5": alone, "rows/s at 10^7": LARGE / large.seconds, "s": large.seconds}
    return [Result("rows: CPU time of a row, growth", 100 * (each / alone - 1), "%", 10, at_least=False, facts=facts)]


def _memory(small: list[Cost], large: Cost) -> list[Result]:
    peak, alone = large.peak / 1e9, statistics.median(cost.peak for cost in small) / 1e9
    facts = {"GB at 10^7": peak, "GB at 10^5": alone}
    return [
        Result("rows: memory, growth", 100 * (peak / alone - 1), "%", 10, at_least=False, facts=facts),
        Result("rows: memory at 10^7", peak, "GB", 0.6, at_least=False),
    ]


def _answers(folder: Path, model: Path) -> list[Result]:
    """What a user waits for: the forecast of the whole run, and the state of a run whose tiles are all there."""
    out = folder / "predictions.fits"
    inputs = ["--cutouts", folder / "stack.fits", "--model", model, "--device", "cpu"]
    questions = {"plan": ["plan", folder / "catalog.fits", *inputs], "status": ["status", out]}
    results = []
    os.sync()  # a disk that is still busy with the run would answer late
    for name, words in questions.items():
        began = time.perf_counter()
        command(*words)
        seconds = time.perf_counter() - began
        results.append(Result(f"rows: galcli {name}", seconds, "s", 10, at_least=False))
    return results
