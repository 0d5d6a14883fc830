"""The colour mapping with the normalisation that a training measured on its first images."""

from __future__ import annotations

import json
from pathlib import Path

from galcli.training import checkpoint
from galcli.training.fit import STATE, Feed
from galcli.training.pixels import FRONTS, VIEWER_PIXEL_SCALE, Pixels
from galcli.training.regression import normalisation


def normalised(out: Path, feed: Feed, resume: bool, pixel_scale: float = VIEWER_PIXEL_SCALE) -> Pixels:
    """Mapping of all fronts to zero mean and unit variance per channel; measured once per training.

    Parameters
    ----------
    out : Path
        Folder of the training.
    feed : Feed
        Its first stage.
    resume : bool
        Take what stands in the folder.
    pixel_scale : float
        Arcsec per pixel of the model's grid.
    """
    path = out / "normalisation.json"
    if not (resume and path.exists() and (out / STATE).exists()):  # else nobody knows whose it is
        idle = Pixels(FRONTS, (0.0,) * 3, (1.0,) * 3, pixel_scale)
        mean, std = normalisation(feed, lambda batch: idle(batch.pixels, batch.valid, batch.front))
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(path, {"mean": mean, "std": std})
    stored = json.loads(path.read_text())
    return Pixels(FRONTS, stored["mean"], stored["std"], pixel_scale)
