"""Several processes on one machine: the same bytes, the same counts, the same refusals."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

from galcli.cutouts.parallel import cores, share_cores
from galcli.errors import DeviceError
from galcli.models import devices
from galcli.predict import dispatch, executors, worker
from galcli.predict.claims import claim
from galcli.predict.dispatch import Dispatcher
from galcli.predict.inputs import open_inputs
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.tile import TileReport, is_made, run_tile
from galcli.predict.worker import Assignment, work
from galcli.progress import silent
from galcli.sky.tiles import Tile
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


class Pretending:
    """A crew that makes no tile, and says of each what it was told to."""

    slots = 2
    loses_answers = False

    def __init__(self, say: Callable[[Tile, Future[TileReport]], None]) -> None:
        self._say = say

    def submit(self, tile: Tile) -> Future[TileReport]:
        future: Future[TileReport] = Future()
        self._say(tile, future)
        return future

    def result(self, future: Future[TileReport]) -> TileReport:
        return future.result()

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_tile_in_the_hands_of_another_shard_is_not_given_up(halted: Survey, reference: bytes, galcli: Run) -> None:
    plan = load_plan(RunPaths(halted.out))
    options = PredictOptions((halted.catalog,), halted.out, models=(str(halted.model),), device="cpu")
    tile = next(tile for tile in plan.tiles if not is_made(plan, tile))
    with open_inputs(options) as (_, _, engine):

        def give_up() -> None:
            crew = Pretending(lambda _, future: future.set_exception(ZeroDivisionError("a fault of this tile")))
            list(Dispatcher(crew, plan, engine, silent, shared=True).make([tile]))

        with claim(plan.paths.claim(tile)):
            give_up()
            assert not plan.paths.tile(tile).exists()
            assert not plan.paths.gave_up
        run_tile(plan, engine, tile)
        made = plan.paths.tile(tile).read_bytes()
        give_up()
        assert plan.paths.tile(tile).read_bytes() == made
        plan.paths.tile(tile).unlink()
        give_up()
    assert not is_made(plan, tile)
    assert len(json.loads(plan.paths.report(tile).read_text())) == len(tile)
    galcli(*halted.predict("--order", 3, "--shard", "1/2"))  # tries again
    galcli("merge", plan.paths.root)
    assert halted.out.read_bytes() == reference
    assert not RunPaths(halted.out).problems.exists()


def test_tile_that_takes_far_longer_than_the_others_is_told_of_once(halted: Survey, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "LONG", 0.1)
    monkeypatch.setattr(dispatch, "MUCH_LONGER", 1)
    plan = load_plan(RunPaths(halted.out))
    quick, hanging = plan.tiles[:2]
    told: list[str] = []
    out: dict[Tile, Future[TileReport]] = {}

    def note(text: str) -> None:
        told.append(text)
        Timer(0.5, out[hanging].set_result, [TileReport(hanging)]).start()

    made = Dispatcher(Pretending(out.__setitem__), plan, Any, note, shared=False).make([hanging, quick])
    Timer(0.01, lambda: out[quick].set_result(TileReport(quick))).start()
    assert [report.tile for report in made] == [quick, hanging]
    [said] = told
    assert said.startswith(f"{hanging.path}: no answer for ")


def test_tile_that_is_there_needs_no_answer_where_answers_may_be_lost(halted: Survey, monkeypatch: Any) -> None:
    """A worker of Parsl that dies on its next tile takes them with it; the run waited for ever."""
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    plan = load_plan(RunPaths(halted.out))
    there = [tile for tile in plan.tiles if is_made(plan, tile)]
    crew = Pretending(lambda tile, future: None)
    crew.loses_answers = True
    assert list(Dispatcher(crew, plan, Any, silent, shared=False).make(there)) == [TileReport(tile) for tile in there]


def test_tile_of_which_nothing_is_heard_is_handed_out_again(halted: Survey, monkeypatch: Any) -> None:
    """Its worker died before Parsl knew of it, or took with it what it had to say; one failure counts once."""
    monkeypatch.setattr(dispatch, "LONG", 0.1)
    monkeypatch.setattr(dispatch, "MUCH_LONGER", 1)
    plan = load_plan(RunPaths(halted.out))
    quick, lost = plan.tiles[0], next(tile for tile in plan.tiles if not is_made(plan, tile))
    asked: list[Future[TileReport]] = []

    def say(tile: Tile, future: Future[TileReport]) -> None:
        if tile == quick:
            future.set_result(TileReport(tile))
            return
        asked.append(future)
        if len(asked) == 3:  # two copies of the tile answer at the same time
            for copy in asked[1:]:
                copy.set_exception(ZeroDivisionError("a fault of this tile"))
        if len(asked) == 4:
            future.set_result(TileReport(tile))

    crew, told = Pretending(say), list[str]()
    crew.loses_answers = True
    made = Dispatcher(crew, plan, Any, told.append, shared=False).make([quick, lost])
    assert [report.tile for report in made] == [quick, lost]
    assert [text.rpartition("; ")[2] for text in told[:2]] == ["handed out again"] * 2
    assert told[2:] == [f"{lost.path}: ZeroDivisionError: a fault of this tile (try 1 of 3)"]


def hold_the_lock(seconds: int) -> None:
    """C code that keeps Python's lock, as fitsio does while it waits for a disk."""
    ctypes.PyDLL(None).sleep(seconds)


def test_worker_that_hangs_in_c_code_is_ended(survey: Survey, monkeypatch: Any) -> None:
    monkeypatch.setattr(executors, "ENDING", 0.5)
    crew = executors.PoolCrew(PredictOptions((survey.catalog,), survey.out, workers=1), 1)
    pool = crew._all[0]._pool
    pool.submit(os.getpid).result()
    [process] = pool._processes.values()
    pool.submit(hold_the_lock, 60)
    time.sleep(0.5)
    began = time.monotonic()
    crew.close()
    assert time.monotonic() - began < 20
    assert not process.is_alive()


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
