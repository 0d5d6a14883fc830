"""How fast pixels reach a model: the whole of ``predict`` with a model that only averages, against plain reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from galcli.predict.run import predict
from tests.average import write_average
from tests.benchmarks.measure import Result, alternate, command
from tests.benchmarks.survey import Silent, options, write_stacks

FILES, EACH, SIDE = 8, 2048, 144
#: Bytes of one plain read, that of a batch.
BLOCK = 16_000_000


def run(folder: Path) -> list[Result]:
    """Predict a survey of stacks that lie in the page cache."""
    stacks = write_stacks(folder, FILES, EACH, SIDE)
    model = write_average(folder / "average.onnx")
    chosen = options(folder, model)
    arguments = ["predict", *chosen.catalogs, "--cutouts", chosen.cutouts, "--model", model, "-o", chosen.out,
                 "--overwrite", "--device", "cpu"]  # fmt: skip

    def whole() -> None:
        summary = predict(chosen, Silent())
        assert summary.counts is not None
        assert summary.counts.unpredicted == 0

    read_plainly(stacks)
    whole()  # imports, and stacks whose last pages were not in the cache yet
    buffered, loaded, inside, outside, start = alternate(
        [
            lambda: read_plainly(stacks),
            lambda: load_plainly(stacks),
            whole,
            lambda: command(*arguments),
            lambda: command(*arguments, "--limit", 1),
        ]
    )
    images, gigabytes = FILES * EACH, sum(path.stat().st_size for path in stacks) / 1e9
    pure = outside - start
    return [
        Result("feed: predict", images / inside, "images/s", 8000, facts={"images": images, "GB": gigabytes,
               "GB/s": gigabytes / inside, "s": inside}),
        Result("feed: predict / read to memory", loaded / inside, "", 0.7, facts={"plain GB/s": gigabytes / loaded}),
        Result("feed: predict / read to one buffer", buffered / inside, "", 0.5, facts={"plain GB/s": gigabytes / buffered}),
        Result("feed: command", images / outside, "images/s", None, facts={"GB/s": gigabytes / outside, "s": outside,
               "of which start-up, s": start}),
        Result("feed: command less start-up", images / pure, "images/s", None, facts={"GB/s": gigabytes / pure,
               "/ read to memory": loaded / pure, "/ read to one buffer": buffered / pure}),
    ]  # fmt: skip


def read_plainly(paths: list[Path]) -> None:
    """Read files from the first to the last byte through one buffer, as fast as the kernel copies."""
    buffer = bytearray(BLOCK)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def load_plainly(paths: list[Path]) -> None:
    """Read each file into memory that holds it whole, as a program that wants its pixels would."""
    for path in paths:
        pixels = np.empty(path.stat().st_size, np.uint8)
        with path.open("rb", buffering=0) as file:
            done = 0
            while count := file.readinto(pixels[done:].data):
                done += count
