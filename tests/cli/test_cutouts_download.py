"""``galcli cutouts download`` as a user gives it: stopped, killed, and followed by ``galcli predict``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import service as fake
from tests.average import write_average
from tests.launcher import ROOT
from tests.survey import read_predictions, write_catalog

Run = Callable[..., Any]
N = 30
RA = np.arange(N) * 2.5 + 100
IDS = np.arange(N) + 4_000_000_000_000_000_000


@pytest.fixture
def words(service: fake.Service, tmp_path: Path) -> list[str]:
    """The everyday command, against the service of this test."""
    catalog = write_catalog(tmp_path / "catalog.fits", TARGETID=IDS, RA=RA, DEC=np.zeros(N))
    return [
        "cutouts", "download", str(catalog), "--survey", "legacy", "-o", str(tmp_path / "cut"), "--size", "16",
        "--rate", "1000", "--url", service.url,
    ]  # fmt: skip


def predict(galcli: Run, tmp_path: Path, **card: Any) -> Any:
    """Mean fluxes that the averaging model finds in the folder."""
    model = write_average(tmp_path / "average.onnx", 16, **card)
    galcli(
        "predict", tmp_path / "catalog.fits", "--cutouts", tmp_path / "cut", "--model", model, "--device", "cpu",
        "--threads", 1, "-o", tmp_path / "p.fits", "--overwrite",
    )  # fmt: skip
    rows = read_predictions(tmp_path / "p.fits")
    assert not rows["STATUS"].any()
    return rows["AVG_FLUX"]


def test_predict_finds_what_was_downloaded(galcli: Run, words: list[str], tmp_path: Path) -> None:
    result = galcli(*words)
    assert f"{N} fetched, 0 were there, 0 failed" in result.err
    expected = [fake.pixels(ra, 3, 16).mean(axis=(1, 2)) for ra in RA]
    np.testing.assert_allclose(predict(galcli, tmp_path), expected, rtol=1e-5)


def test_predict_finds_what_came_from_panstarrs(galcli: Run, words: list[str], tmp_path: Path) -> None:
    words[words.index("legacy")] = "panstarrs"
    galcli(*words, "--bands", "grz")
    zero = [25 + 2.5 * np.log10(fake.PS1_EXPOSURES[band]) for band in "grz"]
    expected = [
        fake.pixels(ra, 5, 16)[[0, 1, 3]].mean(axis=(1, 2)) * 100 * 10 ** ((22.5 - np.array(zero)) / 2.5) for ra in RA
    ]
    np.testing.assert_allclose(predict(galcli, tmp_path, scale=0.25), expected, rtol=1e-5)


def test_flux_survives_another_pixel_scale(galcli: Run, words: list[str], tmp_path: Path) -> None:
    """The service interpolates; the reader multiplies by the ratio of the pixels' areas."""
    galcli(*words, "--pixel-scale", "0.524")
    expected = [fake.pixels(ra, 3, 16).mean(axis=(1, 2)) * 4 for ra in RA]
    np.testing.assert_allclose(predict(galcli, tmp_path, scale=0.524), expected, rtol=1e-5)


def test_events_are_json_lines(galcli: Run, words: list[str], service: fake.Service, tmp_path: Path) -> None:
    service.misdeeds[f"{RA[3]:.7f}"] = [fake.says(404)]
    events = [json.loads(line) for line in galcli(*words, "--json").out.splitlines()]
    assert [event["event"] for event in events] == ["start", *["progress"] * (len(events) - 2), "done"]
    done = [event["done"] for event in events if event["event"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == N
    assert events[-1] == {
        "event": "done", "out": str(tmp_path / "cut"), "rows": N, "fetched": N - 1, "present": 0, "failed": 1,
    }  # fmt: skip


def test_too_many_failures(galcli: Run, words: list[str], service: fake.Service, tmp_path: Path) -> None:
    for ra in RA[:6]:
        service.misdeeds[f"{ra:.7f}"] = [fake.says(404)]
    result = galcli(*words, code=3)
    assert "6 of 30 rows (20 %)" in result.error
    assert str(tmp_path / "cut" / "problems.csv") in result.hint
    assert "6 x 404 Not Found" in result.err
    galcli(*words, "--max-fail", "20")


def test_other_settings_are_refused(galcli: Run, words: list[str]) -> None:
    galcli(*words, "--limit", 1)
    result = galcli(*words, "--size", 32, code=4)
    assert "size 16, now 32" in result.error
    assert "-o" in result.hint


def test_refusals(galcli: Run, words: list[str], service: fake.Service, tmp_path: Path) -> None:
    galcli(*words, "--url", "ftp://127.0.0.1", code=2)
    galcli(*words, "--jobs", 17, code=2)
    galcli(*words, "--rate", 0, code=2)
    galcli(*words, "--bands", "ggr", code=4)
    galcli(*words, "--survey", "panstarrs", "--layer", "x", code=2)
    galcli(*words[:2], tmp_path / "none.fits", *words[3:], code=4)
    (tmp_path / "file").write_text("")
    galcli(*words, "-o", tmp_path / "file", code=6)
    write_catalog(tmp_path / "nowhere.fits", TARGETID=IDS)
    galcli(*words[:2], tmp_path / "nowhere.fits", *words[3:], code=4)
    assert not service.asked


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "galcli", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(service: fake.Service, requests: int) -> None:
    end = time.monotonic() + 30
    while len(service.asked) < requests:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_at_any_moment_nothing_half_is_kept(
    galcli: Run, words: list[str], service: fake.Service, tmp_path: Path, how: signal.Signals
) -> None:
    service.delay = 0.01
    service.misdeeds[f"{RA[20]:.7f}"] = [fake.hangs, None]  # a thread that waits does not keep the rest waiting
    process = start(words)
    wait_for(service, 23)
    began = time.monotonic()
    process.send_signal(how)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 75), err
    assert "Traceback" not in err
    there = {path.name for path in (tmp_path / "cut").glob("*.fits")}
    assert 10 < len(there) < N
    if how != signal.SIGKILL:
        assert not list((tmp_path / "cut").glob(".*.tmp"))
        assert "the same command" in err or "give the same command again" in err
    service.asked.clear()
    result = galcli(*words)
    assert f"{N - len(there)} fetched, {len(there)} were there" in result.err
    assert len(service.asked) == N - len(there)
    assert not list((tmp_path / "cut").glob(".*.tmp"))
    predict(galcli, tmp_path)


def test_two_downloads_into_one_folder(galcli: Run, words: list[str], service: fake.Service) -> None:
    service.delay = 0.2
    process = start(words)
    try:
        wait_for(service, 1)
        assert "another galcli" in galcli(*words, code=6).error
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
