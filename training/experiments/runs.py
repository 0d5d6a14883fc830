"""Many independent trainings: some at a time, each in a process of its own, stopped together."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from types import FrameType
from typing import Protocol, TypeVar

import torch

from galcli.errors import GalcliError, Interrupted
from galcli.training.progress import say, stop_requests

#: Seconds between two looks at whether the user wants to stop.
_LOOK = 0.2


class Run(Protocol):
    """One training, which can be sent to another process."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...


R = TypeVar("R", bound=Run)


def run_all(work: Callable[[R], str], runs: Sequence[R], processes: int) -> None:
    """Do the work of all runs.

    Parameters
    ----------
    work : callable
        Top-level function that does a run and gives a few words on how it went. A signal ends it with Interrupted.
    runs : sequence of Run
    processes : int
        Runs at a time, with one thread each; a single one at a time takes this process and its threads.

    Raises
    ------
    Interrupted
        After a signal; what the runs left on disk stays.
    GalcliError
        Of the first run that fails, with its name.
    """
    finished = _in_pool(work, runs, processes) if processes > 1 else _here(work, runs)
    for number, (run, words) in enumerate(finished, 1):
        say(f"{number} of {len(runs)}: {run.name}: {words}")


def _here(work: Callable[[R], str], runs: Sequence[R]) -> Iterator[tuple[R, str]]:
    for run in runs:
        with _named(run):
            words = work(run)
        yield run, words


def _in_pool(work: Callable[[R], str], runs: Sequence[R], processes: int) -> Iterator[tuple[R, str]]:
    todo = list(reversed(runs))
    at_work: dict[Future[str], R] = {}
    spawn = multiprocessing.get_context("spawn")
    with stop_requests() as stop, ProcessPoolExecutor(processes, spawn, _begin) as pool:
        try:
            while todo or at_work:
                # No run waits within the pool: a process that is told to stop would begin with it.
                while todo and len(at_work) < processes:
                    run = todo.pop()
                    at_work[pool.submit(_at_work, work, run)] = run
                done, _ = wait(at_work, _LOOK, FIRST_COMPLETED)
                if stop.is_set():
                    raise Interrupted("stopped; what is finished is kept", "go on with --resume")
                for future in done:
                    run = at_work.pop(future)
                    with _named(run):
                        words = future.result()
                    yield run, words
        except BaseException as error:
            # Where one died, the others may wait for ever for what it held.
            died = isinstance(error.__cause__, BrokenProcessPool)
            for process in multiprocessing.active_children():
                if died:
                    process.kill()
                else:
                    process.terminate()
            raise


def _at_work(work: Callable[[R], str], run: R) -> str:
    """Do a run in a process of the pool, which SIGTERM ends only meanwhile: one that waits holds a lock of the pool."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return work(run)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Interrupted("stopped before the training began", "go on with --resume")


@contextlib.contextmanager
def _named(run: Run) -> Iterator[None]:
    """Say which run it is that fails."""
    try:
        yield
    except Interrupted:
        raise
    except GalcliError as error:
        raise type(error)(f"{run.name}: {error.message}", error.hint) from error
    except BrokenProcessPool as error:
        raise GalcliError(
            f"{run.name}: a process ended without a word", "see whether memory ran out, and go on with --resume"
        ) from error


def _begin() -> None:
    """Begin a process of the pool: one thread, which ends with the process that started it."""
    torch.set_num_threads(1)
    logging.disable(logging.INFO)  # Fabric tells its precision once per training
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: between trainings the parent answers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A signal that this thread took would not wake the main one, which alone can answer it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_end([parent.sentinel])
    os._exit(1)
