"""Fixtures for tests that run galcli as a user does."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import service as fake
from tests.launcher import ROOT, Launcher
from tests.survey import Survey, make_survey

pytest_plugins = ["tests.faults.report"]

# One thread per process of the tests, and the same sums on every machine. Where two processes have two threads each on two
# cores, the threads wait for each other in loops: many times slower. What needs several threads asks for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass
class Result:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line after ``error:``."""
        return next((line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")), "")

    @property
    def hint(self) -> str:
        """The line after ``hint:``."""
        return next(
            (line.removeprefix("hint:").strip() for line in self.err.splitlines() if line.startswith("hint:")), ""
        )


def check_ending(result: Result, expected: int) -> None:
    """A refusal is one line of what is wrong and one line of how to fix it; nothing is ever a traceback."""
    assert result.code == expected, f"exit {result.code}, not {expected}\n{result.out}\n{result.err}"
    assert "Traceback" not in result.err + result.out
    lines = result.err.splitlines()
    wrong = [line for line in lines if line.startswith(("error:", "bug:"))]
    hints = [line for line in lines if line.startswith("hint:")]
    if expected == 0:
        assert not wrong + hints
    elif expected != 130:
        assert [line[:7] for line in wrong] == ["error: "], result.err
        assert len(wrong[0]) > 12, result.err
        assert len(hints) == 1, result.err
        assert len(hints[0]) > 10, result.err


def run_main(words: tuple[object, ...], code: int = 0) -> Result:
    """Run the command line in this process and check how it ends."""
    from galcli.cli import main

    out, err = io.StringIO(), io.StringIO()
    found = -1
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # no test cuts the power
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            found = stop.code if isinstance(stop.code, int) else 0
    result = Result(found, out.getvalue(), err.getvalue())
    check_ending(result, code)
    return result


@pytest.fixture(scope="session")
def galcli() -> Callable[..., Result]:
    """Run the command line in this process: ``galcli("predict", ..., code=4)``."""

    def run(*words: object, code: int = 0) -> Result:
        return run_main(words, code)

    return run


@pytest.fixture(scope="session")
def galcli_process() -> Callable[..., Result]:
    """Run the command line in a process of its own, as a user does."""

    def run(*words: object, code: int = 0, cwd: Path | None = None, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "galcli", *map(str, words)], cwd=cwd or ROOT, env=os.environ | environment,
            capture_output=True, text=True, timeout=120, errors="surrogateescape",
        )  # fmt: skip
        result = Result(done.returncode, done.stdout, done.stderr)
        check_ending(result, code)
        return result

    return run


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Runs that can be killed, stopped and broken."""
    with Launcher(tmp_path_factory.mktemp("runs")) as process:
        yield process


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    """48 galaxies with stacks, of this test's own."""
    return make_survey(tmp_path / "survey")


@pytest.fixture(scope="session")
def shared_survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """48 galaxies with stacks, for tests that only read them and write elsewhere."""
    return make_survey(tmp_path_factory.mktemp("shared") / "survey")


@pytest.fixture
def tiny_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models for this test, empty at first."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr("galcli.models.library._weights", lambda: folder)
    return folder


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Slow tests last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture
def service() -> Iterator[fake.Service]:
    """A made-up cutout service on this machine."""
    with fake.Service() as server:
        yield server
