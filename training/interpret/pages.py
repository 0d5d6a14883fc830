"""A report under way: its folder, its page, and its pictures, each of which says what is simulated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from galcli.errors import UsageError
from galcli.tables.atomic import atomic_write
from galcli.training.interpret.report import Report
from galcli.training.interpret.style import PREDICTED, look, save

PAGE, METRICS = "index.html", "metrics.json"
#: Pixels per inch of the pictures.
DPI = 110
#: Inches above the drawing for the notice that galaxies or training are simulated.
_STRIP = 0.32


def require_replaceable(folder: Path) -> None:
    """Refuse a folder that holds something else than a report.

    Raises
    ------
    UsageError
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / METRICS).exists())):
        raise UsageError(f"{folder} exists and holds no report", "name a new folder with -o")


def mock_words(galaxies: bool, training: bool) -> list[str]:
    """What is simulated, in a sentence each."""
    words = []
    if galaxies:
        words.append("MOCK galaxies: they are simulated; nothing here is about real ones.")
    if training:
        words.append("MOCK training: the model learned from a simulated survey and never saw a real galaxy.")
    return words


class Pages:
    """A page under way, and how its pictures are made.

    Parameters
    ----------
    folder : Path
        Of page, pictures and numbers.
    title : str
    mock : sequence of str
        `mock_words`: on top of the page, and in short on each picture.
    """

    def __init__(self, folder: Path, title: str, mock: Sequence[str]) -> None:
        self.folder, self.report = folder, Report(title)
        self.mock = " and ".join(words.partition(":")[0] for words in mock)
        if mock:
            self.report.text(" ".join(mock), warning=True)

    def draw(self, name: str, size: tuple[float, float], caption: str, draw: Callable[[Figure], None]) -> None:
        """Make a picture of a size in inches, and add it to the page.

        Parameters
        ----------
        name : str
            Of the PNG, without its ending.
        size : (float, float)
            Width and height of the drawing.
        caption : str
        draw : callable
            Draws into a figure or subfigure.
        """
        strip = _STRIP if self.mock else 0.0
        with look():
            figure = Figure(figsize=(size[0], size[1] + strip), layout="constrained")
            parts = figure.subfigures(2, 1, height_ratios=(strip, size[1]), squeeze=False)[:, 0] if strip else [figure]
            if strip:
                parts[0].text(0.008, 0.45, self.mock, color=PREDICTED, weight="bold", fontsize=10, va="center")
            draw(parts[-1])
        mock = f"{self.mock}. " if self.mock else ""
        self.report.picture(save(figure, self.folder / f"{name}.png", dpi=DPI), mock + caption)

    def write(self, numbers: Mapping[str, Any]) -> Path:
        """Write the numbers behind the plots, and the page as far as it is; may be called again when there is more.

        Pictures of an earlier report in the folder are removed, so that no picture is of another model.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        pictures = sorted(self.report.pictures)
        text = json.dumps({**numbers, "pictures": pictures}, indent=1, ensure_ascii=False)
        for name in _drawn(self.folder / METRICS).difference(pictures):
            (self.folder / name).unlink(missing_ok=True)
        atomic_write(self.folder / METRICS, (text + "\n").encode())
        return self.report.write(self.folder / PAGE)


def _drawn(metrics: Path) -> set[str]:
    """Names of the pictures that a report in a folder says are its own."""
    try:
        told = json.loads(metrics.read_bytes())["pictures"]
        return {name for name in told if Path(name).name == name and name.endswith(".png")}
    except (OSError, ValueError, LookupError, TypeError):
        return set()  # none, or one of an older galcli
