"""Runs that stop and go on, runs that share the work, and runs that must not go on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.predict.paths import RunPaths
from tests.average import write_average
from tests.predict.conftest import halt, tiles_of
from tests.survey import Survey, make_survey, noise, write_catalog, write_stacks

Run = Callable[..., Any]


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


def test_changed_unit_of_a_copied_column_is_another_table(survey: Survey, galcli: Run) -> None:
    columns = {"OBJECT_ID": survey.ids, "RA": survey.ra, "DEC": survey.dec, "SIZE": survey.ra}
    write_catalog(survey.catalog, {"SIZE": "arcsec"}, **columns)
    words = survey.predict("--columns", "SIZE")
    galcli(*words)
    write_catalog(survey.catalog, {"SIZE": "pix"}, **columns)
    assert "copied.SIZE.unit: arcsec -> pix" in galcli(*words, code=4).error


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
    galcli("validate", *tiles)


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


@pytest.mark.parametrize("name", ["table.json", "tiles.json", "catalog.npy", "rows.npy"])
def test_damaged_plan_is_refused_and_can_be_restarted(halted: Survey, reference: bytes, galcli: Run, name: str) -> None:
    path = RunPaths(halted.out).plan / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = halted.predict("--order", 3)
    assert "--restart" in galcli(*words, code=4).hint
    assert "damaged" in galcli("status", halted.out, code=4).error
    assert "damaged" in galcli("merge", RunPaths(halted.out).root, code=4).error
    galcli(*words, "--restart")
    assert halted.out.read_bytes() == reference


def test_run_in_a_folder_whose_name_is_no_utf8(tmp_path: Path, galcli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    survey = make_survey(tmp_path / "plain", 6)
    survey.root.rename(folder)
    survey = dataclasses.replace(survey, root=folder)
    monkeypatch.chdir(folder)
    galcli(*survey.predict("--shard", "0/1"))
    galcli("status", survey.out)
    galcli(*survey.predict())
    galcli("validate", survey.out)
