"""The picture of a confusion matrix of Galaxy10's classes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from galcli.training.galaxy10 import NAMES
from galcli.training.interpret.style import FAINT, INK

#: Share of a class above which its number is written in white.
_DARK = 0.55


def draw_confusion(axes: Axes, matrix: NDArray[np.int64]) -> AxesImage:
    """Draw a matrix (10, 10) with true classes in rows: colours are shares of the true class, numbers are galaxies."""
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > _DARK else INK
        axes.text(column, row, str(count), color=colour if count else FAINT, ha="center", va="center", fontsize=9)
    place = np.arange(len(NAMES))
    axes.set_xticks(place, NAMES, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(place, NAMES)
    axes.tick_params(which="both", length=0)
    axes.tick_params(which="minor", top=False, bottom=False, left=False, right=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    return drawn
