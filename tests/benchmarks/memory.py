"""How memory grows with the catalogue: the highest resident set of a run, without mapped file pages.

``python -m tests.benchmarks.memory CATALOG OUT CUTOUTS MODEL`` runs one prediction and prints its peak in bytes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
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
    small, large = (_peak(_survey(folder / str(rows), rows), model) / 1e9 for rows in ROWS)
    facts = {f"GB at {ROWS[0]:,}": small, f"GB at {ROWS[1]:,}": large}
    return [
        Result("memory: growth, 10^5 to 10^6 rows", 100 * (large / small - 1), "%", 10, at_least=False, facts=facts),
        Result("memory: peak at 10^6 rows", large, "GB", 0.6, at_least=False),
    ]


def _survey(folder: Path, rows: int) -> Path:
    """A catalogue all over the sky; the entries of its one stack point to few cutouts."""
    folder.mkdir()
    pixel = np.random.default_rng(0).integers(0, 12 << 40, rows)
    ra, dec = healpix.center(20, pixel)
    ids = np.arange(rows) + 10**9
    write_catalog(folder / "catalog.fits", ids, ra, dec)
    shared = np.arange(rows, dtype=np.int64) % GALAXIES
    write_stack(folder / "stack.fits", ids, ra, dec, noise(GALAXIES, SIDE, seed=0), BANDS, SCALE, rows=shared)
    return folder


def _peak(folder: Path, model: Path) -> int:
    places = [folder / "catalog.fits", folder / "predictions.fits", folder / "stack.fits", model]
    words = [sys.executable, "-m", "tests.benchmarks.memory", *map(str, places)]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


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
    """Predict and print the peak."""
    catalog, out, cutouts, model = map(Path, sys.argv[1:])
    watch = Watch()
    watch.start()
    began = time.monotonic()
    predict(options(catalog.parent, model, catalogs=(catalog,), out=out, cutouts=str(cutouts)), Silent())
    print(watch.stop())
    print(f"{catalog}: {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
