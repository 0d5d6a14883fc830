"""Killed at any moment and given again, a run writes the bytes of the run that was never killed."""

from __future__ import annotations

import random
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.predict.paths import RunPaths
from tests.faults.counts import DISK_CHANGES, KILLED_ROWS, KILLS, spread
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, write_catalog

Run = Callable[..., Any]
Record = Callable[..., None]

#: Where a run passes from one state to the next: name -> the change of the disk at which it is killed, the n-th such.
COMMIT_POINTS = {
    "the run folder is made": (r"os\.mkdir .*\.run'", 0),
    "the plan is begun": (r"os\.mkdir .*/plan\.new", 0),
    "the tiles are planned": (r"os\.rename .*/\.tiles\.json", 0),
    "the plan is moved into place": (r"os\.rename .*/plan\.new-\d+'", 0),
    "the run is recorded": (r"os\.rename .*/\.run\.json", 0),
    "a tile is claimed": (r"open .*/claims/", 0),
    "a tile is written": (r"write .*/\.Npix", 3),
    "a tile is synced": (r"sync .*/\.Npix", 3),
    "a tile is moved into place": (r"os\.rename .*/\.Npix", 3),
    "the last tile is moved into place": (r"os\.rename .*/\.Npix", -1),
    "the merge begins": (r"os\.mkdir .*/merge", 0),
    "the problems are moved into place": (r"os\.rename .*/\.p\.fits\.problems\.csv", 0),
    "the table is written": (r"write .*/\.p\.fits\.\d", 0),
    "the table is synced": (r"sync .*/\.p\.fits\.\d", 0),
    "the table is moved into place": (r"os\.rename .*/\.p\.fits\.\d", 0),
    "the run record is removed": (r"os\.remove .*run\.json'", -1),
    "the run folder is removed": (r"os\.rmdir .*\.run'", -1),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A survey with missing cutouts and bad coordinates: its runs write problem lists too. About 40 tiles."""
    survey = make_survey(tmp_path_factory.mktemp("kill") / "survey", KILLED_ROWS)
    ra, ids = survey.ra.copy(), survey.ids.copy()
    ra[[4, 9]] = float("nan")
    ids[[5, 11]] -= 1
    write_catalog(survey.catalog, OBJECT_ID=ids, RA=ra, DEC=survey.dec)
    return survey


def words(survey: Survey, out: Path) -> list[str]:
    return survey.predict("--order", 4, "--max-fail", 50, out=out)


@pytest.fixture(scope="module")
def reference(
    faulty: Survey, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], Any]:
    """Files of the uninterrupted run, and how it went."""
    folder = tmp_path_factory.mktemp("reference")
    ended = launcher.run(words(faulty, folder / "p.fits"))
    assert ended.code == 0, ended.err
    return files_of(folder), ended


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_reference_has_two_files_of_forty_tiles(reference: tuple[dict[str, bytes], Any]) -> None:
    assert sorted(reference[0]) == ["p.fits", "p.fits.problems.csv"]
    assert 40 <= sum(bool(re.search(r"rename .*/\.Npix", event)) for event in reference[1].events) <= 60


def test_killed_at_random_moments(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path, record_fault: Record
) -> None:
    """Each kill hits a run of its own, which the same command then ends."""
    files, _ = reference
    pause = 0.01
    whole = launcher.run(words(faulty, tmp_path / "timed" / "p.fits"), pause=pause)
    chance = random.Random(1)
    early = 0
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        while True:
            moment = chance.uniform(0, whole.seconds)
            ended = launcher.run(words(faulty, folder / "p.fits"), pause=pause, kill_after=moment)
            if ended.code == -signal.SIGKILL:
                break
            # A run that was quicker than the timed one ended before its kill: it does not count.
            assert ended.code == 0, ended.err
            shutil.rmtree(folder)
            early += 1
        assert launcher.run(words(faulty, folder / "p.fits")).code == 0
        assert files_of(folder) == files
        record_fault()
    record_fault(0, f"{KILLS} of {KILLS} runs killed at random moments resumed to the same bytes ({early} ended first)")


def test_killed_again_and_again(faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path) -> None:
    """Each life of the run goes on from the death of the one before, until one ends."""
    files, _ = reference
    for life in range(1, 100):
        # Counted from the start of each life, so that every one gets a little further than it needs to begin.
        ended = launcher.run(words(faulty, tmp_path / "p.fits"), at=40 + life, do=signal.SIGKILL)
        if not ended.code:
            break
        assert ended.code == -signal.SIGKILL, ended.err
    assert life > 5
    assert files_of(tmp_path) == files


def check_kill_at(event: int, faulty: Survey, launcher: Launcher, files: dict[str, bytes], folder: Path) -> None:
    ended = launcher.run(words(faulty, folder / "p.fits"), at=event, do=signal.SIGKILL)
    assert ended.code == -signal.SIGKILL, (event, ended.err)
    again = launcher.run(words(faulty, folder / "p.fits"))
    assert again.code == 0, (event, again.err)
    assert files_of(folder) == files, event


def test_killed_at_changes_of_the_disk(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path, record_fault: Record
) -> None:
    """Before a file is opened, written, synced, renamed or removed: the moments at which something is half done."""
    files, whole = reference
    for event in spread(len(whole.events), DISK_CHANGES // 2):
        check_kill_at(event, faulty, launcher, files, tmp_path / str(event))
        record_fault()


@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_killed_at_commit_points(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path, point: str
) -> None:
    files, whole = reference
    pattern, which = COMMIT_POINTS[point]
    events = [number for number, event in enumerate(whole.events, start=1) if re.match(pattern, event)]
    check_kill_at(events[which], faulty, launcher, files, tmp_path)


def test_killed_while_it_replaces_a_table(survey: Survey, launcher: Launcher, tmp_path: Path, galcli: Run) -> None:
    """At no moment is there neither the old table nor the new one."""
    out = tmp_path / "p.fits"
    galcli(*survey.predict("--order", 2, out=out))
    old = out.read_bytes()
    galcli(*survey.predict("--order", 1, out=tmp_path / "new.fits"))
    new = (tmp_path / "new.fits").read_bytes()
    again = survey.predict("--order", 1, "--overwrite", out=out)
    for event in range(1, 500, 17):
        ended = launcher.run(again, at=event, do=signal.SIGKILL)
        assert out.read_bytes() in (old, new)
        if not ended.code:
            break
    assert out.read_bytes() == new


def test_shard_killed_at_any_time_leaves_nothing_half_done(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path, galcli: Run
) -> None:
    files, _ = reference
    for number, event in enumerate((7, 20, 33, 52, 75)):
        out = tmp_path / str(number) / "p.fits"
        ended = launcher.run([*words(faulty, out), "--shard", "0/2"], at=event, do=signal.SIGKILL)
        assert ended.code == -signal.SIGKILL
        assert launcher.run([*words(faulty, out), "--shard", "1/2"]).code == 0
        galcli("merge", RunPaths(out).root, "--max-fail", 50)
        assert files_of(out.parent) == files


def test_kept_tiles_hold_nothing_half_written(faulty: Survey, launcher: Launcher, tmp_path: Path) -> None:
    out = tmp_path / "p.fits"
    for event in (12, 11, 9):
        ended = launcher.run([*words(faulty, out), "--keep-tiles"], at=event, where=".tmp", do=signal.SIGKILL)
        assert ended.code == -signal.SIGKILL, ended.err
    assert list(tmp_path.rglob("*.tmp"))
    assert launcher.run([*words(faulty, out), "--keep-tiles"]).code == 0
    strays = [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp") or "plan.new" in path.name]
    assert not strays


# --- signals that ask politely --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
@pytest.mark.parametrize("event", [30, 60])
def test_asked_to_stop_a_run_ends_in_order_and_can_go_on(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path, name: str, event: int
) -> None:
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip(f"{name} is ignored here, as under nohup")
    files, _ = reference
    out = tmp_path / "p.fits"
    ended = launcher.run(words(faulty, out), at=event, do=getattr(signal, name))
    assert ended.code == 75, ended.err
    assert ended.seconds < 10
    assert "error: stopped by a signal" in ended.err
    assert "hint:" in ended.err
    kept = len(list(RunPaths(out).root.glob("Norder=*/**/Npix=*.fits")))
    assert kept in {int(number) for number in re.findall(r"(\d+) of \d+ tiles are finished", ended.err)}
    assert not out.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    assert launcher.run(words(faulty, out)).code == 0
    assert files_of(tmp_path) == files


def test_asked_to_stop_while_files_are_decoded(launcher: Launcher, tmp_path: Path, galcli: Run) -> None:
    """Threads that read ahead end with the run."""
    survey = make_survey(tmp_path / "survey", 40, loose=True)
    galcli(*survey.predict("--order", 2, out=tmp_path / "whole.fits"))
    words = survey.predict("--order", 2, "--batch-size", 2)
    ended = launcher.run(words, at=4, where="Npix", do=signal.SIGTERM, pause=0.02)
    assert ended.code == 75, ended.err
    assert ended.seconds < 10
    assert launcher.run(words).code == 0
    assert survey.out.read_bytes() == (tmp_path / "whole.fits").read_bytes()


def test_asked_to_stop_while_the_catalogue_is_read(launcher: Launcher, tmp_path: Path) -> None:
    """A text catalogue is copied before anything else is done: the first signal ends that too."""
    survey = make_survey(tmp_path / "survey", 4)
    catalog = tmp_path / "catalog.csv"
    lines = (f"{number},{number % 360},{'0' * 60}\n" for number in range(1_000_000))
    catalog.write_text("id,ra,dec\n" + "".join(lines))
    words = ["predict", str(catalog), *survey.predict()[2:], "--cutouts", str(survey.cutouts)]
    ended = launcher.run(words, at=6, where=str(catalog), reads=True, do=signal.SIGTERM)
    assert ended.code == 75, ended.err
    assert "error: stopped by a signal" in ended.err
    assert len(ended.events) < 10, "it read on"
    assert not list(tmp_path.glob("survey/*.run"))


def test_second_interrupt_ends_at_once(faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path) -> None:
    files, _ = reference
    out = tmp_path / "p.fits"
    ended = launcher.run(words(faulty, out), at=30, times=2, do=signal.SIGINT)
    assert ended.code == 130
    assert launcher.run(words(faulty, out)).code == 0
    assert files_of(tmp_path) == files


def test_signal_during_the_merge_keeps_the_tiles(
    faulty: Survey, launcher: Launcher, reference: Any, tmp_path: Path
) -> None:
    files, _ = reference
    out = tmp_path / "p.fits"
    ended = launcher.run(words(faulty, out), at=1, where="/merge/", do=signal.SIGTERM)
    assert ended.code == 75, ended.err
    assert not out.exists()
    assert launcher.run(words(faulty, out)).code == 0
    assert files_of(tmp_path) == files
