"""What a second process is worth: the whole of ``predict`` with two workers against one, one thread each."""

from __future__ import annotations

import os
from pathlib import Path

from galcli.models import library
from galcli.predict.run import predict
from tests.benchmarks.measure import Result, alternate
from tests.benchmarks.survey import Silent, options, write_stacks

#: Tiles of order 6 hold 128 cutouts each, so that neither process waits long for the other at the end.
FILES, EACH, SIDE, ORDER, REPEATS = 2, 2048, 144, 6, 3
SHIPPED = "sfnet-metallicity"


def run(folder: Path) -> list[Result]:
    """Predict with one process and with two; start-up counts, and the processor's time is told beside."""
    write_stacks(folder, FILES, EACH, SIDE)
    model = library.find(SHIPPED).path
    spent: dict[int, list[float]] = {1: [], 2: []}

    def side(workers: int) -> None:
        before = _processor_seconds()
        predict(options(folder, model, workers=workers, threads=1, order=ORDER), Silent())
        spent[workers].append(_processor_seconds() - before)

    one, two = alternate([lambda: side(1), lambda: side(2)], REPEATS)
    images = FILES * EACH
    facts = {
        "model": model.name, "images": images, "one, images/s": images / one, "two, images/s": images / two,
        "processor s of one": min(spent[1]), "of two": min(spent[2]),
    }  # fmt: skip
    return [Result("scaling: two processes / twice one", one / (2 * two), "", 0.9, facts=facts)]


def _processor_seconds() -> float:
    """Seconds of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
