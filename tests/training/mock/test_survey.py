"""A mock survey on disk: interrupted or not it is the same, and it never mixes with another."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest
import torch
from astropy.io import fits

from galcli.errors import InputError, UsageError
from galcli.training.mock import positions
from galcli.training.mock.survey import MockOptions, write_survey

OPTIONS = MockOptions(number=12, seed=3, bands="gr", size=16, spectra=False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.fits"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    write_survey(folder, OPTIONS)
    return files_of(folder)


def interrupted(folder: Path, whole: dict[str, bytes]) -> list[str]:
    """What a kill leaves: a part of the stacks, no catalogue."""
    stacks = [name for name in whole if name.startswith("cutouts")]
    assert len(stacks) > 1
    for name in stacks[: len(stacks) // 2]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(whole[name])
    return stacks


def test_interrupted_survey_goes_on_to_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    interrupted(tmp_path, whole)
    write_survey(tmp_path, OPTIONS)
    assert files_of(tmp_path) == whole


@pytest.mark.parametrize("other", [{"seed": 4}, {"size": 20}, {"survey": "sdss"}, {"number": 11}])
def test_stacks_of_another_survey_are_not_taken_over(
    tmp_path: Path, whole: dict[str, bytes], other: dict[str, object]
) -> None:
    interrupted(tmp_path, whole)
    changed = MockOptions(**{**vars(OPTIONS), **other})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another survey"):
        write_survey(tmp_path, changed)


def test_every_header_says_mock(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for number, data in enumerate(whole.values()):
        path = tmp_path / f"{number}.fits"
        path.write_bytes(data)
        with fits.open(path, checksum=True) as hdus:
            assert hdus[1].header["MOCK"] is True
            assert hdus[1].header["SEED"] == OPTIONS.seed
    catalog = fitsio.read(str(tmp_path / f"{list(whole).index('catalog.fits')}.fits"), ext=1)
    assert len(np.unique(catalog["TARGETID"])) == OPTIONS.number


def test_a_mixed_survey_draws_the_instrument_of_each_galaxy(tmp_path: Path) -> None:
    options = MockOptions(number=24, seed=3, bands="gr", size=32, pixel_scale=0.4, survey="mixed", spectra=False)
    write_survey(tmp_path / "mixed", options)
    noise = []
    for path in sorted((tmp_path / "mixed/cutouts").rglob("*.fits")):
        pixels = fitsio.read(str(path), ext="PIXELS").reshape(-1, 2, 32, 32)
        noise += list(np.nanstd(pixels[:, 1, [0, -1]], axis=(1, 2)))
    assert np.percentile(noise, 90) > 2 * np.percentile(noise, 10)  # SDSS is three times as noisy as Legacy
    for bands in ("ug", "gry"):
        with pytest.raises(UsageError, match="mixed survey has no band"):
            MockOptions(bands=bands, survey="mixed")


def test_positions_put_a_patch_on_the_pole_and_one_across_ra_zero() -> None:
    ra, dec = positions.draw(4000, torch.Generator().manual_seed(0))
    assert ((ra >= 0) & (ra < 360)).all()
    assert (dec > 88).sum() > 100
    near = (dec - 0.5).abs() < 1
    assert ((ra < 1) & near).sum() > 100
    assert ((ra > 359) & near).sum() > 100
