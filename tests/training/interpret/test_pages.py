"""A report replaces the one before it, and nothing else that lies in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from galcli.training.interpret.pages import METRICS, Pages


def write(folder: Path, *pictures: str) -> None:
    """A report with some pictures, begun and finished."""
    pages = Pages(folder, "title", [])
    pages.write({"at": "first"})
    for name in pictures:
        pages.draw(name, (1.0, 1.0), "caption", lambda figure: None)
    pages.write({"at": "last"})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.png")}


def test_pictures_of_an_earlier_report_go(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write(folder, "both", "old")
    Figure().savefig(folder / "mine.png")
    write(folder, "both", "new")
    assert names(folder) == {"both.png", "new.png", "mine.png"}
    assert json.loads((folder / METRICS).read_text()) == {"at": "last", "pictures": ["both.png", "new.png"]}


def test_only_pictures_in_the_folder_go(tmp_path: Path) -> None:
    """Whatever the numbers of an earlier report hold, no other file is touched."""
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "outside.png").touch()
    (folder / "notes.txt").touch()
    for told in (["../outside.png", "notes.txt", "", "gone.png", str(tmp_path / "outside.png")], 3, [None]):
        (folder / METRICS).write_text(json.dumps({"pictures": told}))
        write(folder)
    (folder / METRICS).write_text("broken")
    write(folder)
    assert names(tmp_path) == {"outside.png"}
    assert (folder / "notes.txt").exists()
