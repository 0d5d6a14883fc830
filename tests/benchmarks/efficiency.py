"""How much of the machine the model gets: the whole of ``predict`` against a bare onnxruntime loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galcli.models import library
from galcli.predict.engine import MAX_BATCH
from galcli.predict.run import predict
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import Silent, noise, options, write_stacks

FILES, EACH, SIDE, REPEATS = 2, 2048, 144, 3
SHIPPED = "sfnet-metallicity"
#: A model that runs row by row, so that bytes do not depend on the batch; one thread each, which beats the loop.
NATIVE = "sae-fno"


def run(folder: Path) -> list[Result]:
    """Predict stacks that are not compressed with shipped models, and run the same graphs bare."""
    write_stacks(folder, FILES, EACH, SIDE)
    results = against_bare_loop("efficiency", folder, FILES * EACH, SIDE, {"fp32": 0.97})
    return [
        *results,
        _compare(f"efficiency: predict / bare loop, {NATIVE}", folder, FILES * EACH, SIDE, NATIVE, "fp32", 1.2),
    ]


def against_bare_loop(title: str, folder: Path, images: int, side: int, goals: dict[str, float]) -> list[Result]:
    """The whole of ``predict`` with SFNet against a loop over one batch in memory, for each precision with its goal."""
    return [
        _compare(f"{title}: predict / bare loop, {name}", folder, images, side, SHIPPED, name, goals[name])
        for name in goals
    ]


def _compare(title: str, folder: Path, images: int, side: int, shipped: str, precision: str, goal: float) -> Result:
    import onnxruntime

    chosen = options(folder, Path(shipped), precision=precision)
    model = library.find(shipped, precision)
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    feeds = {
        "pixels": noise(MAX_BATCH, side, seed=0),
        "valid": np.ones((MAX_BATCH, 1, side, side), np.float32),
        "front": np.zeros(MAX_BATCH, np.int64),
    }
    outputs = [output.tensor for output in model.card.outputs]
    session.run(outputs, feeds)

    def bare() -> None:
        for _ in range(images // MAX_BATCH):
            session.run(outputs, feeds)

    loop, whole = alternate([bare, lambda: predict(chosen, Silent())], REPEATS)
    facts = {
        "model": model.path.name,
        "bare images/s": images / loop,
        "predict images/s": images / whole,
        "images": images,
    }
    return Result(title, loop / whole, "", goal, facts=facts)
