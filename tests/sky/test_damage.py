"""Whatever happened to a file, the answer is its rows or one of our errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galcli.errors import GalcliError
from galcli.sky.catalog import open_catalog
from tests.sky.tables import WRITERS

SMALL = [
    "galaxies.fits",
    "galaxies.csv",
    "galaxies.csv.gz",
    "galaxies.ecsv",
    "galaxies.xml",
    "galaxies.vot",
    "galaxies.parquet",
    "galaxies.hats",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("whole")
    for name in SMALL:
        WRITERS[name](folder / name)
    return lambda name: folder / name


def read_all(path: Path) -> int:
    """Every row and every column that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers that overflow and the like
        with open_catalog(path) as catalog:
            for name in catalog.names:
                try:
                    list(catalog.chunks([name]))
                except GalcliError:
                    continue
            return sum(len(chunk) for chunk in catalog.chunks())


def outcome(path: Path) -> str:
    """How many rows there are, or what is wrong."""
    try:
        return f"{read_all(path)} rows"
    except GalcliError as error:
        return error.message + error.hint


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_and_cut_bytes(tmp_path: Path, whole: Callable[[str], Path], name: str, data: st.DataObject) -> None:
    source = whole(name)
    target = tmp_path / name
    if source.is_dir():
        if not target.exists():
            WRITERS[name](target)
        files = sorted(path for path in source.rglob("*") if path.is_file())
        source = data.draw(st.sampled_from(files))
        target = target / source.relative_to(whole(name))
    raw = bytearray(source.read_bytes())
    # Headers and footers tell most: half of the damage is done near the ends.
    places = st.one_of(st.integers(0, len(raw) - 1), st.integers(0, 299), st.integers(len(raw) - 300, len(raw) - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        raw[place % len(raw)] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    target.write_bytes(bytes(raw[:end]))
    assert "\n" not in outcome(tmp_path / name)
    target.write_bytes(source.read_bytes())


@pytest.mark.parametrize("name", SMALL)
def test_undamaged(whole: Callable[[str], Path], name: str) -> None:
    assert read_all(whole(name)) == 5
