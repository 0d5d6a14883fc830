"""Several processes on one output: shards share the work, anybody else is refused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from galcli import interrupts
from galcli.errors import Interrupted
from galcli.predict.claims import claim, run_lock, waiting_lock
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.tile import TileReport
from galcli.sky.tiles import Tile
from tests.launcher import Launcher
from tests.predict.conftest import tiles_of
from tests.survey import Survey

Run = Callable[..., Any]


def test_second_run_of_the_same_output_is_refused(
    survey: Survey, reference: bytes, galcli: Run, launcher: Launcher
) -> None:
    words = survey.predict("--order", 3)
    first = launcher.start(words, at=9, where="Npix", do=signal.SIGSTOP)
    assert launcher.wait(first).stopped
    result = galcli(*words, code=6)
    assert "another galcli" in result.error
    assert "another galcli" in galcli(*survey.predict("--shard", "0/2", "--order", 3), code=6).error
    os.killpg(first["pid"], signal.SIGCONT)
    assert launcher.wait(first).code == 0
    assert survey.out.read_bytes() == reference


def test_table_finished_while_the_second_run_began_is_not_made_again(survey: Survey, galcli: Run) -> None:
    import galcli.predict.run as run

    galcli(*survey.predict(out=survey.root / "other.fits"))
    opened = run.open_inputs

    def finish_meanwhile(*options: Any) -> Any:
        (survey.root / "other.fits").rename(survey.out)
        return opened(*options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "open_inputs", finish_meanwhile)
        assert "nothing to do" in galcli(*survey.predict()).err


@pytest.mark.parametrize("count", [1, 3])
def test_shards_one_after_the_other_and_merge_equal_one_run(
    survey: Survey, reference: bytes, galcli: Run, count: int
) -> None:
    run = RunPaths(survey.out).root
    for index in range(count):
        result = galcli(*survey.predict("--order", 3, "--shard", f"{index}/{count}"))
        assert not survey.out.exists()
    assert "galcli merge" in result.err
    galcli("merge", run)
    assert survey.out.read_bytes() == reference
    assert not run.exists()


def test_shard_that_comes_when_all_is_done_leaves_nothing_behind(survey: Survey, galcli: Run) -> None:
    run = RunPaths(survey.out).root
    galcli(*survey.predict("--order", 3))
    late = survey.predict("--order", 3, "--shard", "1/2")
    assert "nothing to do" in galcli(*late).err
    assert not run.exists()
    galcli(*survey.predict("--order", 3, "--overwrite", "--keep-tiles"))
    galcli(*late)
    assert list(run.glob("Norder=3/**/Npix=*.fits")), "tiles that were to be kept are kept"
    galcli(*survey.predict("--order", 3, "--overwrite"))
    galcli(*late)
    with run_lock(RunPaths(survey.out).lock, shared=True):  # another shard looks at the folder
        galcli(*late)
        assert run.exists()


def test_status_of_a_run_that_nobody_works_on(halted: Survey, galcli: Run) -> None:
    tiles = sorted(RunPaths(halted.out).root.glob("Norder=*/**/Npix=*.fits"))
    now = time.time()
    for number, tile in enumerate(tiles):
        os.utime(tile, (now, now - 7200 + number))
    state = json.loads(galcli("status", halted.out, "--json").out)
    left, rate = state["rows"] - state["rows_done"], state["rows_per_second"]
    assert state["seconds_left"] == pytest.approx(left / rate)
    assert state["idle_seconds"] == pytest.approx(7200 - len(tiles), abs=60)
    assert "the last tile was finished 2.0 h ago" in galcli("status", halted.out).out


def test_shard_leaves_tiles_of_a_living_one_and_takes_those_of_a_dead_one(
    survey: Survey, reference: bytes, galcli: Run, launcher: Launcher
) -> None:
    words = survey.predict("--order", 3, "--shard")
    first = launcher.start([*words, "0/2"], at=3, where="Npix", do=signal.SIGSTOP)  # while it holds a claim
    assert launcher.wait(first).stopped
    result = galcli(*words, "1/2")
    assert "1 of " in result.err
    assert "another galcli" in galcli("merge", RunPaths(survey.out).root, code=6).error
    os.killpg(first["pid"], signal.SIGKILL)
    assert launcher.wait(first).code == -signal.SIGKILL
    refusal = galcli("merge", RunPaths(survey.out).root, code=4)
    assert "1 of " in refusal.error
    assert "Norder=3" in refusal.error
    assert not survey.out.exists()
    galcli(*words, "1/2")
    galcli("merge", RunPaths(survey.out).root)
    assert survey.out.read_bytes() == reference


def test_eight_shards_at_once(survey: Survey, reference: bytes, galcli: Run, launcher: Launcher) -> None:
    """All begin with nothing: one plans, all find the plan, and each tile is made once."""
    words = survey.predict("--order", 3, "--shard")
    runs = [launcher.start([*words, f"{index}/8"], pause=0.01) for index in range(8)]
    ended = [launcher.wait(run) for run in runs]
    assert [run.code for run in ended] == [0] * 8
    made = [event for run in ended for event in run.events if event.startswith("os.rename") and "/.Npix=" in event]
    assert len(made) == len(tiles_of(survey)) == len(load_plan(RunPaths(survey.out)).tiles)
    assert sum(bool(run.events) and any("/.Npix=" in event for event in run.events) for run in ended) > 1
    galcli("merge", RunPaths(survey.out).root)
    assert survey.out.read_bytes() == reference


def test_shards_take_their_own_tiles_first(survey: Survey, galcli: Run) -> None:
    import galcli.predict.worker as worker

    made: list[str] = []

    def note_only(plan: Any, engine: Any, tile: Tile) -> TileReport:
        made.append(tile.path)
        return TileReport(tile)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_tile", note_only)
        galcli(*survey.predict("--order", 3, "--shard", "1/3"))
    tiles = [tile.path for tile in load_plan(RunPaths(survey.out)).tiles]
    own = tiles[1::3]
    assert made[: len(own)] == own
    assert sorted(made) == sorted(tiles)


@pytest.mark.parametrize("shard", ["3/3", "-1/3", "0/0", "1", "a/b", "1/2/3", "", "0/-1", "1.0/2"])
def test_impossible_shard_is_a_usage_error(survey: Survey, galcli: Run, shard: str) -> None:
    galcli(*survey.predict(f"--shard={shard}"), code=2)
    assert not RunPaths(survey.out).root.exists()


def test_shard_does_not_restart_the_work_of_others(halted: Survey, galcli: Run) -> None:
    before = tiles_of(halted)
    galcli(*halted.predict("--order", 3, "--shard", "0/2", "--restart"), code=2)
    assert tiles_of(halted) == before


def test_merge_refuses_what_is_no_run(survey: Survey, galcli: Run, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none.run", survey.out, Path()):
        galcli("merge", folder, code=4)
    assert not (tmp_path / "none.run").exists()


def test_merge_does_not_overwrite_unasked(survey: Survey, galcli: Run, reference: bytes, tmp_path: Path) -> None:
    galcli(*survey.predict("--order", 3, "--shard", "0/1"))
    survey.out.write_bytes(b"precious")
    run = RunPaths(survey.out).root
    galcli("merge", run, code=6)
    assert survey.out.read_bytes() == b"precious"
    galcli("merge", run, "-o", tmp_path / "other.fits", "--keep-tiles")
    assert (tmp_path / "other.fits").read_bytes() == reference
    done = json.loads(galcli("merge", run, "--overwrite", "--json").out.splitlines()[-1])
    assert done["event"] == "done"
    assert done["counts"]["rows"] == 48
    assert survey.out.read_bytes() == reference


def test_lock_of_a_run_that_was_removed_meanwhile_is_not_taken(tmp_path: Path) -> None:
    """Who opened the lock file before the other run ended must lock the file that is there now."""
    path = tmp_path / "x.run" / "lock"
    flock = fcntl.flock
    removed = []

    def remove_first(handle: int, how: int) -> None:
        if not removed:
            path.unlink()
            removed.append(1)
        flock(handle, how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_first)
        with run_lock(path, shared=False):
            assert path.exists()
            other = os.open(path, os.O_RDWR)
            with pytest.raises(BlockingIOError):
                flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)


def test_claim_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "tile.lock"
    with claim(path) as first, claim(path) as second:
        assert (first, second) == (True, False)
    with claim(path) as again:
        assert again


@pytest.mark.parametrize("hold", [waiting_lock, partial(claim, wait=True)], ids=["lock", "claim"])
def test_signal_ends_the_wait_for_a_lock(tmp_path: Path, hold: Callable[..., Any]) -> None:
    """Long before whoever holds it has ended."""
    holder = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    asking, ending = Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]), Timer(10, os.close, [holder])
    with interrupts.graceful():
        asking.start()
        ending.start()
        with pytest.raises(Interrupted):
            hold(tmp_path / "lock").__enter__()
    ending.cancel()
    os.close(holder)
