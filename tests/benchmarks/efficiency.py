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
IMAGES = FILES * EACH
SHIPPED = "sfnet-metallicity"


def run(folder: Path) -> list[Result]:
    """Predict with the shipped SFNet and run the same graph bare."""
    import onnxruntime

    model = library.find(SHIPPED).path
    write_stacks(folder, FILES, EACH, SIDE)
    chosen = options(folder, model)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feeds = {
        "pixels": noise(MAX_BATCH, SIDE, seed=0),
        "valid": np.ones((MAX_BATCH, 1, SIDE, SIDE), np.float32),
        "front": np.zeros(MAX_BATCH, np.int64),
    }
    session.run(None, feeds)

    def bare() -> None:
        for _ in range(IMAGES // MAX_BATCH):
            session.run(None, feeds)

    loop, whole = alternate([bare, lambda: predict(chosen, Silent())], REPEATS)
    facts = {"model": model.name, "bare images/s": IMAGES / loop, "predict images/s": IMAGES / whole, "images": IMAGES}
    return [Result("efficiency: predict / bare loop", loop / whole, "", 0.95, facts=facts)]
