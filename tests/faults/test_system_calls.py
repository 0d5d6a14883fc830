"""Reads that the kernel refuses (EIO), those of cfitsio and Arrow included: a clean error or a marked row."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from tests.cutouts.sky_images import header, write
from tests.faults.counts import SYSTEM_CALLS, spread
from tests.survey import Survey, make_survey, raw_rows, read_predictions

Run = Callable[..., object]
Record = Callable[..., None]

_STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=read,pread64"]


def _can_trace() -> bool:
    """strace may be missing, or forbidden as in some containers."""
    return bool(shutil.which("strace")) and not subprocess.run([*_STRACE, "true"], capture_output=True).returncode


pytestmark = pytest.mark.skipif(not _can_trace(), reason="strace is not installed or not allowed")


def rice_stack(survey: Survey, galcli: Run) -> tuple[Path, list[object]]:
    packed = survey.root / "packed"
    galcli("cutouts", "pack", survey.catalog, "--cutouts", survey.cutouts, "-o", packed, "--compression", "rice")
    return min(packed.rglob("*.fits")), ["--cutouts", packed]


def packed_image(survey: Survey, galcli: Run) -> tuple[Path, list[object]]:
    rows = Table.read(survey.catalog)
    rows["DEC"] = float(rows["DEC"][0])
    rows["RA"] = float(rows["RA"][0]) + 4e-4 * np.arange(len(rows))
    rows.write(survey.catalog, overwrite=True)
    for band in "grz":
        head = header(200, ra=rows["RA"][0], dec=rows["DEC"][0], FILTER=band)
        write(survey.root / f"a-image-{band}.fits.fz", head, compress=True)
    return survey.root / "a-image-g.fits.fz", ["--cutouts", survey.root / "*-image-*.fits.fz"]


def catalogue(kind: str) -> Callable[[Survey, Run], tuple[Path, list[object]]]:
    def make(survey: Survey, galcli: Run) -> tuple[Path, list[object]]:
        path = survey.root / f"catalog.{kind}"
        if kind != "fits":
            Table.read(survey.catalog).write(path)
        return path, ["--cutouts", survey.cutouts]

    return make


KINDS = {
    "Rice stack": rice_stack, "packed image": packed_image, "FITS catalogue": catalogue("fits"),
    "Parquet catalogue": catalogue("parquet"), "CSV catalogue": catalogue("csv"),
}  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_read_that_the_kernel_refuses(tmp_path: Path, galcli: Run, record_fault: Record, kind: str) -> None:
    survey = make_survey(tmp_path / "survey", 10)
    file, more = KINDS[kind](survey, galcli)
    catalog = file if "catalogue" in kind else survey.catalog
    words = ["predict", catalog, "--model", survey.model, "--device", "cpu", "--threads", 1, *more, "-o"]

    def traced(out: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
        log = tmp_path / "calls"
        command = [*_STRACE, "-P", file, "-o", log, *options, sys.executable, "-m", "galcli", *words, out]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
        return done, log.read_text(encoding="utf-8")

    whole, calls = traced(tmp_path / "whole.fits")
    assert not whole.returncode, whole.stderr
    rows = raw_rows(tmp_path / "whole.fits")
    refused = marked = tries = 0
    # Calls are counted in each thread by itself: there may be fewer of a number than there are calls.
    for number in spread(len(re.findall(r"(read|pread64)\(", calls)), SYSTEM_CALLS):
        out = tmp_path / str(number) / "p.fits"
        out.parent.mkdir()
        done, calls = traced(out, "-e", f"inject=read,pread64:error=EIO:when={number}")
        if "INJECTED" not in calls:
            break
        what = (number, done.returncode, done.stderr)
        assert done.returncode in (0, 3, 4, 5), what
        assert "Traceback" not in done.stderr, what
        starts = [line.partition(":")[0] for line in done.stderr.splitlines()]
        assert starts.count("error") == starts.count("hint") == bool(done.returncode), what
        if done.returncode in (0, 3):
            changed = raw_rows(out) != rows
            assert (read_predictions(out)["STATUS"][changed] != 0).all(), what
            marked += int(changed.any())
        else:
            refused += 1
            assert not out.exists(), what
        tries += 1
    assert refused + marked
    record_fault(
        tries, f"EIO by the kernel, reading a {kind}: {tries} runs, {refused} refused, {marked} with marked rows"
    )
