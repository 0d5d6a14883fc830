"""A disk that cannot read (EIO) at the n-th call, for every n: a clean error or a marked row, never a wrong one."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from galcli.predict.paths import RunPaths
from tests.faults.counts import READS, spread
from tests.launcher import Launcher
from tests.survey import Survey, make_survey, noise, raw_rows, read_predictions

Record = Callable[..., None]


def stacks(root: Path) -> Survey:
    return make_survey(root, 10)


def fits_files(root: Path) -> Survey:
    return make_survey(root, 6, loose=True)


def pictures(root: Path) -> Survey:
    survey = make_survey(root, 6, loose=True)
    for number, path in enumerate(sorted(survey.cutouts.iterdir())):
        levels = np.clip(noise(1, seed=number)[0] * 12, 0, 255).astype(np.uint8)
        Image.fromarray(np.moveaxis(levels, 0, 2)).save(path.with_suffix(".png"))
        path.unlink()
    return survey


@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", [stacks, fits_files, pictures])
def test_failing_read(launcher: Launcher, tmp_path: Path, make: Callable[[Path], Survey], record_fault: Record) -> None:
    survey = make(tmp_path / "survey")
    how = {"reads": True, "where": str(tmp_path)}
    whole = launcher.run(survey.predict("--order", 1, out=tmp_path / "whole.fits"), **how)
    assert whole.code == 0, whole.err
    expected, rows = (tmp_path / "whole.fits").read_bytes(), raw_rows(tmp_path / "whole.fits")
    refused = marked = 0
    for event in spread(len(whole.events), READS):
        out = tmp_path / str(event) / "p.fits"
        words = survey.predict("--order", 1, out=out)
        ended = launcher.run(words, at=event, do="error", errno=errno.EIO, **how)
        what = (event, whole.events[event - 1], ended.code, ended.err)
        assert ended.code in (0, 3, 4, 5, 6), what
        assert "Traceback" not in ended.err, what
        starts = [line.partition(":")[0] for line in ended.err.splitlines()]
        assert starts.count("error") == starts.count("hint") == bool(ended.code), what
        if ended.code in (0, 3) and out.exists():
            changed = raw_rows(out) != rows
            assert (read_predictions(out)["STATUS"][changed] != 0).all(), what
            marked += int(changed.any())
        else:
            refused += 1
            assert not out.exists() or out.read_bytes() == expected, what
        assert not list(out.parent.rglob("*.tmp")), what
        again = launcher.run([*words, "--overwrite"])
        assert again.code == 0, (what, again.err)
        assert out.read_bytes() == expected, what
        assert not RunPaths(out).root.exists(), what
        record_fault()
    record_fault(0, f"EIO at each read of {make.__name__}: {refused} runs refused, {marked} with marked rows")


def test_killed_worker_of_four(launcher: Launcher, tmp_path: Path) -> None:
    """Shards are galcli's workers: one dies in the middle of a tile, the others make every tile.

    They begin when it is dead: on a busy machine they would have made all tiles before it came to its second.
    """
    survey = make_survey(tmp_path / "survey", 40)
    assert launcher.run(survey.predict("--order", 3, out=tmp_path / "whole.fits")).code == 0
    words = survey.predict("--order", 3)
    killed = launcher.run([*words, "--shard", "0/4"], at=2, where=".Npix", do=signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    others = [launcher.start([*words, "--shard", f"{index}/4"], pause=0.02) for index in (1, 2, 3)]
    assert [launcher.wait(run).code for run in others] == [0, 0, 0]
    made = len(list(RunPaths(survey.out).root.glob("Norder=*/**/Npix=*.fits")))
    merged = launcher.run(["merge", str(RunPaths(survey.out).root)])
    assert merged.code == 0, (made, merged.err)
    assert survey.out.read_bytes() == (tmp_path / "whole.fits").read_bytes()
