"""What surrounds a run may change: memory, size, locale, umask, network, other readers, another version."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.cutouts.stack_write import write_stack
from galcli.predict.plan import TILE_ROWS
from galcli.sky import healpix
from tests.average import write_average
from tests.benchmarks import memory
from tests.faults.counts import MEMORY_ROWS
from tests.launcher import ROOT
from tests.predict.conftest import halt
from tests.survey import SCALE, SIDE, Survey, make_survey, noise, raw_rows, read_predictions, write_catalog, write_stamp

Run = Callable[..., Any]
Record = Callable[..., None]


# --- F10: pixels that are not what the model wants ------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.99, 1.01, 0.5, 2.0])
def test_wrong_pixel_scale_is_resampled(tmp_path: Path, galcli: Run, factor: float) -> None:
    """A flat image in flux per area gives the same mean, once its pixels are those of the model."""
    survey = make_survey(tmp_path / "s", 4, loose=True)
    for row in range(4):
        flat = np.full((3, 40, 40), 5.0, np.float32) + noise(1, 40, seed=row)[0] * 1e-3
        cd = np.diag([-SCALE * factor, SCALE * factor]) / 3600
        path = survey.cutouts / f"{survey.ids[row]}.fits"
        write_stamp(path, flat, survey.ra[row], survey.dec[row], cd=cd, SURVEY="none", BUNIT="nanomaggy")
    galcli(*survey.predict())
    rows = read_predictions(survey.out)
    assert not rows["STATUS"].any()
    np.testing.assert_allclose(rows["AVG_FLUX"], 5.0 / factor**2, rtol=3e-3)


@pytest.mark.parametrize("side", [1, 4, 15, 17, 400])
def test_wrong_size_costs_its_own_row(tmp_path: Path, galcli: Run, side: int) -> None:
    """Too small is MASKED, larger is cut: never a neighbour's loss."""
    survey = make_survey(tmp_path / "s", 6, loose=True)
    galcli(*survey.predict())
    whole = raw_rows(survey.out)
    path = survey.cutouts / f"{survey.ids[2]}.fits"
    write_stamp(path, noise(1, side, seed=9)[0], survey.ra[2], survey.dec[2])
    galcli(*survey.predict("--overwrite", "--max-fail", 50))
    rows = read_predictions(survey.out)
    assert np.isfinite(rows["AVG_FLUX"][2]).all() == (side >= SIDE)
    assert bool(rows["STATUS"][2]) == (side < SIDE)
    np.testing.assert_array_equal(np.delete(raw_rows(survey.out), 2), np.delete(whole, 2))


# --- F14 to F16 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["galcli", "onnxruntime"])
def test_other_version_does_not_go_on(survey: Survey, galcli: Run, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    halt(survey, galcli)
    with monkeypatch.context() as patch:
        if what == "galcli":
            patch.setattr("galcli.predict.plan.__version__", "9.9")
        else:
            patch.setattr("galcli.models.runtime.version", lambda: "9.9")
        refused = galcli(*survey.predict("--order", 3), code=4)
    assert f"{what}: " in refused.error
    assert "-> 9.9" in refused.error
    assert "--restart" in refused.hint
    galcli(*survey.predict("--order", 3))


# --- F25, F26: size -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_catalogue(tmp_path: Path, record_fault: Record) -> None:
    model = write_average(tmp_path / "average.onnx", size=memory.SIDE)
    small, large = (
        memory.run_alone(memory.shared_survey(tmp_path / str(rows), rows, memory.SIDE), model).peak / 1e6
        for rows in MEMORY_ROWS
    )
    assert large < 1.10 * small
    assert large < 1000  # what --max-memory 1 promises
    record_fault(1, f"peak memory {small:.0f} MB at {MEMORY_ROWS[0]:,} rows, {large:.0f} MB at {MEMORY_ROWS[1]:,}")


def test_twenty_thousand_small_tiles(tmp_path: Path, galcli: Run, record_fault: Record) -> None:
    """Planned in seconds: read, hashed, distributed, written."""
    survey = make_survey(tmp_path / "s", 3)
    ra, dec = healpix.center(6, np.arange(0, 12 * 4**6, 2))
    assert len(ra) > 20_000
    write_catalog(survey.catalog, OBJECT_ID=np.arange(len(ra)), RA=ra, DEC=dec)
    began = time.process_time()
    said = galcli("plan", survey.catalog, "--model", survey.model, "--order", 6, "--threads", 1, "--json").out
    seconds = time.process_time() - began
    assert f'"tiles": {len(ra)}' in said
    assert seconds < 5
    record_fault(1, f"{len(ra):,} tiles planned in {seconds:.1f} s of processor time")


def test_one_huge_tile_is_split(tmp_path: Path, galcli: Run) -> None:
    """50,000 galaxies in one pixel of order 6, and as many tiles as their number asks for."""
    n = 50_000
    survey = make_survey(tmp_path / "s", 3)
    below = np.random.default_rng(0).integers(0, 1 << 28, n)
    ra, dec = healpix.center(20, (np.full(n, 1000) << 28) + below)
    write_catalog(survey.catalog, OBJECT_ID=np.arange(n), RA=ra, DEC=dec)
    shared = np.arange(n, dtype=np.int64) % 3
    shutil.rmtree(survey.cutouts)
    write_stack(survey.root / "catalog_cutouts.fits", np.arange(n), ra, dec, noise(3), "grz", SCALE, rows=shared)
    galcli(*survey.predict("--keep-tiles"))
    tiles = list((survey.out.parent / "predictions.fits.run").glob("Norder=*/Dir=*/Npix=*.fits"))
    assert n // TILE_ROWS <= len(tiles) <= 4 * n // TILE_ROWS
    rows = read_predictions(survey.out)
    np.testing.assert_array_equal(rows["OBJECT_ID"], np.arange(n))
    np.testing.assert_allclose(rows["AVG_FLUX"], noise(3).mean(axis=(2, 3), dtype=np.float64)[shared], rtol=1e-5)


# --- F27: other readers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(shared_survey: Survey, galcli: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "p.fits"
    galcli(*shared_survey.predict("--columns", "ra", out=out))
    return out


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
def test_fitsverify_finds_nothing(table: Path) -> None:
    done = subprocess.run(["fitsverify", str(table)], capture_output=True, text=True)
    assert "0 warning(s) and 0 error(s)" in done.stdout, done.stdout


@pytest.mark.skipif(shutil.which("stilts") is None, reason="STILTS is not installed")
def test_stilts_reads_every_row(table: Path) -> None:
    words = ["stilts", "tpipe", f"in={table}#PREDICTIONS", "omode=count"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rows: 48" in done.stdout
    assert "WARNING" not in done.stderr


def test_pandas_reads_every_row(table: Path) -> None:
    from astropy.table import Table

    found = Table.read(table, hdu="PREDICTIONS")
    frame = found[[name for name in found.colnames if found[name].ndim == 1]].to_pandas()
    assert len(frame) == 48
    assert frame["STATUS"].eq(0).all()


# --- F28, F29: where it runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_bytes_do_not_depend_on_umask(survey: Survey, table: Path, tmp_path: Path, umask: int) -> None:
    """In another place, under another umask and hash seed."""
    out = tmp_path / "p.fits"
    words = [sys.executable, "-m", "galcli", *survey.predict("--columns", "ra", out=out)]
    environment = os.environ | {"PYTHONHASHSEED": str(umask), "LC_ALL": "C", "TZ": "Asia/Kathmandu"}
    subprocess.run(words, cwd=ROOT, umask=umask, env=environment, capture_output=True, check=True)
    assert out.read_bytes() == table.read_bytes()
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


#: Commands that need no network; those whose work is to download belong to a list of their own.
OFFLINE: list[list[object]] = [
    ["doctor"], ["models", "list"], ["models", "show", "sfnet-metallicity"], ["models", "verify"], ["sample", "s"],
    ["plan", "s/catalog.fits", "--limit", 3], ["predict", "s/catalog.fits", "--limit", 3, "-o", "p.fits"],
    ["status", "p.fits"], ["validate", "p.fits"], ["mock", "m", "-n", 2, "--size", 32],
    ["evaluate", "sfnet-metallicity", "--limit", 8],
]  # fmt: skip


def test_everything_works_without_a_network(
    galcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_fault: Record
) -> None:
    asked: list[Any] = []

    def refuse(*where: Any, **_: Any) -> Any:
        asked.append(where)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    for words in OFFLINE:
        galcli(*words)
        record_fault()
    assert not asked
