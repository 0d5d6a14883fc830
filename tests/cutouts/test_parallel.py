from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from galcli.cutouts import parallel
from galcli.cutouts.checksum import datasum_of_file
from galcli.cutouts.parallel import ahead, in_parts
from galcli.tables.checksum import STEP, add_sum, fold


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    parallel._pool.cache_clear()
    monkeypatch.setattr(parallel, "_threads", lambda: request.param)
    yield request.param
    parallel._pool.cache_clear()


@pytest.mark.parametrize("length", [0, 1, 5, 17, 1000])
@pytest.mark.parametrize("smallest", [1, 4, 500])
def test_parts_cover_the_range_in_order_without_overlap(threads, length, smallest):
    parts = in_parts(lambda start, stop: (start, stop), length, smallest)
    assert len(parts) <= threads
    assert [i for start, stop in parts for i in range(start, stop)] == list(range(length))
    assert len(parts) == 1 or min(stop - start for start, stop in parts) >= smallest


def test_an_exception_waits_until_every_part_has_ended(threads):
    ended = []

    def work(start: int, stop: int) -> None:
        if start == 0:
            raise ValueError("first part")
        threading.Event().wait(0.05)
        ended.append(stop)

    with pytest.raises(ValueError, match="first part"):
        in_parts(work, 30, 10)
    assert len(ended) == threads - 1


def test_sum_of_a_file_does_not_depend_on_the_threads(threads, tmp_path):
    raw = np.random.default_rng(3).integers(0, 256, 8 * (STEP * 40 + 123), np.uint8).tobytes()
    path = tmp_path / "file"
    path.write_bytes(raw)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        words = np.frombuffer(raw[16:], ">u4").astype(np.uint64)
        assert datasum_of_file(descriptor, 16, len(raw)) == fold(int(words.sum()))
        assert add_sum(raw[16:]) == fold(int(words.sum()))
        with pytest.raises(ValueError, match="too early"):
            datasum_of_file(descriptor, 0, len(raw) + 8)
    finally:
        os.close(descriptor)


def test_items_come_in_their_order_whoever_is_done_first(threads):
    def work(item: int) -> int:
        threading.Event().wait(0.01 * (item % 3))
        return item * item

    assert list(ahead(work, range(20))) == [item * item for item in range(20)]


def test_not_more_is_taken_than_is_worked_on(threads):
    taken, done = [], []

    def items():
        for item in range(20):
            assert len(taken) - len(done) <= threads + 1
            taken.append(item)
            yield item

    for item in ahead(lambda item: item, items()):
        done.append(item)
    assert done == list(range(20))


def test_an_exception_comes_in_the_place_of_its_item_and_nothing_goes_on(threads):
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("third")
        return item

    reading = ahead(work, range(100))
    assert [next(reading) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="third"):
        next(reading)
    before = len(begun)
    threading.Event().wait(0.05)
    assert len(begun) == before < 3 + threads + 3


def test_whoever_stops_early_waits_for_what_is_in_work(threads):
    ended = []

    def work(item: int) -> int:
        threading.Event().wait(0.03)
        ended.append(item)
        return item

    reading = ahead(work, range(100))
    assert next(reading) == 0
    reading.close()
    before = len(ended)
    threading.Event().wait(0.1)
    assert len(ended) == before


def test_alone_is_the_callers_thread(threads):
    """What is in work when that is said comes first."""
    alone, workers = [False], {}

    def work(item: int) -> int:
        workers[item] = threading.current_thread()
        return item

    got = []
    for item in ahead(work, range(10), lambda: alone[0]):
        got.append(item)
        alone[0] = 3 <= item < 6
    assert got == list(range(10))
    assert workers[0] is not threading.main_thread()
    assert threading.main_thread() in workers.values()
    assert workers[9] is not threading.main_thread()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(parallel, "_threads", lambda: 2)
    in_parts(lambda start, stop: stop - start, 100, 1)
    child = os.fork()
    if not child:
        os._exit(int(sum(in_parts(lambda start, stop: stop - start, 100, 1)) != 100))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
