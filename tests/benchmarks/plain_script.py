"""The script that a careful astronomer writes: fitsio and onnxruntime, one thread of Python, the table at the end.

``python plain_script.py CATALOG CUTOUTS MODEL OUT``: cutouts are a folder of ``<TARGETID>.fits``, or one stack file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import onnxruntime

BATCH = 32


def batches(catalog: Any, cutouts: Path) -> Iterator[Any]:
    """Cutouts (n, 3, H, W), float32, in catalogue order."""
    if cutouts.is_dir():
        for start in range(0, len(catalog), BATCH):
            names = catalog["TARGETID"][start : start + BATCH]
            yield np.stack([fitsio.read(cutouts / f"{name}.fits") for name in names])
        return
    with fitsio.FITS(cutouts) as file:
        if not np.array_equal(file["INDEX"].read(columns="TARGETID")[: len(catalog)], catalog["TARGETID"]):
            raise SystemExit("the stack lists other objects than the catalogue")
        for start in range(0, len(catalog), BATCH):
            stop = min(start + BATCH, len(catalog))
            planes = file["PIXELS"][3 * start : 3 * stop, :, :]
            yield planes.reshape(-1, 3, *planes.shape[1:])


def main() -> None:
    """Predict every object of the catalogue."""
    catalog_path, cutouts, model, out = map(Path, sys.argv[1:])
    catalog = fitsio.read(catalog_path)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    predictions = []
    for pixels in batches(catalog, cutouts):
        feeds = {
            "pixels": pixels,
            "valid": np.ones((len(pixels), 1, *pixels.shape[2:]), np.float32),
            "front": np.zeros(len(pixels), np.int64),
        }
        predictions.append(session.run(None, feeds)[0])
    names = ["TARGETID", "RA", "DEC"]
    columns = [*(catalog[name] for name in names), np.concatenate(predictions)]
    fitsio.write(out, columns, names=[*names, "PREDICTION"], clobber=True)


if __name__ == "__main__":
    main()
