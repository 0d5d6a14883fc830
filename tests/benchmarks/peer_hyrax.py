"""Hyrax's ONNX ``engine``, as its documentation says; runs in the Python that it is installed in.

``python peer_hyrax.py CATALOG CUTOUTS MODEL OUT``: OUT is the folder of its results.
``python peer_hyrax.py --read OUT`` prints the predictions that its fullest run has left there, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

BATCH, SIDE = 32, 144

PREPARE = """
import numpy as np

def prepare_inputs(batch):
    pixels = np.asarray(batch["data"]["image"], np.float32)[:, 0]
    valid = np.ones((len(pixels), 1, *pixels.shape[2:]), np.float32)
    return pixels, valid, np.zeros(len(pixels), np.int64)
"""


def main() -> None:
    """Predict every object of the catalogue."""
    import hyrax

    catalog, cutouts, model, out = map(Path, sys.argv[1:])
    exported = out / f"model-{model.stem}"
    exported.mkdir(parents=True, exist_ok=True)
    (exported / "prepare_inputs.py").write_text(PREPARE)
    link = exported / "model.onnx"
    link.unlink(missing_ok=True)
    link.symlink_to(model)
    here = hyrax.Hyrax()
    here.config["general"]["results_dir"] = str(out)
    here.config["general"]["log_level"] = "warning"
    here.config["data_request"] = {
        "infer": {
            "data": {
                "dataset_class": "FitsImageDataset",
                "data_location": str(cutouts),
                "fields": ["image"],
                "primary_id_field": "object_id",
            }
        }
    }
    here.config["data_set"] |= {
        "filter_catalog": str(catalog), "object_id_column_name": "TARGETID", "filename_column_name": "FILE",
        "crop_to": [SIDE, SIDE], "transform": False,
    }  # fmt: skip
    here.config["data_loader"]["batch_size"] = BATCH
    here.engine(model_directory=str(exported))


def read(out: Path) -> None:
    """Print the predictions of the run that has most of them."""
    import lance

    runs = [lance.dataset(str(path)).to_table() for path in out.glob("*-engine-*/lance_db/*.lance")]
    print(json.dumps(max(runs, key=len)["data"].to_pylist() if runs else []))


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read(Path(sys.argv[2]))
    else:
        main()
