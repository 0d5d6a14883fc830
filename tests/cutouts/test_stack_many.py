"""Surveys of many stack files: few of them are open at a time, and a want of open files is no fault of a cutout."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.cutouts import stack as stack_module
from galcli.cutouts.parallel import in_flight
from galcli.cutouts.stack import StackSource, write_stack
from galcli.errors import OutputError
from galcli.sky import healpix


@pytest.fixture
def tiles(tmp_path: Path) -> tuple[Path, Any, Any, Any]:
    """Sixty tiles of one cutout each: folder, pixels and positions."""
    ra, dec = np.linspace(0, 350, 60), np.zeros(60)
    pixels = np.random.default_rng(0).normal(size=(60, 3, 16, 20)).astype(np.float32)
    tile = healpix.pixel(ra, dec, 5)
    assert len(set(tile.tolist())) == 60
    for k, one in enumerate(tile.tolist()):
        path = tmp_path / f"Norder=5/Dir=0/Npix={one}.fits"
        write_stack(path, np.array([k + 500]), ra[k : k + 1], dec[k : k + 1], pixels[k][None], "grz", 0.262)
    return tmp_path, pixels, ra, dec


@contextmanager
def few_files(more: int) -> Iterator[None]:
    """So many more files may be opened than are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listed = [*Path("/proc/self/fd").iterdir()]  # the listing itself was a file
    used = {int(entry.name) for entry in listed if entry.is_symlink()}
    free = (number for number in itertools.count() if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, more, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("provisional", [False, True])
def test_many_small_files_stay_within_the_open_files(tiles: Any, ask: Any, drain: Any, provisional: bool) -> None:
    folder, pixels, ra, dec = tiles
    request = replace(ask(np.arange(60) + 500, ra, dec), provisional=provisional)
    with few_files(in_flight() * stack_module.OPEN_FILES + 10):
        result = drain(StackSource(folder), request)
    np.testing.assert_array_equal(result.stack(), pixels)
    assert max(len(batch) for batch in result.batches) == stack_module.OPEN_FILES


def test_too_few_open_files_are_no_fault_of_the_cutouts(tiles: Any, ask: Any, drain: Any) -> None:
    folder, _, ra, dec = tiles
    source = StackSource(folder)
    source._opened.clear()
    with few_files(0), pytest.raises(OutputError, match="oo many open files"):
        drain(source, ask(np.arange(60) + 500, ra, dec))
