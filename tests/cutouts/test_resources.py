"""A want of open files while pixels are read ends the run with an error that says so: no row is called corrupt for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from galcli.cutouts import coadd_pixels
from galcli.cutouts.files import FileSource
from galcli.cutouts.lookup import list_folder
from galcli.cutouts.stack import StackSource, write_stack
from galcli.errors import OutputError
from tests.cutouts import sky_images
from tests.cutouts.test_stack_many import few_files

TOO_MANY = "oo many open files"


@pytest.mark.parametrize("compress", ["rice", "lossless"])
def test_stack_whose_planes_cfitsio_decodes(tmp_path: Path, ask: Any, drain: Any, compress: str) -> None:
    """Those that cannot be quantised, and any that is not in Rice's code: cfitsio opens the file for itself."""
    pixels = np.random.default_rng(0).normal(size=(2, 3, 16, 20)).astype(np.float32)
    pixels[:, 1, 2, 2] = 1e30
    ids, ra, dec = np.arange(2) + 500, np.array([10.0, 10.01]), np.zeros(2)
    write_stack(tmp_path / "s.fits", ids, ra, dec, pixels, "grz", 0.262, compress=compress)
    source, request = StackSource(tmp_path / "s.fits"), ask(ids, ra, dec)
    with few_files(0), pytest.raises(OutputError, match=TOO_MANY):
        drain(source, request)
    assert not drain(source, request).status


@pytest.mark.parametrize("ending", ["fits", "png"])
def test_file_of_one_row(tmp_path: Path, ask: Any, drain: Any, legacy: Any, ending: str) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, (3, 16, 20)).astype(np.uint8)
    if ending == "fits":
        legacy(tmp_path / "1.fits", pixels)
    else:
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "1.png")
    source = FileSource(list_folder(tmp_path), ask([1]))
    with few_files(0), pytest.raises(OutputError, match=TOO_MANY):
        drain(source, ask([1]))
    assert not drain(source, ask([1])).status


def test_large_image(tmp_path: Path, stamps: Any, monkeypatch: Any) -> None:
    sky_images.write(tmp_path / "i/0.fits", sky_images.header(200))
    opened = coadd_pixels.OpenImage

    def starved(*arguments: Any) -> Any:
        with few_files(0):
            return opened(*arguments)

    monkeypatch.setattr(coadd_pixels, "OpenImage", starved)
    with pytest.raises(OutputError, match=TOO_MANY):
        stamps(tmp_path / "i", [sky_images.RA], [sky_images.DEC])
