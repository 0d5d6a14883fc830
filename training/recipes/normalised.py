"""The colour mapping with the normalisation that a training measured on its first images."""

from __future__ import annotations

import json
from pathlib import Path

from galcli.training import checkpoint
from galcli.training.fit import STATE, Feed
from galcli.training.pixels import FRONTS, VIEWER_PIXEL_SCALE, Pixels
from galcli.training.regression import normalisation


def normalised(
    out: Path, feed: Feed, resume: bool, pixel_scale: float = VIEWER_PIXEL_SCALE,
    known: tuple[list[float], list[float]] | None = None,
) -> Pixels:  # fmt: skip
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
    known : tuple of two lists of float, optional
        Mean and standard deviation that the initial weights are used to, instead of those measured.
    """
    path = out / "normalisation.json"
    if not (resume and path.exists() and (out / STATE).exists()):  # else nobody knows whose it is
        mean, std = known or _measured(feed, pixel_scale)
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(path, {"mean": mean, "std": std})
    stored = json.loads(path.read_text())
    return Pixels(FRONTS, stored["mean"], stored["std"], pixel_scale)


def _measured(feed: Feed, pixel_scale: float) -> tuple[list[float], list[float]]:
    idle = Pixels(FRONTS, (0.0,) * 3, (1.0,) * 3, pixel_scale)
    return normalisation(feed, lambda batch: idle(batch.pixels, batch.valid, batch.front))
