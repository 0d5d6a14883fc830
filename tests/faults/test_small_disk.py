"""A real disk that is too small or may not be written to: a tmpfs, mounted in a namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.predict.paths import RunPaths
from tests.faults.counts import DISK_SIZES
from tests.launcher import ROOT
from tests.survey import Survey, make_survey

#: Runs galcli on a disk of $1 bytes mounted at $2, says what is left, and runs it again with room. The rest is galcli's.
SMALL_DISK = """
size=$1 place=$2; shift 2
mount -t tmpfs -o size=$size tmpfs $place || exit 99
"$@" > $place.said 2> $place.first; echo $?
find $place -name '*.tmp' | wc -l
mount -o remount,size=64m $place
"$@" > $place.said 2> $place.second; echo $?
cp $place/p.fits $place.copy
ls -A $place
"""
READ_ONLY = """
place=$1; shift
mount --bind $place $place && mount -o remount,bind,ro $place || exit 99
"$@" > /dev/null; echo $?
ls -A $place
"""


def in_namespace(script: str, *words: object) -> list[str]:
    """Lines that a shell script with mounts of its own printed."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode in (1, 99, 127) and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"this system mounts nothing for us: {done.stderr.strip()}")
    assert "Traceback" not in done.stderr
    return [*done.stdout.split(), done.stderr]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return make_survey(tmp_path_factory.mktemp("disk") / "survey", 12)


def galcli_at(survey: Survey, out: Path) -> list[str]:
    return [sys.executable, "-m", "galcli", *survey.predict("--order", 2, out=out)]


def test_disk_that_fills_up(small: Survey, launcher: Any, tmp_path: Path, record_fault: Any) -> None:
    """From one page to just enough: the last sizes overflow only with the last file, or when it is closed."""
    place = tmp_path / "disk"
    place.mkdir()
    whole = tmp_path / "whole" / "p.fits"
    assert launcher.run(small.predict("--order", 2, "--keep-tiles", out=whole)).code == 0
    needed = sum(-(-path.stat().st_size // 4096) for path in whole.parent.rglob("*") if path.is_file()) * 4096
    codes = []
    for size in np.linspace(4096, needed + 16384, DISK_SIZES).astype(int) // 4096 * 4096:
        code, strays, again, *left = in_namespace(SMALL_DISK, size, place, *galcli_at(small, place / "p.fits"))
        first = (tmp_path / "disk.first").read_text()
        codes.append(int(code))
        assert code in ("0", "6"), first
        if code == "6":
            assert first.count("error: ") == first.count("hint:") == 1, first
            assert "No space left on device" in first
            assert str(place) in first
            assert "bytes are needed" in first or ".run" in first
        assert (strays, again, left) == ("0", "0", ["p.fits", ""]), (size, first)
        assert (tmp_path / "disk.copy").read_bytes() == whole.read_bytes(), size
        record_fault()
    assert codes[0] == 6
    record_fault(0, f"disks of 4096 to {needed + 16384:,} bytes: {codes.count(6)} of {len(codes)} were too small")


def test_read_only_disk(small: Survey, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    code, said = in_namespace(READ_ONLY, place, *galcli_at(small, place / "p.fits"))
    assert code == "6"
    assert "Read-only file system" in said
    assert said.count("error: ") == said.count("hint:") == 1
    assert not RunPaths(place / "p.fits").root.exists()
