"""Pictures of concepts, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure, SubFigure

#: Side by side in a row: a few words above the first of a group, and its pixels in per cent of the largest size.
Row = Sequence[tuple[str, list[list[int]]]]


def group(words: str, pictures: Sequence[list[list[int]]]) -> Row:
    """Pictures with a few words above the first."""
    return [(words if not place else "", picture) for place, picture in enumerate(pictures)]


def wrapped(row: Row, columns: int) -> list[Row]:
    """A row in several."""
    return [row[first : first + columns] for first in range(0, len(row), columns)]


def gallery(figure: Figure | SubFigure, title: str, rows: Sequence[Row]) -> None:
    """Draw concepts, each scaled by itself.

    Parameters
    ----------
    figure : Figure or SubFigure
    title : str
        What they are.
    rows : sequence of Row
        As `sae_learning.pictures` gives them; a shorter row leaves places empty.
    """
    figure.suptitle(f"{title} (red: light, blue: less light; north up)", fontsize=12)
    grid = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for places, row in zip(grid, rows, strict=True):
        for axes, (words, picture) in zip(places, row, strict=False):
            axes.imshow(picture, cmap="RdBu_r", vmin=-100, vmax=100, origin="lower", interpolation="nearest")
            if words:
                axes.set_title(words, loc="left", fontsize=9.5)
