"""Traps for processes that a test does not start itself: the workers of a run, not the galcli that leads them.

A trap is a `sitecustomize` module on the PYTHONPATH. It springs when its process opens a file, or a library
through ctypes, whose path holds a text.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.launcher import ROOT

#: Variable by which all processes of a run are known, also those that are nobody's children.
MARK = "GALCLI_TEST_RUN"

_MODULE = """
import os, sys, time

def spring(event, args):
    if event not in ("open", "ctypes.dlopen") or {where!r} not in str(args[0]):
        return
    log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"x")
    count = os.fstat(log).st_size
    os.close(log)
    if count <= {times!r}:
        {action}

if sys.orig_argv[1:3] != ["-m", "galcli"]:
    sys.addaudithook(spring)
"""

KILLED = "os.kill(os.getpid(), 9)"
FAULTY = "raise ZeroDivisionError('a fault of this tile')"
GONE = "raise OSError('there is no such library')"
FULL = "raise OSError(28, os.strerror(28), str(args[0]))"


@dataclass(frozen=True)
class Trap:
    """A trap that is set for the workers of a run with `environment`."""

    folder: Path

    @classmethod
    def set(cls, folder: Path, where: str, action: str, times: int = 1000) -> Trap:
        """Do something when a file is opened whose path holds ``where``, at most ``times``."""
        folder.mkdir()
        log = str(folder / "sprung")
        (folder / "sitecustomize.py").write_text(_MODULE.format(where=where, action=action, times=times, log=log))
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder)}

    @property
    def sprung(self) -> int:
        """How often such a file was opened."""
        log = self.folder / "sprung"
        return log.stat().st_size if log.exists() else 0


def slow(seconds: float) -> str:
    return f"time.sleep({seconds})"


def until(pattern: str, count: int) -> str:
    """Wait until there are so many files of that name; whoever waits in vain is killed."""
    return f"""
        import glob
        end = time.monotonic() + 60
        while len(glob.glob({pattern!r}, recursive=True)) < {count}:
            if time.monotonic() > end:
                os.kill(os.getpid(), 9)
            time.sleep(0.05)"""


@dataclass
class Running:
    """A run in processes of its own."""

    process: subprocess.Popen[str]
    mark: str

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to the run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def signal(self, number: int, *, group: bool) -> None:
        """Send a signal to the first process, or to all that share its terminal."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Exit code, and what was said."""
        _, err = self.process.communicate(timeout=240)
        return self.process.returncode, err


@contextmanager
def running(words: list[str], trap: Trap | None = None) -> Iterator[Running]:
    """A galcli in a process group of its own; nothing of it is left behind."""
    mark = str(uuid.uuid4())
    # Parsl's processes give themselves titles, which would overwrite the mark.
    environment = os.environ | {MARK: mark, "SPT_NOENV": "1"} | ({} if trap is None else trap.environment)
    process = subprocess.Popen(
        [sys.executable, "-m", "galcli", *words], cwd=ROOT, env=environment, text=True, process_group=0,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    run = Running(process, mark)
    try:
        yield run
    finally:
        for left in run.processes():
            left.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)


def eventually(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
