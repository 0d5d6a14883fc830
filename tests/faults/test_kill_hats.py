"""A run that writes a HATS folder, killed at any moment, goes on to the same folder; the folder is whole or not there."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_kill import files_of
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, write_catalog

LAYOUTS = ["hats", "hats-fits"]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    survey = make_survey(tmp_path_factory.mktemp("kill") / "survey", 12)
    ra, ids = survey.ra.copy(), survey.ids.copy()
    ra[4] = float("nan")
    ids[5] -= 1
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=survey.dec)
    return survey


def words(survey: Survey, out: Path, layout: str, *more: object) -> list[str]:
    return survey.predict("--order", 2, "--max-fail", 50, "--layout", layout, *more, out=out)


@pytest.fixture(scope="module", params=LAYOUTS)
def reference(
    request: pytest.FixtureRequest, faulty: Survey, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, bytes], int]:
    """Layout, files of the uninterrupted run, and its changes of the disk."""
    folder = tmp_path_factory.mktemp("reference")
    ended = launcher.run(words(faulty, folder / "p", request.param))
    assert ended.code == 0, ended.err
    return request.param, files_of(folder), len(ended.events)


def check_kill_at(event: int, faulty: Survey, launcher: Launcher, reference: Any, folder: Path) -> None:
    layout, files, _ = reference
    ended = launcher.run(words(faulty, folder / "p", layout), at=event, do=signal.SIGKILL)
    assert ended.code == -signal.SIGKILL, (event, ended.err)
    left = {name: raw for name, raw in files_of(folder).items() if name.startswith("p/")}
    assert not left or left == {name: raw for name, raw in files.items() if name.startswith("p/")}, event
    again = launcher.run(words(faulty, folder / "p", layout))
    assert again.code == 0, (event, again.err)
    assert files_of(folder) == files, event


def test_killed_while_the_folder_is_built(faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path) -> None:
    """The second half of a run is the building of the folder, its renaming and the removal of the run."""
    events = reference[2]
    for event in range(events // 2, events + 1, events // 8):
        check_kill_at(event, faulty, launcher, reference, tmp_path / str(event))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_change_of_the_disk(faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path) -> None:
    for event in range(1, reference[2] + 1):
        check_kill_at(event, faulty, launcher, reference, tmp_path / str(event))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_while_it_replaces_a_folder(faulty: Survey, launcher: Launcher, tmp_path: Path, layout: str) -> None:
    """What stands under the name is the old folder or the new one, or for a moment none; the command given again ends it."""
    out = tmp_path / "p"
    new = [*words(faulty, out, layout), "--overwrite"]
    assert launcher.run(words(faulty, out, layout, "--columns", "RA")).code == 0
    old_files = files_of(out)
    assert launcher.run(words(faulty, tmp_path / "n" / "p", layout)).code == 0
    new_files = files_of(tmp_path / "n" / "p")
    event, step = 60, 41
    while True:
        ended = launcher.run(new, at=event, do=signal.SIGKILL)
        assert files_of(out) in ({}, old_files, new_files)
        if not ended.code:
            break
        event += step
    assert files_of(out) == new_files
    assert not list(tmp_path.glob("p.run"))


@pytest.mark.parametrize("event", [1, 4, 9, 17, 33, 60])
def test_full_disk_while_the_folder_is_built(faulty: Survey, launcher: Launcher, tmp_path: Path, event: int) -> None:
    out = tmp_path / "p"
    ended = launcher.run(words(faulty, out, "hats"), at=event, do="error", where="p.run/output/")
    assert ended.code == 6, ended.err
    assert not out.exists()
    assert launcher.run(words(faulty, out, "hats")).code == 0
