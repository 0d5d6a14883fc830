"""Workers that die, stumble, lag or fill the disk: the other tiles and the bytes of the output do not notice."""

from __future__ import annotations

import csv
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from astropy.table import Table

from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.process import work_apart
from galcli.predict.worker import Assignment
from tests.survey import Survey, make_survey, read_predictions
from tests.traps import FAULTY, FULL, KILLED, Running, Trap, eventually, running, slow, until

Run = Callable[..., Any]
POOL = ["--workers", "3"]
SITE = ["--site", "local", "--workers", "4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> Survey:
    """A survey with the output of one process, and its plan."""
    survey = make_survey(tmp_path_factory.mktemp("whole") / "survey", 64)
    galcli(*survey.predict("--order", 3, "--keep-tiles"))
    return survey


@pytest.fixture(scope="module")
def victim(whole: Survey) -> Any:
    """A tile in the middle of the run."""
    tiles = load_plan(RunPaths(whole.out)).tiles
    assert len(tiles) > 12
    return tiles[len(tiles) // 2]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "p.fits"


def words(survey: Survey, out: Path, *more: str) -> list[str]:
    return survey.predict("--order", 3, *more, out=out)


def claim_of(tile: Any) -> str:
    """What a worker opens when it begins with a tile."""
    return f"claims/{tile.path.replace('/', '_')}"


def run(words: list[str], trap: Trap, code: int = 0) -> str:
    with running(words, trap) as process:
        found, err = process.end()
        assert found == code, err
        assert not process.processes()
    assert "Traceback" not in err or "--debug" in words
    return err


@pytest.mark.parametrize("crew", [POOL, SITE], ids=["pool", "site"])
def test_worker_killed_in_the_middle_of_a_tile(
    whole: Survey, victim: Any, out: Path, tmp_path: Path, crew: list[str]
) -> None:
    trap = Trap.set(tmp_path / "trap", f"/.Npix={victim.pix}.", KILLED, times=1)  # predicted, and half written
    err = run(words(whole, out, *crew), trap)
    assert f"{victim.path}: worker was killed (try 1 of 3)" in err
    assert err.count("worker was killed") == 1
    assert trap.sprung == 2
    assert out.read_bytes() == whole.out.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path != trap.folder] == ["p.fits"]


def test_worker_of_a_site_killed_while_its_process_is_in_the_middle_of_a_tile(
    whole: Survey, victim: Any, out: Path, tmp_path: Path
) -> None:
    """Parsl's worker dies; the process that makes its tiles must not keep the claim."""
    # By then the worker has sent off the answer before, which else might leave Parsl's queue locked.
    orphaned = "time.sleep(0.5); os.kill(os.getppid(), 9); time.sleep(100)"
    trap = Trap.set(tmp_path / "trap", f"/.Npix={victim.pix}.", orphaned, times=1)
    err = run(words(whole, out, *SITE), trap)
    assert err.count("(try 1 of 3)") == 1
    assert f"{victim.path}: worker was killed (try 1 of 3)" in err
    assert trap.sprung == 2
    assert out.read_bytes() == whole.out.read_bytes()


@pytest.fixture
def worker() -> Iterator[ProcessPoolExecutor]:
    """A process that has its tiles made by another one, as a worker of a site; with the block, both end in order."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def assignment(whole: Survey) -> Assignment:
    options = PredictOptions((whole.catalog,), whole.out, models=(str(whole.model),), device="cpu", threads=1)
    return Assignment(options, str(whole.root), 1)


def test_process_that_dies_is_replaced(
    victim: Any, tmp_path: Path, worker: ProcessPoolExecutor, assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = Trap.set(tmp_path / "trap", claim_of(victim), KILLED, times=1)
    monkeypatch.setenv("PYTHONPATH", trap.environment["PYTHONPATH"])
    with pytest.raises(BrokenExecutor):
        worker.submit(work_apart, assignment, victim).result()
    assert worker.submit(work_apart, assignment, victim).result().tile == victim
    assert trap.sprung == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word to orphans")
def test_process_that_hangs_in_c_code_dies_with_its_parent(
    victim: Any, tmp_path: Path, worker: ProcessPoolExecutor, assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's lock is held, so that no thread of it can see anything."""
    trap = Trap.set(tmp_path / "trap", claim_of(victim), "import ctypes; ctypes.PyDLL(None).sleep(100)")
    monkeypatch.setenv("PYTHONPATH", trap.environment["PYTHONPATH"])
    tile = worker.submit(work_apart, assignment, victim)
    eventually(lambda: trap.sprung, 60)
    [parent] = map(psutil.Process, worker._processes)
    [hanging] = [child for child in parent.children() if "resource_tracker" not in " ".join(child.cmdline())]
    parent.kill()
    with pytest.raises(BrokenExecutor):
        tile.result(10)
    eventually(lambda: not hanging.is_running() or hanging.status() == psutil.STATUS_ZOMBIE, 10)


@pytest.mark.parametrize(("crew", "more"), [(POOL, []), (SITE, ["--overwrite"])], ids=["pool", "site"])
def test_tile_that_kills_every_worker_is_given_up(
    whole: Survey, victim: Any, out: Path, tmp_path: Path, galcli: Run, crew: list[str], more: list[str]
) -> None:
    trap = Trap.set(tmp_path / "trap", claim_of(victim), KILLED)
    err = run(words(whole, out, *crew, "--max-fail", "100"), trap, code=3)
    assert trap.sprung == 3
    assert "1 tile given up" in err
    plan = load_plan(RunPaths(whole.out))
    lost = plan.rows[victim.start : victim.stop]
    rows, expected = read_predictions(out), read_predictions(whole.out)
    others = np.setdiff1d(np.arange(len(rows)), lost)
    assert rows[others].tobytes() == expected[others].tobytes()
    assert (rows["STATUS"][lost] == 16).all()
    assert (rows["AVG_STATUS"][lost] == 8).all()
    assert np.isnan(rows["AVG_FLUX"][lost]).all()
    assert (rows["OBJECT_ID"] == expected["OBJECT_ID"]).all()
    reasons = list(csv.reader(RunPaths(out).problems.read_text().splitlines()))[1:]
    assert [int(row) for row, _, _ in reasons] == lost.tolist()
    assert {reason for _, _, reason in reasons} == {f"tile {victim.path} given up after 3 tries: worker was killed"}
    galcli("validate", out, "--catalog", whole.catalog)
    kept = {tile: RunPaths(out).tile(tile).stat().st_ino for tile in plan.tiles if tile != victim}
    again = galcli(*words(whole, out, "--keep-tiles", *more))  # the cause is gone, and only this tile is made
    assert "going on with an unfinished run" in again.err
    assert kept == {tile: RunPaths(out).tile(tile).stat().st_ino for tile in kept}
    assert out.read_bytes() == whole.out.read_bytes()
    assert not RunPaths(out).problems.exists()
    assert not RunPaths(out).gave_up


def test_tile_that_is_slow_delays_no_other(whole: Survey, out: Path, tmp_path: Path) -> None:
    tiles = load_plan(RunPaths(whole.out)).tiles
    waiting = until(f"{RunPaths(out).root}/Norder=*/**/Npix=*.fits", len(tiles) - 1)
    trap = Trap.set(tmp_path / "trap", claim_of(tiles[0]), waiting)
    run(words(whole, out, *POOL), trap)
    assert trap.sprung == 1
    assert out.read_bytes() == whole.out.read_bytes()


def test_fault_in_a_tile_is_tried_again_and_explained(
    whole: Survey, victim: Any, out: Path, tmp_path: Path, galcli: Run
) -> None:
    trap = Trap.set(tmp_path / "trap", claim_of(victim), FAULTY)
    err = run(words(whole, out, *POOL), trap, code=3)
    assert trap.sprung == 3
    assert "ZeroDivisionError: a fault of this tile (try 3 of 3)" in err
    assert "ZeroDivisionError" in RunPaths(out).problems.read_text()
    assert "Traceback" in RunPaths(out).reason(victim).read_text()
    shutil.rmtree(RunPaths(out).root)
    assert "1 tile given up" in galcli(*words(whole, out), code=3).error  # also where there is nothing left to do
    run(words(whole, out, *POOL, "--overwrite"), trap=Trap.set(tmp_path / "gone", "nowhere", FAULTY))
    assert out.read_bytes() == whole.out.read_bytes()
    assert not RunPaths(out).problems.exists()
    trap = Trap.set(tmp_path / "again", claim_of(victim), FAULTY, times=1)
    err = run(words(whole, tmp_path / "again.fits", *POOL, "--debug"), trap)
    assert "Traceback" in err
    assert (tmp_path / "again.fits").read_bytes() == whole.out.read_bytes()


def test_given_up_tile_of_a_shard_is_reported_by_the_merge(
    whole: Survey, victim: Any, out: Path, tmp_path: Path, galcli: Run
) -> None:
    trap = Trap.set(tmp_path / "trap", claim_of(victim), KILLED)
    run(words(whole, out, *POOL, "--shard", "0/1"), trap)
    assert "given up" in galcli("merge", RunPaths(out).root, "--json", code=3).error
    assert out.exists()
    galcli(*words(whole, out, "--shard", "0/1"))  # the cause is gone
    galcli("merge", RunPaths(out).root, "--overwrite")
    assert out.read_bytes() == whole.out.read_bytes()
    assert not RunPaths(out).root.exists()


@pytest.mark.parametrize("rows", ["many", "two and a bad one"])
@pytest.mark.parametrize("action", [KILLED, FAULTY], ids=["killed", "fault"])
def test_run_in_which_no_tile_works_ends(whole: Survey, out: Path, tmp_path: Path, action: str, rows: str) -> None:
    """It is not the tiles' fault then, and a table without predictions is no result; bad coordinates need no model."""
    given = words(whole, out, *POOL)
    if rows == "two and a bad one":
        table = Table.read(whole.catalog)[:3]
        table["DEC"][2] = 91
        table.write(tmp_path / "bad.fits")
        place = given.index(str(whole.catalog))
        given[place : place + 1] = [str(tmp_path / "bad.fits"), "--cutouts", str(whole.cutouts)]
    trap = Trap.set(tmp_path / "trap", "claims/Norder", action)
    err = run(given, trap, code=5 if action == KILLED else 1)
    assert ("error: worker after worker was killed" if action == KILLED else "bug: ZeroDivisionError") in err
    assert trap.sprung < 20
    assert not out.exists()


def test_run_that_is_made_but_for_what_no_worker_can_make_is_finished(
    whole: Survey, out: Path, tmp_path: Path, galcli: Run
) -> None:
    """As when it was stopped once it had given them up: more such tiles than workers."""
    galcli(*words(whole, out, "--keep-tiles"))
    out.unlink()
    for tile in load_plan(RunPaths(out)).tiles[:3]:
        RunPaths(out).tile(tile).unlink()
    trap = Trap.set(tmp_path / "trap", "claims/", FAULTY)
    err = run(words(whole, out, "--workers", "2"), trap, code=3)
    assert "3 tiles given up" in err
    assert trap.sprung == 9


def test_full_disk_in_a_worker_ends_the_run(whole: Survey, out: Path, tmp_path: Path, galcli: Run) -> None:
    trap = Trap.set(tmp_path / "trap", "/.Npix=", FULL)
    err = run(words(whole, out, *POOL), trap, code=6)
    assert "No space left on device" in err
    assert "hint:" in err
    galcli(*words(whole, out))
    assert out.read_bytes() == whole.out.read_bytes()


def begun(process: Running, out: Path) -> bool:
    """Whether some tiles are finished."""
    assert process.process.poll() is None, process.end()
    return len(list(RunPaths(out).root.glob("Norder=*/**/Npix=*.fits"))) >= 2


@pytest.mark.parametrize(
    ("crew", "number"),
    [
        (POOL, signal.SIGTERM),
        (POOL, signal.SIGINT),
        (POOL, signal.SIGUSR1),
        (SITE, signal.SIGTERM),
        (SITE, signal.SIGINT),
    ],
)
def test_asked_to_stop_all_workers_end(
    whole: Survey, out: Path, tmp_path: Path, galcli: Run, crew: list[str], number: int
) -> None:
    """As from a terminal or a batch system: all processes of the group get the signal."""
    trap = Trap.set(tmp_path / "trap", "claims/", slow(0.7))
    with running(words(whole, out, *crew), trap) as process:
        eventually(lambda: begun(process, out), 60)
        process.signal(number, group=True)
        code, err = process.end()
        assert code == 75, err
        assert "error: stopped by a signal" in err
        assert "was killed" not in err or crew == SITE, "the tiles are not to blame"
        assert "Traceback" not in err
        eventually(lambda: not process.processes(), 5)
    assert not out.exists()
    galcli(*words(whole, out))
    assert out.read_bytes() == whole.out.read_bytes()


def test_killed_driver_leaves_no_worker(whole: Survey, out: Path, tmp_path: Path, galcli: Run) -> None:
    trap = Trap.set(tmp_path / "trap", "claims/", slow(0.7))
    with running(words(whole, out, *POOL), trap) as process:
        eventually(lambda: begun(process, out), 60)
        assert len(process.processes()) > 3
        process.signal(signal.SIGKILL, group=False)
        eventually(lambda: not process.processes(), 5)
    galcli(*words(whole, out))
    assert out.read_bytes() == whole.out.read_bytes()


@pytest.mark.slow
def test_killed_driver_leaves_no_site(whole: Survey, out: Path, tmp_path: Path) -> None:
    """Parsl's nodes wait a minute for a sign of life."""
    trap = Trap.set(tmp_path / "trap", "claims/", slow(0.7))
    with running(words(whole, out, *SITE), trap) as process:
        eventually(lambda: begun(process, out), 60)
        process.signal(signal.SIGKILL, group=False)
        eventually(lambda: not process.processes(), 100)


def test_site_whose_interchange_dies_ends_the_run(whole: Survey, out: Path, tmp_path: Path) -> None:
    trap = Trap.set(tmp_path / "trap", "claims/", slow(0.7))
    with running(words(whole, out, *SITE), trap) as process:
        eventually(lambda: begun(process, out), 60)
        [between] = [one for one in process.processes() if "interchange" in one.cmdline()[0]]
        between.kill()
        code, err = process.end()
        assert code == 5, err
        assert "interchange" in err
        assert "Traceback" not in err
        eventually(lambda: not process.processes(), 10)
