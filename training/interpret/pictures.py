"""Make the pictures of the README from the embedded sample: ``python -m galcli.training.interpret.pictures docs``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from galcli.predict.options import PredictOptions
from galcli.predict.run import predict
from galcli.progress import Lines
from galcli.sample import unpack
from galcli.training.interpret.bpt import bpt_figure
from galcli.training.interpret.gallery import gallery_figure
from galcli.training.interpret.style import save


def make_pictures(folder: Path, models: tuple[str, ...] = ()) -> list[Path]:
    """Predict the embedded sample and draw the BPT diagram and the gallery of features.

    Parameters
    ----------
    folder : Path
        Where ``bpt.png`` and ``features.png`` go.
    models : tuple of str
        Names or paths of a metallicity and a line model; empty: the shipped ones.

    Returns
    -------
    list of Path
    """
    with tempfile.TemporaryDirectory(prefix="galcli-pictures-") as scratch:
        catalog = unpack(Path(scratch) / "sample")
        table = Path(scratch) / "predictions.fits"
        predict(PredictOptions((catalog,), table, models=models), Lines())
        return [
            save(bpt_figure(table, catalog), folder / "bpt.png"),
            save(gallery_figure(table, catalog), folder / "features.png", dpi=100),
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=make_pictures.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", default=[], help="model to use; repeat for more")
    given = parser.parse_args()
    for path in make_pictures(given.folder, tuple(given.model)):
        print(path)
