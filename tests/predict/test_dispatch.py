"""Handing out tiles: failures, workers that are lost, and answers that never come."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from threading import Timer
from typing import Any

import pytest

from galcli.errors import DeviceError
from galcli.predict import dispatch
from galcli.predict.claims import claim
from galcli.predict.dispatch import Dispatcher
from galcli.predict.inputs import open_inputs
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.plan import load_plan
from galcli.predict.tile import TileReport, is_made, run_tile
from galcli.progress import silent
from galcli.sky.tiles import Tile
from tests.survey import Survey

Run = Callable[..., Any]


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


def test_run_of_which_nothing_is_heard_says_so(halted: Survey, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "LONG", 0.2)
    plan = load_plan(RunPaths(halted.out))
    told: list[str] = []

    def say(tile: Tile, future: Future[TileReport]) -> None:
        Timer(1.2, future.set_result, [TileReport(tile)]).start()

    list(Dispatcher(Pretending(say), plan, Any, told.append, shared=False).make(plan.tiles[:2]))
    assert len(told) == 3  # after 0.2, 0.4 and 0.8 s
    assert all(text.startswith("no tile is done after") for text in told)


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


@pytest.mark.parametrize("shared", [False, True])
def test_tile_that_a_lost_worker_holds_keeps_nobody(halted: Survey, monkeypatch: Any, shared: bool) -> None:
    """It was killed, but its lease is still there, or it only hangs: the others go on, and the tile is tried again."""
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    plan = load_plan(RunPaths(halted.out))
    lost, *others = [tile for tile in plan.tiles if not is_made(plan, tile)]
    asked: list[Tile] = []

    def say(tile: Tile, future: Future[TileReport]) -> None:
        asked.append(tile)
        count = asked.count(lost)
        if tile == lost and count == 1:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(TileReport(tile, made=tile != lost or count == 4))

    told: list[str] = []
    made = [
        report.tile
        for report in Dispatcher(Pretending(say), plan, Any, told.append, shared=shared).make([lost, *others])
    ]
    assert made[-1] == lost
    assert set(made[:-1]) == set(others)
    assert len(made) == len(others) + 1
    assert asked.count(lost) == 4
    assert told[0] == f"{lost.path}: worker was killed (try 1 of 3)"
    assert set(told[1:]) == {f"{lost.path}: held by a worker that was lost or hangs; tried again later"}


def test_tile_that_another_shard_holds_is_left_to_it(halted: Survey) -> None:
    plan = load_plan(RunPaths(halted.out))
    todo = [tile for tile in plan.tiles if not is_made(plan, tile)]
    crew = Pretending(lambda tile, future: future.set_result(TileReport(tile, made=False)))
    made = [report.tile for report in Dispatcher(crew, plan, Any, silent, shared=True).make(todo)]
    assert set(made) == set(todo)
    assert len(made) == len(todo)


def test_tile_is_not_given_up_while_a_lost_worker_holds_it(halted: Survey, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    plan = load_plan(RunPaths(halted.out))
    tile = next(tile for tile in plan.tiles if not is_made(plan, tile))
    asked: list[Tile] = []

    def say(tile: Tile, future: Future[TileReport]) -> None:
        asked.append(tile)
        if len(asked) <= dispatch.TRIES:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(TileReport(tile))

    with claim(plan.paths.claim(tile)):
        [report] = Dispatcher(Pretending(say), plan, Any, silent, shared=False).make([tile])
    assert report == TileReport(tile)
    assert not plan.paths.gave_up


def test_run_ends_where_workers_begin_to_fail_for_good(halted: Survey, monkeypatch: Any) -> None:
    """A driver that crashed, memory that ran out: the tiles that were made earlier say nothing of that."""
    monkeypatch.setattr(dispatch, "HOPELESS", 4)
    plan = load_plan(RunPaths(halted.out))
    todo = [tile for tile in plan.tiles if not is_made(plan, tile)]
    asked: list[Tile] = []

    def say(tile: Tile, future: Future[TileReport]) -> None:
        asked.append(tile)
        if tile == todo[2]:
            future.set_result(TileReport(tile))
        else:
            future.set_exception(BrokenExecutor())

    with pytest.raises(DeviceError, match="worker after worker"):
        list(Dispatcher(Pretending(say), plan, Any, silent, shared=False).make(todo))
    assert len(todo) > 8
    assert len(set(asked)) < 9
    assert not plan.paths.gave_up
