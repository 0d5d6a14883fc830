"""A disk that refuses: one clear line, exit 6, and the same command goes on when there is room again."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.predict.paths import RunPaths
from tests.faults.counts import DISK_CHANGES, spread
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, read_predictions

Run = Callable[..., Any]
Record = Callable[..., None]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return make_survey(tmp_path_factory.mktemp("disk") / "survey", 12)


@pytest.fixture(scope="module")
def reference(small: Survey, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    out = tmp_path_factory.mktemp("reference") / "p.fits"
    ended = launcher.run(small.predict("--order", 2, out=out))
    assert ended.code == 0
    return out.read_bytes(), len(ended.events)


def check_failure_at(
    event: int, small: Survey, launcher: Launcher, expected: bytes, out: Path, number: int = errno.ENOSPC
) -> int:
    """The exit code of a run whose n-th change of the disk fails; what follows must be as if it had never been."""
    words = small.predict("--order", 2, out=out)
    ended = launcher.run(words, at=event, do="error", errno=number)
    assert ended.code in (0, 6), (event, ended.code, ended.err)
    assert "Traceback" not in ended.err
    if ended.code:
        assert ended.err.count("error: ") == 1, ended.err
        assert ended.err.count("hint:") == 1, ended.err
        assert os.strerror(number) in ended.err
        assert not out.exists() or out.read_bytes() == expected
    assert not list(out.parent.glob(".*.tmp")), event
    again = launcher.run(words)
    assert again.code == 0, (event, again.err)
    assert out.read_bytes() == expected, event
    assert [path.name for path in out.parent.iterdir()] == ["p.fits"], event
    return ended.code


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_disk_that_refuses_one_change(
    small: Survey, launcher: Launcher, reference: Any, tmp_path: Path, number: int, record_fault: Record
) -> None:
    expected, events = reference
    codes = []
    for event in spread(events, DISK_CHANGES):
        codes.append(check_failure_at(event, small, launcher, expected, tmp_path / str(event) / "p.fits", number))
        record_fault()
    # Where only a removal fails nothing is lost; everything before that must have been noticed.
    assert codes.count(6) > len(codes) / 2


def test_disk_that_stays_full(
    small: Survey, launcher: Launcher, reference: Any, tmp_path: Path, record_fault: Record
) -> None:
    expected, events = reference
    for event in spread(events, DISK_CHANGES // 4):
        out = tmp_path / str(event) / "p.fits"
        ended = launcher.run(small.predict("--order", 2, out=out), at=event, times=10**6, do="error")
        assert ended.code in (0, 6), ended.err
        assert launcher.run(small.predict("--order", 2, out=out)).code == 0
        assert out.read_bytes() == expected
        record_fault()


@pytest.mark.parametrize("limit", [2000, 9000, 30_000])
def test_file_size_limit(small: Survey, galcli_process: Run, tmp_path: Path, limit: int) -> None:
    """A real refusal by the kernel in the middle of a write."""
    import resource
    import subprocess
    import sys

    words = [str(word) for word in small.predict("--order", 0, out=tmp_path / "p.fits")]
    done = subprocess.run(
        [sys.executable, "-m", "galcli", *words], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode in (0, 6), done.stderr
    assert (done.returncode == 0) == (tmp_path / "p.fits").exists()
    if done.returncode:
        assert "File too large" in done.stderr


def test_output_in_a_place_that_is_no_folder(small: Survey, galcli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    galcli(*small.predict(out=tmp_path / "file" / "p.fits"), code=6)
    galcli(*small.predict(out=Path("/proc/galcli/p.fits")), code=6)
    galcli(*small.predict(out=tmp_path / ("p" * 300)), code=6)
    galcli(*small.predict(out=tmp_path), code=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(small: Survey, galcli: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    galcli(*small.predict(out=tmp_path / "p.fits"), code=6)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_devices_are_not_replaced(small: Survey, galcli: Run, tmp_path: Path, overwrite: list[str]) -> None:
    """As root, a rename onto /dev/null would break the machine: a pipe stands in for it here."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    galcli(*small.predict(*overwrite, out=pipe), code=6)
    assert pipe.is_fifo()
    assert not RunPaths(pipe).root.exists()


def test_strange_names(small: Survey, galcli: Run, reference: Any, tmp_path: Path) -> None:
    for name in (
        "with space.fits",
        "größe.fits",
        "new\nline.fits",
        "[b].fits",
        "c (1)+1",
        "a" * 200 + ".fits",
        "no ending",
        "%s{}.fits",
    ):
        out = tmp_path / name
        galcli(*small.predict("--order", 2, out=out))
        assert out.read_bytes() == reference[0]
        galcli("validate", out)
        galcli("status", out)


def test_error_of_a_name_with_a_line_break_is_one_line(small: Survey, galcli: Run, tmp_path: Path) -> None:
    out = tmp_path / "new\nline.fits"
    out.write_bytes(b"something")
    galcli(*small.predict(out=out), code=6)


def test_two_long_names_do_not_disturb_each_other(tmp_path: Path) -> None:
    """What is swept away before a merge is never the half-written file of another table."""
    from galcli.tables.atomic import AtomicFile, clear_partial

    long = "a" * 60
    pairs = [(f"{long}1.fits", f"{long}2.fits"), ("p.fits", "p.fits.gz"), ("p.fits", "p.fits.2.fits")]
    for mine, other in pairs:
        with AtomicFile(tmp_path / other) as file:
            file.write(b"x" * 10)
            clear_partial(tmp_path / mine)
            file.commit()
        assert (tmp_path / other).read_bytes() == b"x" * 10


@pytest.mark.parametrize("name", ["survey (1)", "[new]", "x+1", "größe, maß", "50%", "a\nb"])
@pytest.mark.parametrize("loose", [False, True], ids=["stacks", "files"])
def test_surveys_in_folders_with_strange_names(tmp_path: Path, galcli: Run, name: str, loose: bool) -> None:
    """As browsers and file managers name them."""
    survey = make_survey(tmp_path / "plain", 5, loose=loose)
    galcli(*survey.predict())
    expected = read_predictions(survey.out)
    survey.root.rename(tmp_path / name)
    moved = dataclasses.replace(survey, root=tmp_path / name)
    galcli(*moved.predict("--overwrite"))
    out = (tmp_path / "p.fits").absolute()
    moved.out.rename(out)
    np.testing.assert_array_equal(read_predictions(out), expected)
