"""An index of very many images: what it holds in memory, what it says, how it is stopped."""

from __future__ import annotations

import os
import signal
import tracemalloc
from pathlib import Path

import pytest

from galcli import interrupts
from galcli.cutouts import coadd_index
from galcli.cutouts.coadd_index import FileIndex
from galcli.cutouts.header import NO_OVERRIDES
from galcli.errors import Interrupted
from tests.cutouts.sky_images import header, write


def images(folder: Path, count: int) -> list[str]:
    """An image with a long header, under many names."""
    write(folder / "0-image-r.fits", header(8, **{f"KEY{number}": number for number in range(200)}))
    for number in range(1, count):
        (folder / f"{number}-image-r.fits").symlink_to(folder / "0-image-r.fits")
    return [str(path) for path in folder.iterdir()]


def test_headers_are_not_kept(tmp_path: Path) -> None:
    paths = images(tmp_path, 300)
    FileIndex(paths[:10], "warm", NO_OVERRIDES)  # what is imported and cached once
    tracemalloc.start()
    index = FileIndex(paths, "images", NO_OVERRIDES)
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    # Python's table of interned strings, one block of megabytes, may have to grow just here.
    held = sum(trace.size for trace in snapshot.traces if trace.size < 1_000_000)
    assert index.describe() == "300 images of images"
    assert held / 300 < 5000


def test_a_long_search_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coadd_index, "LINE_EVERY", 0.0)
    said: list[str] = []
    FileIndex(images(tmp_path, 3), "images", NO_OVERRIDES, said.append)
    assert said == [f"{number} of 3 headers of images read" for number in range(3)]


def test_a_signal_ends_the_search(tmp_path: Path) -> None:
    paths = images(tmp_path, 3)
    with interrupts.graceful():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            FileIndex(paths, "images", NO_OVERRIDES)
