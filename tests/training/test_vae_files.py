"""``galcli train vae`` on files of spectra: what is used, what is said of it, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from galcli.errors import InputError
from galcli.training.recipes import vae, vae_data
from galcli.training.recipes.vae_coder import open_coder
from galcli.training.spectra import gaps
from galcli.training.spectra.grid import Spectra
from tests.training.spectra.made_files import LOGLAM, about, sdss_columns, write_sdss

GALAXIES = 80
#: Kinds of spectra that are not used, and how many there are of each.
FAR, TOO_GOOD = 3, 5
#: Galaxies that are observed twice.
TWICE = 6


@pytest.fixture(autouse=True, scope="module")
def quick_filler() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaps, "ITERATIONS", 2)
        yield


def write(folder: Path, number: int, z: float, sigma: float = 0.5, again: int = 0) -> None:
    """A galaxy: a straight continuum, H alpha and noise."""
    random = np.random.default_rng([number, again])
    wave = 10**LOGLAM
    slope, strength = np.random.default_rng(number).uniform([-0.5, 2], [0.5, 20])
    line = strength * np.exp(-0.5 * ((wave / (1 + z) - 6564.6) / 3) ** 2)
    flux = 10 * (1 + slope * (wave / 6500 - 1)) + line + random.normal(0, sigma, len(wave))
    columns = sdss_columns(flux=flux.astype("f4"), ivar=np.full(len(wave), sigma**-2, "f4"))
    target = about(Z=np.float32(z), PLUG_RA=150 + 0.1 * number, SPECOBJID=str(1 + 1000 * again + number))
    write_sdss(folder / f"spec-{number:04d}-{again}.fits", columns, target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "survey"
    out.mkdir()
    redshifts = np.random.default_rng(1).uniform(0.06, 0.13, GALAXIES)
    for number, z in enumerate(redshifts):
        write(out, number, z)
        if number < TWICE:
            write(out, number, z, again=1)
    for number in range(FAR):
        write(out, 200 + number, 0.45)
    for number in range(TOO_GOOD):
        write(out, 300 + number, 0.1, sigma=0.1)
    (out / "spec-damaged.fits").write_bytes(b"SIMPLE")
    return out


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files") / "vae"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vae.PRESETS, "quick", vae.Preset(epochs=3))
        vae.train_vae(out, spectra=[folder], preset="quick", seed=2)
    return out


def test_all_files_are_learned_from_whatever_the_preset_says_of_mock_spectra(trained: Path) -> None:
    told = json.loads((trained / vae.METRICS).read_text())["training"]
    card = open_coder(trained).decoder.card
    assert told["objects"] == GALAXIES + TWICE
    assert card.training.data == "survey"
    assert not card.training.mock
    assert card.training.objects == told["learned"]
    assert abs(told["learned"] - 0.75 * (GALAXIES + TWICE)) <= 3


def test_card_says_that_held_out_spectra_ended_the_training(trained: Path) -> None:
    metrics = open_coder(trained).encoder.card.metrics
    assert {metric.sample for metric in metrics} == {"held-out spectra of survey (they also ended the training)"}
    assert {metric.objects for metric in metrics if "HA" in metric.name} == {metrics[0].objects}
    assert 18 <= metrics[0].objects <= 24


def test_what_is_not_used_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = vae_data.gather([folder], None, 2)
    told = capsys.readouterr().err.replace("\n", " ")
    every = GALAXIES + TWICE + FAR + TOO_GOOD
    assert f"{GALAXIES + TWICE} of {every} spectra can be used, of {GALAXIES} galaxies: {FAR} are not at" in told
    assert f"of {TOO_GOOD} others less than 10% of the errors are believed" in told
    assert "spec-damaged.fits" in told
    assert len(sample.spectra) == GALAXIES + TWICE


def test_observations_of_one_galaxy_are_on_one_side(folder: Path) -> None:
    for seed in range(3):
        sample = vae_data.gather([folder], None, seed)
        sides: dict[float, set[bool]] = {}
        for ra, held in zip(sample.spectra.ra, sample.held, strict=True):
            sides.setdefault(round(float(ra), 3), set()).add(bool(held))
        assert len(sides) == GALAXIES
        assert all(len(side) == 1 for side in sides.values())
        assert sum(True in side for side in sides.values()) == GALAXIES // 4


def test_fewer_are_drawn_by_chance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, same, other = (vae_data.gather([folder], 70, seed).spectra for seed in (5, 5, 6))
    assert "70 of these are drawn by chance" in capsys.readouterr().err
    assert len(first) == 70
    assert first.name == same.name != other.name
    assert set(first.name) != set(vae_data.gather([folder], None, 5).spectra.name[:70])


def test_name_of_the_sample_is_that_of_all_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = [".", folder / "spec-000*.fits", folder]
    assert vae_data.gather(given, None, 2).name == "survey, spec-000*.fits"


def test_wavelengths_without_data_are_refused(folder: Path, tmp_path: Path) -> None:
    near = tmp_path / "near"
    near.mkdir()
    for number in range(80):
        write(near, number, 0.02)
    with pytest.raises(InputError) as caught:
        vae.train_vae(tmp_path / "out", spectra=[near], preset="quick")
    first = 10 ** LOGLAM[0] / 1.02  # 3479 Angstrom
    missing = np.flatnonzero(10 ** (3.53 + 0.00039 * np.arange(1000)) < first)
    assert caught.value.message.startswith(f"{len(missing)} of 1000 wavelengths, from 3388 to 347")
    assert "higher redshift" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [lambda s: s.believed[:, 700].fill(False), lambda s: s.believed[15:, 700].fill(False)]
)
def test_wavelengths_whose_errors_are_not_believed_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Spectra], None]
) -> None:
    """Pixels without weight teach nothing, as little as missing ones."""
    spectra, problems = vae_data.read_spectra([folder])
    change(spectra)
    monkeypatch.setattr(vae_data, "read_spectra", lambda paths: (spectra, problems))
    with pytest.raises(
        InputError, match="1 of 1000 wavelengths, from 6353 to 6353 Angstrom, have data in fewer than 16"
    ):
        vae_data.gather([folder], None, 2)


def test_errors_that_are_not_believed_teach_nothing(tmp_path: Path) -> None:
    for number in range(70):
        write(tmp_path, number, 0.1, sigma=0.5 if number < 40 else 0.1)
    with pytest.raises(InputError, match=r"^40 of 70 spectra can be used.*of 30 others.*needs 64 galaxies at least$"):
        vae_data.gather([tmp_path], None, 2)


def test_many_spectra_of_few_galaxies_are_too_few(tmp_path: Path) -> None:
    for again in range(70):
        write(tmp_path, again % 3, 0.1, again=again)
    with pytest.raises(InputError, match=r"^70 of 70 spectra can be used, of 3 galaxies"):
        vae_data.gather([tmp_path], None, 2)
