"""Several processes on one machine: the same bytes, the same counts, the same refusals."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.cutouts.parallel import cores, share_cores
from galcli.errors import DeviceError, InputError
from galcli.models import devices
from galcli.predict import executors, worker
from galcli.predict.inputs import open_inputs
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.tile import is_made, run_tile
from galcli.predict.worker import Assignment, work
from galcli.tables.atomic import atomic_write
from tests.cutouts.sky_images import DEC, RA, header, write
from tests.survey import Survey, make_survey

Run = Callable[..., Any]


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_write_the_bytes_of_one_process(survey: Survey, reference: bytes, galcli: Run, workers: int) -> None:
    galcli(*survey.predict("--order", 3, "--workers", workers))
    assert survey.out.read_bytes() == reference
    assert not RunPaths(survey.out).root.exists()


def test_workers_go_on_where_one_process_stopped(halted: Survey, reference: bytes, galcli: Run) -> None:
    result = galcli(*halted.predict("--order", 3, "--workers", 2))
    assert "going on with an unfinished run" in result.err
    assert halted.out.read_bytes() == reference


def test_paths_may_be_relative_and_counts_are_summed(tmp_path: Path, galcli: Run, monkeypatch: Any) -> None:
    make_survey(tmp_path / "survey", 24, loose=True)
    monkeypatch.chdir(tmp_path / "survey")
    words = ["predict", "catalog.fits", "--model", "average.onnx", "--order", "3", "--device", "cpu", "--json"]
    found = [
        json.loads(galcli(*words, "-o", f"{count}.fits", "--workers", count).out.splitlines()[-1]) for count in (1, 2)
    ]
    assert found[0]["counters"] == found[1]["counters"] == {"no_checksum": 24}
    assert Path("1.fits").read_bytes() == Path("2.fits").read_bytes()


def test_file_that_several_workers_read_is_counted_once(survey: Survey, galcli: Run) -> None:
    stacks = list(survey.cutouts.rglob("Npix=*.fits"))
    for stack in stacks:
        stack.write_bytes(stack.read_bytes().replace(b"CHECKSUM=", b"NO_SUM_1=").replace(b"DATASUM =", b"NO_SUM_2="))
    for more in ([], ["--workers", 3]):
        done = galcli(*survey.predict("--order", 3, "--overwrite", "--json", *more)).out.splitlines()[-1]
        assert json.loads(done)["counters"] == {"no_checksum": len(stacks)}


def test_image_that_several_workers_cannot_use_is_counted_once(tmp_path: Path, galcli: Run) -> None:
    """Its header can be read; that its pixels have no size is seen where a row lies near, here in several tiles."""
    rng = np.random.default_rng(0)
    survey = make_survey(tmp_path, ra=RA + rng.uniform(-4e-4, 4e-4, 48), dec=DEC + rng.uniform(-4e-4, 4e-4, 48))
    for band in "grz":
        write(tmp_path / f"images/{band}.fits", header(60, FILTER=band))
    bad = header(60, projection="TPV", PV1_1=0.0, PV2_1=0.0)
    write(tmp_path / "images/bad.fits", bad, np.ones((60, 60), np.float32))
    told = []
    for workers in (1, 2):
        words = survey.predict("--cutouts", tmp_path / "images", "--order", 18, "--overwrite", "--workers", workers)
        told.append(json.loads(galcli(*words, "--json").out.splitlines()[-1])["counters"])
    assert told[0] == told[1] == {"no_checksum": 3, "unreadable": 1, "zeros": 0}


def test_error_of_a_worker_is_that_of_the_run(survey: Survey, galcli: Run, monkeypatch: Any) -> None:
    """The model is gone when the workers look for it."""
    import galcli.predict.run as run

    opened = run.open_crew

    def remove_first(*arguments: Any) -> Any:
        survey.model.unlink()
        return opened(*arguments)

    monkeypatch.setattr(run, "open_crew", remove_first)
    result = galcli(*survey.predict("--order", 3, "--workers", 2), code=5)
    assert "average.onnx" in result.error


def hold_the_lock(seconds: int) -> None:
    """C code that keeps Python's lock, as fitsio does while it waits for a disk."""
    ctypes.PyDLL(None).sleep(seconds)


def test_workers_that_hang_in_c_code_are_ended_together(survey: Survey, monkeypatch: Any) -> None:
    monkeypatch.setattr(executors, "ENDING", 8.0)
    crew = executors.PoolCrew(PredictOptions((survey.catalog,), survey.out, workers=3), 3)
    pools = [process._pool for process in crew._all]
    for pool in pools:
        pool.submit(os.getpid).result()
    processes = [process for pool in pools for process in pool._processes.values()]
    for pool in pools:
        pool.submit(hold_the_lock, 60)
    time.sleep(0.5)
    began = time.monotonic()
    crew.close()
    assert time.monotonic() - began < 2 * executors.ENDING
    assert not any(process.is_alive() for process in processes)


def test_worker_that_outlived_its_run_writes_nothing_into_the_next(halted: Survey, galcli: Run) -> None:
    """Its driver was killed, and the same output was begun anew with other settings."""
    before = load_plan(RunPaths(halted.out))
    tile = next(tile for tile in before.tiles if not is_made(before, tile))
    options = PredictOptions((halted.catalog,), halted.out, models=(str(halted.model),), device="cpu", order=3)
    with open_inputs(options) as (_, _, engine):
        run_tile(before, engine, tile)
        old = before.paths.tile(tile).read_bytes()
        galcli(*halted.predict("--order", 3, "--shard", "0/1", "--zeropoint", 20), code=4)
        before.paths.root.rename(halted.root / "put aside")
        galcli(*halted.predict("--order", 3, "--shard", "0/1", "--zeropoint", 20))
        new = before.paths.tile(tile).read_bytes()
        before.paths.claim(tile).unlink()
        with pytest.raises(InputError, match="begun anew"):
            run_tile(before, engine, tile)
    assert before.paths.tile(tile).read_bytes() == new != old
    # A file of the old run, which was written all the same, is neither merged nor taken for this run's.
    before.paths.tile(tile).write_bytes(old)
    assert tile.path in galcli("merge", before.paths.root, code=4).error
    galcli(*halted.predict("--order", 3, "--shard", "0/1", "--zeropoint", 20))
    assert before.paths.tile(tile).read_bytes() == new


def test_problems_of_a_try_that_was_killed_are_forgotten(halted: Survey, reference: bytes, galcli: Run) -> None:
    """It had written the list, and not yet the tile."""
    plan = load_plan(RunPaths(halted.out))
    tile = next(tile for tile in plan.tiles if not is_made(plan, tile))
    atomic_write(plan.paths.report(tile), json.dumps([[int(plan.rows[tile.start]), "a disk that is gone"]]).encode())
    galcli(*halted.predict("--order", 3))
    assert halted.out.read_bytes() == reference
    assert not RunPaths(halted.out).problems.exists()


def test_devices_are_named_by_their_numbers(tmp_path: Path) -> None:
    options = PredictOptions((tmp_path / "c.fits",), tmp_path / "p.fits", device="cuda:0,2")
    assert options.devices == ("cuda:0", "cuda:2")
    assert dataclasses.replace(options, device="auto").devices == ("auto",)


def test_devices_that_are_not_there_end_the_run_before_any_work(survey: Survey, galcli: Run, monkeypatch: Any) -> None:
    monkeypatch.setattr(devices, "usable", lambda kind, number: False)
    galcli(*[word if word != "cpu" else "cuda:0,1" for word in survey.predict()], code=5)
    assert not RunPaths(survey.out).root.exists()


@pytest.fixture
def assignment(halted: Survey) -> Any:
    """A run on disk, as a worker is told about it; what it opens is closed again."""
    options = PredictOptions(
        (halted.catalog,), halted.out, models=(str(halted.model),), device="cpu", order=3, max_memory=4.0
    )
    yield Assignment(options, str(Path.cwd()), sharing=2)
    worker._opened.cache_clear()
    worker._open_for_good.close()
    share_cores(1)


def test_workers_share_cores_and_memory(assignment: Any, monkeypatch: Any) -> None:
    told: list[PredictOptions] = []
    opened = worker.open_inputs
    monkeypatch.setattr(worker, "open_inputs", lambda options: told.append(options) or opened(options))
    there = cores()
    plan, _ = worker._opened(assignment)
    assert (cores(), told[0].max_memory) == (max(1, there // 2), 2.0)
    assert work(assignment, plan.tiles[0]).tile == plan.tiles[0]
    assert len(told) == 1, "opened once"


@pytest.mark.parametrize(("key", "value"), [("provider", "CUDAExecutionProvider"), ("precision", "fp16")])
def test_worker_that_computes_otherwise_is_refused(assignment: Any, halted: Survey, key: str, value: str) -> None:
    record = json.loads(RunPaths(halted.out).record.read_text())
    record["identity"]["models"][0][key] = value
    RunPaths(halted.out).record.write_text(json.dumps(record))
    with pytest.raises(DeviceError, match=f"models.0.{key}: {value}"):
        work(assignment, Any)
