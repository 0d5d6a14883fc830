"""Where the time of a run goes, stage by stage: ``python -m tests.benchmarks profile`` prints the table of the README.

Seconds are those of the processor, of the thread that does the work; what no stage accounts for are the threads of
onnxruntime and Python itself.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from tests.average import write_average
from tests.benchmarks.measure import Result
from tests.benchmarks.survey import Silent, options, write_stacks

#: Stage -> where the function is looked up.
STAGES = {
    "open catalogue, cutouts and models": "galcli.predict.inputs.open_engine",
    "plan": "galcli.predict.run.make_plan",
    "find cutouts": "galcli.cutouts.stack_file.StackFile.find",
    "read pixels from the kernel": "galcli.cutouts.stack_file.StackFile._read",
    "decode Rice": "galcli.cutouts.stack_file.StackFile._decompress",
    "byte order, units": "galcli.cutouts.header.Convention.settle",
    "checksum": "galcli.cutouts.stack_file.add_words",
    "extremes (gaps, empty bands)": "galcli.cutouts.stack_file.extremes",
    "to the model's grid": "galcli.predict.job.to_grid",
    "onnxruntime, calling thread": "galcli.models.session.Graph.run",
    "columns": "galcli.predict.runner.ModelRunner._store",
    "tile files": "galcli.predict.tile._commit",
    "merge": "galcli.predict.run.finish",
}


def run(folder: Path) -> list[Result]:
    """Profile the feed (a model that only averages) and the shipped SFNet, on plain and on Rice-compressed stacks."""
    results: list[Result] = []
    for name, compress in (("plain", None), ("rice", "rice")):
        place = folder / name
        place.mkdir()
        files = 4 if compress is None else 1
        write_stacks(place, files, 2048, 144, compress=compress)  # type: ignore[arg-type]
        average = write_average(place / "average.onnx")
        for model, rows in ((average, 2048 * files), (Path("sfnet-metallicity"), 2048)):
            chosen = options(place, model, limit=rows)
            predict(chosen, Silent())
            results += table(f"{model.stem}, {name}", chosen, rows)
    return results


def table(title: str, chosen: PredictOptions, rows: int) -> list[Result]:
    """One run's stages in microseconds per cutout."""
    with stopwatches() as spent:
        wall, processor = time.perf_counter(), time.process_time()
        predict(chosen, Silent())
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    stages = {**spent, "onnxruntime's threads, and the rest": processor - sum(spent.values())}
    facts = {stage: seconds / rows * 1e6 for stage, seconds in stages.items()}
    return [
        Result(f"profile: {title}: wall", wall / rows * 1e6, "us/row", None),
        Result(f"profile: {title}: processor", processor / rows * 1e6, "us/row", None, facts=facts),
    ]


@contextmanager
def stopwatches() -> Iterator[dict[str, float]]:
    """Measure every stage in whichever thread it runs; stages inside others are counted once, as themselves."""
    spent: dict[str, float] = defaultdict(float)
    lock, within = threading.Lock(), threading.local()

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            outer = getattr(within, "inner", 0.0)
            within.inner, began = 0.0, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                seconds = time.thread_time() - began
                with lock:
                    spent[stage] += seconds - within.inner
                within.inner = outer + seconds

        return call

    patches = []
    for stage, place in STAGES.items():
        patches.append(patch(place, new=timed(stage, _resolve(place))))
    for one in patches:
        one.start()
    try:
        yield spent
    finally:
        for one in patches:
            one.stop()


def _resolve(place: str) -> Callable[..., Any]:
    """The function of a dotted name."""
    import pkgutil

    found: Callable[..., Any] = pkgutil.resolve_name(place)
    return found
