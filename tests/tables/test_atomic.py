"""A file under its final name is whole, whatever fails and whenever it fails."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.errors import OutputError
from galcli.tables import atomic
from galcli.tables.atomic import AtomicFile, atomic_write, clear_partial

OLD, NEW = b"old" * 1000, b"new" * 5000


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class Faults:
    """Counts calls of the operating system and makes the n-th one fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nth: int, code: int) -> None:
        self.calls, self.nth, self.code = 0, nth, code
        for name in ("open", "write", "fsync", "close", "replace", "fstat", "lseek"):
            monkeypatch.setattr(atomic.os, name, self.wrap(getattr(os, name)))

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.nth:
                if function.__name__ == "close":
                    function(*args)  # a failing close still closes
                raise OSError(self.code, os.strerror(self.code))
            if function.__name__ == "write":
                return function(args[0], bytes(args[1])[:4096])  # the system may write less than asked
            return function(*args, **kwargs)

        return call


def steps(path: Path) -> None:
    with AtomicFile(path, len(NEW)) as file:
        file.write(NEW[:7000])
        file.write(b"?" * 8000)
        file.overwrite(7000, NEW[7000:])
        file.commit()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_failure_at_any_call_leaves_the_old_or_the_new_file(tmp_path: Path, code: int) -> None:
    path = tmp_path / "täble of rows.fits"
    nth = 0
    while True:
        nth += 1
        path.write_bytes(OLD)
        with pytest.MonkeyPatch.context() as monkeypatch:
            faults = Faults(monkeypatch, nth, code)
            caught = None
            try:
                steps(path)
            except OutputError as error:
                caught = error
            failed = faults.calls >= nth
        if caught is not None:
            assert str(path) in caught.message
            assert f"{len(NEW)} bytes" in caught.message
            assert caught.exit_code == 6
        assert path.read_bytes() in (OLD, NEW)
        assert names(tmp_path) == [path.name]
        if not failed:
            break
    assert path.read_bytes() == NEW
    assert nth > 12


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(names(Path("/proc/self/fd")))
    for nth in range(1, 15):
        with pytest.MonkeyPatch.context() as monkeypatch:
            Faults(monkeypatch, nth, errno.EIO)
            try:
                steps(tmp_path / "a")
            except OutputError:
                continue
    assert len(names(Path("/proc/self/fd"))) == before


def test_blocks_or_bytes(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", NEW)
    atomic_write(tmp_path / "new folder" / "b", (NEW[i : i + 100] for i in range(0, len(NEW), 100)), len(NEW))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "new folder" / "b").read_bytes() == NEW


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Any:
        yield b"first"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "a", blocks())
    assert names(tmp_path) == []


def test_without_commit_there_is_no_file(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as file:
        file.write(b"x")
    assert names(tmp_path) == []


def test_leftovers_of_killed_writers_are_cleared(tmp_path: Path) -> None:
    for name in (".a.fits.123-deadbeef.tmp", ".b.fits.123-deadbeef.tmp", "a.fits", "a.tmp"):
        (tmp_path / name).touch()
    clear_partial(tmp_path / "a.fits")
    assert names(tmp_path) == [".b.fits.123-deadbeef.tmp", "a.fits", "a.tmp"]
    clear_partial(tmp_path / "none" / "a.fits")


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "new\nline", 'a\'b "c"'])
def test_odd_names(tmp_path: Path, name: str) -> None:
    atomic_write(tmp_path / name, b"x")
    assert names(tmp_path) == [name]


def test_impossible_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in ("file/a", "folder", "x" * 300, "loop/a"):
        with pytest.raises(OutputError) as caught:
            atomic_write(tmp_path / place, b"x")
        assert caught.value.hint
    assert names(tmp_path) == ["file", "folder", "loop"]


def test_file_system_that_ends(tmp_path: Path) -> None:
    """A real limit of the system, met in the middle of a write: here the largest file allowed."""
    code = (
        "import resource, sys; from galcli.tables.atomic import atomic_write; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); atomic_write(sys.argv[1], bytes(300_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.fits")], capture_output=True, text=True)
    assert re.search(r"OutputError: .*a\.fits: File too large \(300000 bytes are needed\)", done.stderr)
    assert names(tmp_path) == []
