from __future__ import annotations

from pathlib import Path

import pytest

from galcli.errors import InputError, OutputError
from galcli.sample import copy_survey


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    source = tmp_path / "package"
    for name in ("catalog.fits", "spectra.fits", "cutouts/Norder=1/Dir=0/Npix=3.fits", "__init__.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    return source


def test_every_file_is_copied_and_copying_again_changes_nothing(survey: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert copy_survey(survey, tmp_path / "out") == tmp_path / "out/catalog.fits"
        files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
        assert files == {"catalog.fits", "spectra.fits", "cutouts/Norder=1/Dir=0/Npix=3.fits"}
    assert (tmp_path / "out/spectra.fits").read_bytes() == b"spectra.fits"


def test_files_of_the_user_are_not_overwritten(survey: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/catalog.fits").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is another file"):
        copy_survey(survey, tmp_path / "out")
    assert (tmp_path / "out/catalog.fits").read_bytes() == b"mine"


def test_installation_without_survey(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample survey"):
        copy_survey(tmp_path, tmp_path / "out")
