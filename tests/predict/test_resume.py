"""Runs that stop and go on, runs that share the work, and runs that must not go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.predict.claims import claim, run_lock
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from tests.average import write_average
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, noise, write_catalog, write_stacks

Run = Callable[..., Any]


@pytest.fixture
def halted(survey: Survey, galcli: Run) -> Survey:
    """A survey whose run was stopped in the middle: some tiles are there, others not."""
    halt(survey, galcli)
    return survey


def halt(survey: Survey, galcli: Run, *more: object, tiles: int = 3) -> None:
    """Stop a run after a few tiles."""
    import galcli.predict.run as run

    made = []
    make = run.run_tile

    def stop_soon(*args: Any) -> Any:
        if len(made) == tiles:
            signal.raise_signal(signal.SIGTERM)
        made.append(1)
        return make(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_tile", stop_soon)
        galcli(*survey.predict("--order", 3, *more), code=75)
    assert len(tiles_of(survey)) == tiles


def tiles_of(survey: Survey) -> list[Path]:
    return sorted(RunPaths(survey.out).root.glob("Norder=*/**/*.fits"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, galcli: Run) -> bytes:
    """What an uninterrupted run of the fixture survey writes."""
    survey = make_survey(tmp_path_factory.mktemp("reference") / "survey")
    galcli(*survey.predict("--order", 3))
    return survey.out.read_bytes()


def test_resumed_run_does_not_repeat_tiles_and_gives_the_same_bytes(
    halted: Survey, reference: bytes, galcli: Run
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiles_of(halted)}
    result = galcli(*halted.predict("--order", 3, "--keep-tiles", "--batch-size", 5))
    assert "going on with an unfinished run" in result.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert halted.out.read_bytes() == reference


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "foreign"])
def test_damaged_tile_is_made_again(halted: Survey, reference: bytes, galcli: Run, damage: str) -> None:
    path = tiles_of(halted)[1]
    raw = bytearray(path.read_bytes())
    if damage == "bit":
        raw[-3000] ^= 1
    path.write_bytes({"cut": raw[:-2880], "empty": b"", "foreign": b"something else"}.get(damage, raw))
    galcli(*halted.predict("--order", 3))
    assert halted.out.read_bytes() == reference


def change_catalog(survey: Survey) -> list[object]:
    ra = survey.ra.copy()
    ra[7] += 1e-9
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=ra, DEC=survey.dec)
    return []


def change_model(survey: Survey) -> list[object]:
    write_average(survey.model, 16, 0.262, version="1.1")
    return []


def change_cutouts(survey: Survey) -> list[object]:
    pixels = survey.pixels.copy()
    pixels[5, 1, 2, 3] += 1
    write_stacks(survey.cutouts, survey.ids, survey.ra, survey.dec, pixels)
    return []


CHANGES: dict[str, tuple[Callable[[Survey], list[object]], str]] = {
    "catalogue": (change_catalog, "catalog.sha256"),
    "model": (change_model, "models.0.sha256"),
    "cutouts": (change_cutouts, "cutouts.files.Norder=2"),
    "columns": (lambda _: ["--columns", "RA"], "columns"),
    "rows": (lambda _: ["--limit", 40], "catalog.rows: 48 -> 40"),
    "order": (lambda _: ["--order", 2], "order: 3 -> 2"),
    "more models": (lambda survey: ["--model", survey.model], "models.1.name: (absent) -> average"),
    "zero point": (lambda _: ["--zeropoint", 23], "overrides.zeropoint: (absent) -> 23.0"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_run_is_refused_with_the_difference(halted: Survey, galcli: Run, what: str) -> None:
    change, difference = CHANGES[what]
    before = tiles_of(halted)
    words = halted.predict("--order", 3, *change(halted))
    result = galcli(*words, code=4)
    assert difference in result.error
    assert "--restart" in result.hint
    assert tiles_of(halted) == before
    galcli(*words, "--restart")
    assert galcli("validate", halted.out).code == 0


@pytest.mark.parametrize("what", CHANGES)
def test_changed_run_does_not_replace_a_table(survey: Survey, galcli: Run, what: str) -> None:
    galcli(*survey.predict("--order", 3))
    before = survey.out.read_bytes()
    change, difference = CHANGES[what]
    words = survey.predict("--order", 3, *change(survey))
    result = galcli(*words, code=4)
    assert difference in result.error
    assert "--overwrite" in result.hint
    assert survey.out.read_bytes() == before
    assert not RunPaths(survey.out).root.exists()
    galcli(*words, "--overwrite")
    assert survey.out.read_bytes() != before


def test_finished_run_says_so_and_touches_nothing(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    before = survey.out.stat()
    result = galcli(*survey.predict("--batch-size", 3))
    assert "nothing to do" in result.err
    assert survey.out.stat() == before
    assert not RunPaths(survey.out).root.exists()


def test_refusal_leaves_the_finished_run_as_it_was(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    galcli(*survey.predict("--limit", 5), code=4)
    assert "complete" in galcli("status", survey.out).out
    assert "nothing to do" in galcli(*survey.predict()).err


def test_damaged_table_is_not_called_complete(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    whole = survey.out.read_bytes()
    raw = bytearray(whole)
    raw[whole.find(np.float32(survey.means[0, 0]).astype(">f4").tobytes())] ^= 64
    for broken in (raw, whole[:-2880]):
        survey.out.write_bytes(broken)
        result = galcli(*survey.predict(), code=6)
        assert "--overwrite" in result.hint
    galcli(*survey.predict("--overwrite"))
    assert survey.out.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"my thesis", b"SIMPLE  =                    T" + b" " * 2850])
def test_foreign_file_is_never_touched(survey: Survey, galcli: Run, content: bytes) -> None:
    survey.out.write_bytes(content)
    galcli(*survey.predict(), code=6)
    assert survey.out.read_bytes() == content
    assert not RunPaths(survey.out).root.exists()
    galcli(*survey.predict("--overwrite"))
    assert galcli("validate", survey.out).code == 0


def test_catalogue_is_never_the_output(survey: Survey, galcli: Run) -> None:
    before = survey.catalog.read_bytes()
    link = survey.root / "link.fits"
    link.symlink_to(survey.catalog)
    for out in (survey.catalog, link, survey.root / "cutouts" / ".." / "catalog.fits"):
        galcli(*survey.predict("--overwrite", out=out), code=2)
    assert survey.catalog.read_bytes() == before


def test_overwritten_table_is_there_until_the_new_one_is(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict("--order", 3))
    before = survey.out.read_bytes()
    change_cutouts(survey)
    halt(survey, galcli, "--overwrite")
    assert survey.out.read_bytes() == before
    galcli(*survey.predict("--order", 3, "--overwrite"))
    assert survey.out.read_bytes() != before
    assert galcli("validate", survey.out).code == 0


def test_kept_tiles_are_kept(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict("--order", 3, "--keep-tiles"))
    tiles = tiles_of(survey)
    assert tiles
    assert "nothing to do" in galcli(*survey.predict("--order", 3)).err
    assert tiles_of(survey) == tiles
    galcli("validate", *tiles[:1], code=4)  # a tile has no MODELS table: it is part of a table, not one


def test_problem_list_survives_a_kill_after_the_merge(
    survey: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is there when the table is, because a table that is complete is not made again."""
    write_stacks(survey.cutouts, survey.ids[1:], survey.ra[1:], survey.dec[1:], survey.pixels[1:])
    from galcli.tables.atomic import AtomicFile

    commit = AtomicFile.commit

    def die_after(self: AtomicFile) -> None:
        commit(self)
        if self.path == survey.out:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AtomicFile, "commit", die_after)
        galcli(*survey.predict(), code=130)
    assert "nothing to do" in galcli(*survey.predict()).err
    assert "not in the stack" in RunPaths(survey.out).problems.read_text()


# --- several processes --------------------------------------------------------------------------------------------------


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


def test_two_shards_at_once(survey: Survey, reference: bytes, galcli: Run, launcher: Launcher) -> None:
    words = survey.predict("--order", 3, "--shard")
    runs = [launcher.start([*words, f"{index}/2"], pause=0.01) for index in range(2)]
    assert [launcher.wait(run).code for run in runs] == [0, 0]
    galcli("merge", RunPaths(survey.out).root)
    assert survey.out.read_bytes() == reference


def test_shards_take_their_own_tiles_first(survey: Survey, galcli: Run) -> None:
    import galcli.predict.run as run

    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_tile", lambda plan, engine, tile: made.append(tile.path))
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
    import fcntl

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


def test_stacks_may_be_rewritten_with_the_same_pixels(halted: Survey, reference: bytes, galcli: Run) -> None:
    write_stacks(halted.cutouts, halted.ids, halted.ra, halted.dec, halted.pixels)
    galcli(*halted.predict("--order", 3))
    assert halted.out.read_bytes() == reference
    np.testing.assert_array_equal(halted.pixels, noise(48))


def test_tiles_of_a_run_whose_record_is_gone_are_not_taken_over(survey: Survey, galcli: Run) -> None:
    """Killed while it removed its folder, and begun anew with another model: the old tiles are no longer right."""
    galcli(*survey.predict("--order", 3, "--keep-tiles"))
    RunPaths(survey.out).record.unlink()
    write_average(survey.model, 8)
    galcli(*survey.predict("--order", 3, "--overwrite"))
    after = survey.out.read_bytes()
    galcli(*survey.predict("--order", 3, "--overwrite", "--restart"))
    assert survey.out.read_bytes() == after
