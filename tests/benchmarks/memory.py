"""How memory grows with the catalogue: the highest resident set of a run, without mapped file pages.

``python -m tests.benchmarks.memory FOLDER MODEL [--keep-tiles]`` runs one prediction and prints what it cost, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from galcli.cutouts.stack_write import write_stack
from galcli.predict.run import predict
from galcli.sky import healpix
from tests.average import write_average
from tests.benchmarks.measure import ROOT, Result
from tests.benchmarks.survey import BANDS, SCALE, Silent, noise, options, write_catalog

ROWS, GALAXIES, SIDE = (100_000, 1_000_000), 2048, 32
#: Seconds between two looks at the memory; allocations that matter live longer.
EVERY = 0.002


def run(folder: Path) -> list[Result]:
    """Peak memory of a small and a large catalogue whose rows share the same 2,048 cutouts."""
    model = write_average(folder / "average.onnx", size=SIDE)
    surveys = [shared_survey(folder / str(rows), rows, SIDE) for rows in ROWS]
    small, large = (run_alone(survey, model).peak / 1e9 for survey in surveys)
    facts = {f"GB at {ROWS[0]:,}": small, f"GB at {ROWS[1]:,}": large}
    return [
        Result("memory: growth, 10^5 to 10^6 rows", 100 * (large / small - 1), "%", 10, at_least=False, facts=facts),
        Result("memory: peak at 10^6 rows", large, "GB", 0.6, at_least=False),
    ]


def shared_survey(folder: Path, rows: int, side: int) -> Path:
    """A catalogue all over the sky; the entries of its one stack point to few cutouts of ``side`` pixels."""
    folder.mkdir()
    pixel = np.random.default_rng(0).integers(0, 12 << 40, rows)
    ra, dec = healpix.center(20, pixel)
    ids = np.arange(rows) + 10**9
    write_catalog(folder / "catalog.fits", ids, ra, dec)
    shared = np.arange(rows, dtype=np.int64) % GALAXIES
    write_stack(folder / "stack.fits", ids, ra, dec, noise(GALAXIES, side, seed=0), BANDS, SCALE, rows=shared)
    return folder


@dataclass(frozen=True)
class Cost:
    """What a run cost in a process of its own that had made a run of one row before, so that start-up is left out.

    Attributes
    ----------
    peak : int
        Highest resident memory, bytes: see `Watch`.
    cpu, seconds : float
        Processor time of all threads, and elapsed time.
    """

    peak: int
    cpu: float
    seconds: float


def run_alone(folder: Path, model: Path, *, keep_tiles: bool = False) -> Cost:
    """Predict a survey in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.memory", str(folder), str(model)]
    words += ["--keep-tiles"] if keep_tiles else []
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(**json.loads(done.stdout))


class Watch(threading.Thread):
    """Looks at this process's memory all the while.

    Attributes
    ----------
    peak : int
        Highest VmRSS - RssFile so far, bytes: anonymous and shared memory, no mapped file pages, which the kernel
        takes back at will.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.wait(EVERY):
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            resident = sum(int(status[name].split()[0]) for name in ("RssAnon", "RssShmem"))
            self.peak = max(self.peak, resident * 1024)

    def stop(self) -> int:
        """The peak."""
        self._stop_it.set()
        self.join()
        return self.peak


def main() -> None:
    """Predict and print the cost."""
    folder, model = map(Path, sys.argv[1:3])
    chosen = options(folder, model, cutouts=str(folder / "stack.fits"), keep_tiles="--keep-tiles" in sys.argv)
    predict(replace(chosen, limit=1, keep_tiles=False), Silent())
    watch = Watch()
    watch.start()
    began, cpu = time.perf_counter(), time.process_time()
    predict(chosen, Silent())
    cost = Cost(watch.stop(), time.process_time() - cpu, time.perf_counter() - began)
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
