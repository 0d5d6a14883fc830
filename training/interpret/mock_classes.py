"""Mock galaxies of every class: ``python -m galcli.training.interpret.mock_classes docs/classes.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.style import INK, look, save
from galcli.training.mock import instrument
from galcli.training.recipes.dmagnet_data import LABEL, mock_choice
from galcli.training.recipes.dmagnet_plan import PRESETS
from galcli.training.sources import mock_population
from galcli.training.viewer import VIEWER_PIXEL_SCALE, colour_image

#: Galaxies of a class, pixels of a stamp (at 0.262 arcsec), galaxies drawn from, and their seed.
COLUMNS, SIDE, DRAWN, SEED = 12, 144, 1024, 5
_FRONT, _BANDS = "flux:grz", "grz"


def classes_figure() -> Figure:
    """Draw galaxies of each class of Galaxy10, as the Legacy Surveys would show them."""
    choice = mock_choice(PRESETS["default"])
    population, labels = mock_population(DRAWN, SEED, choice)
    kinds = labels[:, choice.labels.index(LABEL)].astype(np.int64)
    with look():
        figure = Figure(figsize=(13.4, 9.2))
        axes = figure.subplots(len(NAMES), 1)
        figure.subplots_adjust(left=0.165, right=0.998, top=0.998, bottom=0.002, hspace=0.02)
        for number, (name, one) in enumerate(zip(NAMES, axes, strict=True)):
            one.imshow(_row(population, np.flatnonzero(kinds == number)[:COLUMNS], number))
            one.set_axis_off()
            one.text(-0.01, 0.5, name, transform=one.transAxes, ha="right", va="center", color=INK)
    return figure


def _row(population: dict[str, torch.Tensor], rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Stamps side by side."""
    part = {key: values[torch.from_numpy(rows)] for key, values in population.items()}
    generator = torch.Generator().manual_seed(seed)
    stamps, _ = instrument.stamps(part, _BANDS, SIDE, VIEWER_PIXEL_SCALE, "legacy", generator, defects=False)
    images = [colour_image(stamp, _FRONT, VIEWER_PIXEL_SCALE)[::-1] for stamp in stamps.numpy()]
    return np.concatenate(images, axis=1)


if __name__ == "__main__":
    print(save(classes_figure(), Path(sys.argv[1]), dpi=100))
