"""How all plots look."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

_SETTINGS = {
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "mathtext.fontset": "dejavusans",
}
#: Ink of lines and text that belong to no data.
INK, FAINT = "#222222", "#8a8a8a"
#: Colours from metal-poor to metal-rich, and from blue to red galaxies.
COLOURS = "Spectral_r"
#: Colour-blind-safe colours (Okabe and Ito 2008) of what is predicted, of other data, and of bands with their dashes.
PREDICTED, OTHER = "#d55e00", "#0072b2"
BANDS = {
    "u": ("#cc79a7", "-"), "g": ("#0072b2", "-"), "r": ("#009e73", "--"), "i": ("#e69f00", "-"),
    "z": ("#d55e00", "--"), "y": ("#222222", ":"),
}  # fmt: skip


@contextmanager
def look() -> Iterator[None]:
    """Draw in the style of the house: ``with look(): ...``."""
    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        yield


def save(figure: Figure, path: Path, dpi: int = 130, colours: int = 256) -> Path:
    """Write a PNG with a palette: noisy images need a third of the bytes so.

    Parameters
    ----------
    figure : Figure
    path : Path
        Its folder is made if need be.
    dpi : int
        Pixels per inch of the figure.
    colours : int
        Colours of the palette, 256 at most.

    Returns
    -------
    Path
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=2).save(path, optimize=True)
    return path
