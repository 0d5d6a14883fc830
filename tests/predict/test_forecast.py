"""What a run will take, what it is doing, and how a catalogue is cut."""

from __future__ import annotations

import gc
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from galcli.cutouts import parallel
from galcli.cutouts.batch import CutoutRequest, PixelBatch
from galcli.cutouts.coadds import CoaddSource
from galcli.predict.engine import BASE_GB, CUTOUT_GB, IMAGE_GB, batches_gb
from galcli.predict.forecast import forecast
from galcli.predict.inputs import open_inputs
from galcli.predict.merge import read_tile
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.stream import prefetch
from galcli.sky import healpix
from tests.cutouts.sky_images import header, write
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, read_predictions, write_catalog
from tests.tiny_models import write_corners

Run = Callable[..., Any]


def plan_words(survey: Survey, *more: object) -> list[str]:
    words = ["plan", survey.catalog, "--model", survey.model, "--threads", 1, "--device", "cpu", *more]
    return [str(word) for word in words]


def test_plan_tells_the_truth(survey: Survey, galcli: Run) -> None:
    corners = write_corners(survey.root / "corners.onnx")
    expected = json.loads(galcli(*plan_words(survey, "--order", 2, "--model", corners, "--json")).out)
    galcli(*survey.predict("--order", 2, "--model", corners, "--keep-tiles"))
    plan = load_plan(RunPaths(survey.out))
    rows = read_predictions(survey.out)
    assert expected["rows"] == 48 == len(rows)
    assert expected["tiles"] == len(plan.tiles) == len(np.unique(healpix.pixel(survey.ra, survey.dec, 2)))
    assert expected["tiles_by_order"] == {"2": len(plan.tiles)}
    assert expected["largest_tile"] == max(map(len, plan.tiles))
    assert expected["models"] == ["average", "corners"]
    assert expected["probed"] == expected["found"] == 48
    assert expected["rows_per_second"] > 0
    assert 0.1 < expected["memory_gb"] < 4
    with fits.open(survey.out) as hdus:
        assert expected["output_mb"] == pytest.approx(sum(hdu.data.nbytes for hdu in hdus[1:]) / 1e6)


@pytest.mark.parametrize("command", [["plan"], ["predict", "--dry-run"]])
def test_nothing_is_written(survey: Survey, galcli: Run, tmp_path: Path, monkeypatch: Any, command: list[str]) -> None:
    monkeypatch.chdir(survey.root)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = sorted(survey.root.rglob("*"))
    result = galcli(*command, "catalog.fits", "--model", survey.model, "--threads", 1)
    assert "48 rows in " in result.out
    assert sorted(survey.root.rglob("*")) == before
    assert not list(scratch.iterdir())


def test_plan_counts_what_cannot_be_predicted(tmp_path: Path, galcli: Run) -> None:
    survey = make_survey(tmp_path / "s", 10)
    ra = survey.ra.copy()
    ra[:3] = np.nan
    write_catalog(survey.catalog, OBJECT_ID=survey.ids - (np.arange(10) == 9), RA=ra, DEC=survey.dec)
    expected = json.loads(galcli(*plan_words(survey, "--json")).out)
    assert (expected["bad_coordinates"], expected["probed"], expected["found"]) == (3, 7, 6)
    write_catalog(survey.catalog, OBJECT_ID=survey.ids, RA=ra * np.nan, DEC=survey.dec)
    assert "10 rows have bad coordinates" in galcli(*plan_words(survey)).out


def test_plan_of_nothing(survey: Survey, galcli: Run) -> None:
    write_catalog(survey.catalog, OBJECT_ID=survey.ids[:0], RA=survey.ra[:0], DEC=survey.dec[:0])
    expected = json.loads(galcli(*plan_words(survey, "--json")).out)
    assert (expected["rows"], expected["tiles"], expected["seconds"]) == (0, 0, 0)


@pytest.mark.parametrize("order", [0, 3, 11, 29])
def test_order_of_the_tiles(survey: Survey, galcli: Run, order: int) -> None:
    galcli(*survey.predict("--order", order, "--keep-tiles"))
    plan = load_plan(RunPaths(survey.out))
    assert {tile.order for tile in plan.tiles} == {order}
    pix = healpix.pixel(survey.ra, survey.dec, order)
    for tile in plan.tiles:
        rows = np.sort(np.asarray(plan.rows[tile.start : tile.stop]))
        np.testing.assert_array_equal(rows, np.flatnonzero(pix == tile.pix))
        np.testing.assert_array_equal(read_tile(plan, tile)["OBJECT_ID"], survey.ids[rows])
    assert sum(map(len, plan.tiles)) == 48


def test_tiles_lie_in_the_layout_of_hats(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict("--order", 9, "--keep-tiles"))
    for pix in healpix.pixel(survey.ra, survey.dec, 9).tolist():
        assert (RunPaths(survey.out).root / f"Norder=9/Dir={pix // 10000 * 10000}/Npix={pix}.fits").exists()


@pytest.mark.parametrize("limit", [1, 7, 48, 1000])
def test_limit_takes_the_first_rows(survey: Survey, galcli: Run, limit: int) -> None:
    galcli(*survey.predict("--limit", limit))
    np.testing.assert_array_equal(read_predictions(survey.out)["OBJECT_ID"], survey.ids[:limit])


@pytest.mark.parametrize("loose", [False, True], ids=["stacks", "files"])
@pytest.mark.parametrize("threads", [1, 6])
def test_what_threads_read_ahead_is_counted(tmp_path: Path, monkeypatch: Any, loose: bool, threads: int) -> None:
    """The cutouts in memory while a model has one batch and nobody asks for the next."""
    survey = make_survey(tmp_path / "survey", 700, loose=loose)
    monkeypatch.setattr(parallel, "_threads", lambda: threads)
    parallel._pool.cache_clear()
    request = CutoutRequest(survey.ids, survey.ra, survey.dec, np.arange(700))
    options = PredictOptions((survey.catalog,), survey.out, models=(str(survey.model),), device="cpu")

    def rows() -> int:
        # type(), for isinstance() looks into every object, torch's deprecated ones too, which then warn.
        return sum(len(batch) for batch in gc.get_objects() if type(batch) is PixelBatch)

    with open_inputs(options) as (_, _, engine):
        if loose:
            engine.source.all_python = False  # as if the disk were slow
        gc.collect()
        before = rows()  # of other tests
        items = prefetch(engine.source.read(request, 8))
        first = next(items)
        most = max((time.sleep(0.02), rows())[1] for _ in range(25)) - before
        counted = batches_gb(engine.source, 8, 0, 1e6) / 1e6
        items.close()  # type: ignore[attr-defined]
    parallel._pool.cache_clear()
    assert len(first) == 8
    assert counted / 3 < most <= counted


def test_batches_are_as_large_as_memory_allows(survey: Survey, monkeypatch: Any) -> None:
    """More threads read more ahead, and leave less."""
    sizes = []
    for threads in (1, 16):
        monkeypatch.setattr(parallel, "_threads", lambda threads=threads: threads)
        options = PredictOptions(
            (survey.catalog,), survey.out, models=(str(survey.model),), max_memory=0.55, device="cpu"
        )
        with open_inputs(options) as (_, _, engine):
            sizes.append(engine.batch_size)
            assert BASE_GB + batches_gb(engine.source, engine.batch_size, 0, CUTOUT_GB) <= 0.55
    assert sizes[0] > sizes[1] > 1


def test_too_little_memory_is_said_before_any_work(survey: Survey, galcli: Run) -> None:
    result = galcli(*survey.predict("--max-memory", 0.1), code=2)
    least = re.search(r"at least ([\d.]+) GB", result.hint)
    assert least is not None
    assert not RunPaths(survey.out).root.exists()
    galcli(*survey.predict("--max-memory", least[1]))


def test_images_and_batches_share_the_memory(survey: Survey) -> None:
    folder = survey.root / "images"
    for band in "grz":
        write(folder / f"a-image-{band}.fits", header(40, ra=survey.ra[0], dec=survey.dec[0], FILTER=band))
    options = PredictOptions(
        (survey.catalog,), survey.out, str(folder / "*.fits"), models=(str(survey.model),), max_memory=1.0, device="cpu"
    )
    with open_inputs(options) as (_, _, engine):
        assert isinstance(engine.source, CoaddSource)
        kept, batches = engine.source.kept_bytes / 1e9, engine.batch_size * IMAGE_GB
    assert kept == pytest.approx((1.0 - BASE_GB) / 2, rel=1e-3)  # a tile of narrow rows is little
    assert BASE_GB + kept + batches <= 1.0
    assert forecast(options).memory_gb > BASE_GB + kept


# --- status -------------------------------------------------------------------------------------------------------------


def test_status_of_a_run_and_of_its_end(survey: Survey, galcli: Run, launcher: Launcher) -> None:
    import os
    import signal

    run = launcher.start(survey.predict("--order", 2), at=3, where="/claims/", do=signal.SIGSTOP)
    assert launcher.wait(run).stopped
    for name in (survey.out, RunPaths(survey.out).root):
        state = json.loads(galcli("status", name, "--json").out)
        assert not state["complete"]
        assert state["rows"] == 48
        assert 0 < state["rows_done"] < 48
        assert 0 < state["tiles_done"] < state["tiles"]
    assert f"{state['rows_done']} of 48 rows" in galcli("status", survey.out).out
    os.killpg(run["pid"], signal.SIGCONT)
    assert launcher.wait(run).code == 0
    assert json.loads(galcli("status", survey.out, "--json").out)["complete"]
    assert "complete" in galcli("status", survey.out).out


def test_status_of_nothing_is_refused(galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "none.fits", ".", "..", "/", ""):
        galcli("status", name, code=4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["run.json", "plan", "plan/tiles.json"])
def test_status_of_a_run_killed_while_it_was_planned(survey: Survey, galcli: Run, missing: str) -> None:
    import shutil

    galcli(*survey.predict("--shard", "0/1"))
    path = RunPaths(survey.out).root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    galcli("status", survey.out, code=4)
    galcli("merge", RunPaths(survey.out).root, code=4 if "plan" in missing else 0)
    galcli(*survey.predict())
    galcli("validate", survey.out)


def test_status_of_a_table_without_a_run(survey: Survey, galcli: Run) -> None:
    galcli(*survey.predict())
    RunPaths(survey.out).root.mkdir()  # what is left when a run was killed while it removed its folder
    assert "complete" in galcli("status", survey.out).out
