"""How fast pixels reach a model: the whole of ``predict`` with a model that only averages, against plain reading."""

from __future__ import annotations

from pathlib import Path

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
    arguments = ["predict", chosen.catalog, "--cutouts", chosen.cutouts, "--model", model, "-o", chosen.out,
                 "--overwrite", "--device", "cpu"]  # fmt: skip

    def whole() -> None:
        summary = predict(chosen, Silent())
        assert summary.counts is not None
        assert summary.counts.unpredicted == 0

    read_plainly(stacks)
    whole()  # imports, and stacks whose last pages were not in the cache yet
    plain, inside, outside, start = alternate(
        [
            lambda: read_plainly(stacks),
            whole,
            lambda: command(*arguments),
            lambda: command(*arguments, "--limit", 1),
        ]
    )
    images, gigabytes = FILES * EACH, sum(path.stat().st_size for path in stacks) / 1e9
    sizes = {"images": images, "GB": gigabytes, "plain GB/s": gigabytes / plain}
    return [
        Result("feed: predict / plain reading", plain / inside, "", 0.5, facts=sizes),
        Result("feed: predict", images / inside, "images/s", 8000, facts={"GB/s": gigabytes / inside, "s": inside}),
        Result("feed: command / plain reading", plain / outside, "", None, facts={"GB/s": gigabytes / outside, "s": outside}),
        Result("feed: command", images / outside, "images/s", None, facts={"of which start-up, s": start}),
        Result("feed: command less start-up", images / (outside - start), "images/s", None,
               facts={"GB/s": gigabytes / (outside - start), "ratio": plain / (outside - start)}),
    ]  # fmt: skip


def read_plainly(paths: list[Path]) -> None:
    """Read files from the first to the last byte into one buffer."""
    buffer = bytearray(BLOCK)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
