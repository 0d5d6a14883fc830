"""The programs that are compared, each as a command, and what a command costs seen from outside."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.measure import ROOT

#: Seconds between two looks at a process.
EVERY = 0.02

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """What a program is to predict.

    Attributes
    ----------
    catalog, cutouts, model, out : Path
    """

    catalog: Path
    cutouts: Path
    model: Path
    out: Path

    @property
    def words(self) -> list[str]:
        """As the scripts take them."""
        return [str(path) for path in (self.catalog, self.cutouts, self.model, self.out)]


@dataclass(frozen=True)
class Side:
    """A program that predicts.

    Attributes
    ----------
    name : str
    command : callable
        Job -> command line.
    read : callable
        Output -> predictions of the rows that have one, (n, 3), in catalogue order; none where there is no output.
    """

    name: str
    command: Callable[[Job], list[str]]
    read: Callable[[Path], NDArray[Any]]


@dataclass
class Usage:
    """What a process cost.

    Attributes
    ----------
    code : int
        How it ended.
    seconds, cpu : float
        Elapsed, and processor time of the process and those that it waited for.
    peak : int
        Its highest resident set (VmHWM), bytes; processes that it started are not counted.
    said : str
        Its last words.
    """

    code: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    said: str = ""


def watch(words: Sequence[str], folder: Path, kill_after: float | None = None) -> Usage:
    """Run a command to its end, or kill it and all that it started after some seconds."""
    usage, began, before = Usage(), time.perf_counter(), _cpu()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            list(words), cwd=folder, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            usage.peak = max([usage.peak, *(int(line.split()[1]) * 1024 for line in lines)])
            if kill_after is not None and time.perf_counter() - began > kill_after:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(EVERY)
        usage.seconds, usage.cpu, usage.code = time.perf_counter() - began, _cpu() - before, process.returncode
        errors.seek(0)
        usage.said = errors.read().decode(errors="replace")[-2000:]
    return usage


def _cpu() -> float:
    """Processor time of all processes that were started here and have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def galcli(*further: str, name: str = "galcli") -> Side:
    """This program, with further options."""

    def command(job: Job) -> list[str]:
        catalog, cutouts, model, out = job.words
        return [sys.executable, "-m", "galcli", "predict", catalog, "--cutouts", cutouts, "--model", model, "-o", out,
                "--device", "cpu", *further]  # fmt: skip

    return Side(name, command, _read_table)


def plain_script() -> Side:
    """The script of `tests.benchmarks.plain_script`."""

    return Side(
        "plain script", lambda job: [sys.executable, "-P", str(_HERE / "plain_script.py"), *job.words], _read_table
    )


def _read_table(out: Path) -> NDArray[Any]:
    """The finite rows of the one column of vectors in a FITS table."""
    if not out.exists():
        return np.empty((0, 3))
    rows = fitsio.read(out)
    values = next(rows[name] for name in rows.dtype.names if rows.dtype[name].shape)
    return values[np.isfinite(values).all(axis=1)]


def installed_peers(pythons: Sequence[Path]) -> tuple[list[Side], list[str]]:
    """Peers that these Pythons can import, and the names of those that none can."""
    makers = {"zoobot": _zoobot, "hyrax": _hyrax}
    sides, absent = [], []
    for name, make in makers.items():
        python = next((python for python in pythons if _has(python, name)), None)
        if python is None:
            absent.append(name)
        else:
            sides.append(make(str(python.absolute())))
    return sides, absent


def _has(python: Path, package: str) -> bool:
    found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([str(python), "-c", found]).returncode == 0


def _zoobot(python: str) -> Side:
    def read(out: Path) -> NDArray[Any]:
        return np.loadtxt(out, delimiter=",", skiprows=1, ndmin=2)[:, :3] if out.exists() else np.empty((0, 3))

    return Side("zoobot", lambda job: [python, "-P", str(_HERE / "peer_zoobot.py"), *job.words], read)


def _hyrax(python: str) -> Side:
    script = str(_HERE / "peer_hyrax.py")

    def read(out: Path) -> NDArray[Any]:
        done = subprocess.run([python, "-P", script, "--read", str(out)], stdout=subprocess.PIPE, text=True, check=True)
        return np.array(json.loads(done.stdout), float).reshape(-1, 3)

    return Side("hyrax engine", lambda job: [python, "-P", script, *job.words], read)
