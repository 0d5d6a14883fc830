"""How fast Rice-compressed stacks reach a model, and what is left of the model's speed, against cfitsio's bare decoding."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np

from galcli.cutouts.parallel import cores
from galcli.predict.run import predict
from tests.average import write_average
from tests.benchmarks.efficiency import against_bare_loop
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import Silent, options, write_stacks

FILES, EACH, SIDE, BATCH = 2, 2048, 144, 32


def run(folder: Path) -> list[Result]:
    """Predict a survey of compressed stacks with a model that only averages, and with the shipped SFNet."""
    stacks = write_stacks(folder, FILES, EACH, SIDE, compress="rice")
    chosen = options(folder, write_average(folder / "average.onnx"))

    def whole() -> None:
        summary = predict(chosen, Silent())
        assert summary.counts is not None
        assert summary.counts.unpredicted == 0

    whole()
    bare, ours = alternate([lambda: decode(stacks), whole])
    images = FILES * EACH
    facts = {"images/s": images / ours, "bare images/s of one core": images / bare, "cores": cores(),
             "GB": sum(path.stat().st_size for path in stacks) / 1e9}  # fmt: skip
    feed = Result("rice: predict / (bare decoding x cores)", bare / ours / cores(), "", 0.9, facts=facts)
    return [feed, *against_bare_loop("rice: efficiency", folder, FILES * EACH, SIDE, {"fp32": 0.92, "int8": 0.8})]


def decode(stacks: list[Path]) -> None:
    """Decode all cutouts with fitsio, batch by batch, in one thread."""
    for path in stacks:
        with fitsio.FITS(str(path)) as file:
            image = file["PIXELS"]
            for start in range(0, 3 * EACH, 3 * BATCH):
                assert np.isfinite(image[start : start + 3 * BATCH, :, :][0, 0, 0])
