"""A service that misbehaves: every bad answer is noticed, named, and costs its own row only."""

from __future__ import annotations

import email.utils
import itertools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galcli.cutouts.download import Tally, download
from galcli.cutouts.http import BadAnswerError, Client, Manners, page_title
from galcli.cutouts.services import make_service
from galcli.errors import InputError, OutputError, UsageError
from galcli.progress import Lines
from galcli.sky.catalog import open_catalog
from tests import service as fake
from tests.cutouts.test_download import HASTY, names, problems
from tests.survey import write_catalog

BAD = "150.0000000"
ROWS = 4


Fetch = Callable[..., Tally]


@pytest.fixture
def fetch(service: fake.Service, tmp_path: Path) -> Fetch:
    """Download for a catalogue of some rows, of which row 1 lies where the service misbehaves."""

    def run(manners: Manners = HASTY, rows: int = ROWS, url: str = "", survey: str = "legacy") -> Tally:
        ra = 149.9 + np.arange(rows) * 0.1
        path = write_catalog(tmp_path / "catalog.fits", RA=ra, DEC=ra * 0 + 1)
        with open_catalog(path) as catalog:
            return download(
                catalog, tmp_path / "cut", make_service(survey, size=16), Lines(),
                url=url or service.url, manners=manners,
            )  # fmt: skip

    return run


def asked(service: fake.Service) -> int:
    """Requests for the bad row."""
    return sum(query.get("ra") == BAD for _, query in service.asked)


PAGE = b"<!DOCTYPE html>\n<html><head><title>Bad\n gateway &amp; more</title></head><body>sorry</body></html>"
NOTHING = np.zeros((3, 16, 16), np.float32)

#: What happens, requests made for the row, and what the list of problems says.
FATAL: list[tuple[fake.Misdeed, int, str]] = [
    (fake.says(400, b"no"), 1, "400 Bad Request"),
    (fake.says(404, PAGE), 1, "404 Not Found: Bad gateway & more"),
    (fake.says(204), 1, "204"),
    (fake.says(503, PAGE), 4, "503 Service Unavailable: Bad gateway & more (tried 4 times)"),
    (fake.says(500), 4, "500"),
    (fake.says(429, Retry_After="0"), 4, "429"),
    (fake.resets, 4, "tried 4 times"),
    (fake.promises_more, 4, "IncompleteRead"),
    (fake.promises_less, 1, "shorter than its header says"),
    (fake.cuts(2880 + 1000), 1, "shorter than its header says"),
    (fake.cuts(1000), 1, "header without end"),
    (fake.cuts(7000), 1, "its last block is cut"),
    (fake.gives(PAGE), 1, "a web page instead of FITS: Bad gateway & more"),
    (fake.gives(b"plain words"), 1, "not FITS"),
    (fake.gives(b""), 1, "empty answer"),
    (fake.gives(b"SIMPLE  = " + bytes(9000)), 1, "damaged"),
    (fake.changed(image=NOTHING), 1, "does not cover this position"),
    (fake.changed(image=NOTHING * np.float32(np.nan)), 1, "does not cover this position"),
    (fake.changed(image=NOTHING[:, :15, :15] + 1), 1, "15 x 15 pixels instead of 16 x 16"),
    (fake.changed(image=NOTHING[:2] + 1, BANDS="gr", BAND2=None), 1, "bands g,r instead of g,r,z"),
    (fake.changed(BANDS="gri"), 1, "bands g,r,i instead of g,r,z"),
    (fake.changed(BANDS=None, BAND0=None, BAND1=None, BAND2=None), 1, "names no bands"),
    (fake.changed(OVERLAP=False), 1, "does not cover this position"),
    (fake.changed(OVERLAP="F"), 1, "does not cover this position"),
    (fake.changed(CRVAL1=10.0), 1, "outside the image"),
    (fake.changed(CD1_1=-1e-4, CD2_2=1e-4), 1, '0.36" per pixel instead of 0.262'),
    (fake.changed(CD1_1=None, CD1_2=None, CD2_1=None, CD2_2=None), 1, "per pixel instead of"),
    (fake.goes_round, 6, "redirected more than 5 times"),
    (fake.says(302, Location="file:///etc/passwd"), 1, "redirected to what is no http"),
    (fake.says(302, Location="http://[bad"), 1, "redirected to what is no http"),
    (fake.gives(bytes(1 << 21)), 1, "answer of more than"),
]  # fmt: skip


@pytest.mark.parametrize(("misdeed", "requests", "reason"), FATAL, ids=[reason for _, _, reason in FATAL])
def test_bad_answer_costs_its_row_only(
    fetch: Fetch, service: fake.Service, tmp_path: Path, misdeed: fake.Misdeed, requests: int, reason: str
) -> None:
    service.misdeeds[BAD] = [misdeed]
    tally = fetch()
    assert (tally.fetched, tally.failed) == (ROWS - 1, 1)
    assert names(tmp_path / "cut") == ["0.fits", "2.fits", "3.fits", "download.json", "problems.csv"]
    (row, identifier, said), *others = problems(tmp_path / "cut")
    assert not others
    assert (row, identifier) == (1, "1")
    assert reason in said
    assert asked(service) == requests
    service.misdeeds.clear()
    assert (fetch().fetched, names(tmp_path / "cut")) == (1, [f"{n}.fits" for n in range(ROWS)] + ["download.json"])


@pytest.mark.parametrize("misdeed", [fake.hangs, fake.drips, fake.drips_header])
def test_service_that_takes_too_long(fetch: Fetch, service: fake.Service, tmp_path: Path, misdeed: Any) -> None:
    service.misdeeds[BAD] = [misdeed]
    began = time.monotonic()
    tally = fetch(Manners(rate=1e4, timeout=0.2, retries=1, backoff=0.001))
    assert time.monotonic() - began < 10
    assert (tally.fetched, tally.failed, asked(service)) == (ROWS - 1, 1, 2)
    assert "within 0.2 s" in problems(tmp_path / "cut")[0][2]


PASSING: list[list[fake.Misdeed | None]] = [
    [fake.says(503), fake.says(503), None],
    [fake.says(500), fake.says(502), fake.says(504), None],
    [fake.resets, fake.promises_more, None],
    [fake.hangs, None],
    [fake.says(429, Retry_After="0"), None],
    [fake.says(429, Retry_After="soon"), None],
    [fake.moves, fake.moves, None],
]


@pytest.mark.parametrize("misdeeds", PASSING)
def test_trouble_that_passes_is_no_problem(fetch: Fetch, service: fake.Service, misdeeds: list[Any]) -> None:
    service.misdeeds[BAD] = list(misdeeds)
    manners = Manners(rate=1e4, timeout=1, backoff=0.001)
    assert fetch(manners).fetched == ROWS
    assert asked(service) == len(misdeeds)


def test_a_pause_asked_for_holds_for_all(fetch: Fetch, service: fake.Service) -> None:
    service.misdeeds[BAD] = [fake.says(429, Retry_After="1"), None]
    tally = fetch(Manners(jobs=1, rate=1e4, backoff=0.001), rows=6)
    assert tally.fetched == 6
    gaps = np.diff(service.times)
    assert len(service.times) == 7
    assert 0.95 < gaps.max() < 3
    assert np.sort(gaps)[-2] < 0.9


@pytest.mark.parametrize("header", [{}, {"Retry_After": "0"}, {"Retry_After": "-5"}, {"Retry_After": "soon"}])
def test_too_many_requests_slow_down_all(fetch: Fetch, service: fake.Service, header: dict[str, str]) -> None:
    """Whatever the service says of the time: a second of back-off, or half as much, without any request."""
    service.misdeeds[BAD] = [fake.says(429, **header), None]
    assert fetch(Manners(jobs=4, rate=20, backoff=1), rows=20).fetched == 20
    refused = next(i for i, (_, query) in enumerate(service.asked) if query["ra"] == BAD)
    gaps = np.diff(service.times)
    assert 0.45 < gaps[refused : refused + 4].max() < 3
    assert np.sort(gaps)[-2] < 0.4


def test_a_pause_may_be_given_as_a_date_and_is_capped(service: fake.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galcli.cutouts.http._MAX_WAIT", 0.3)
    for text in ("86400", email.utils.formatdate(time.time() + 86400, usegmt=True)):
        service.misdeeds[BAD] = [fake.says(503, Retry_After=text), None]
        service.times.clear()
        client = Client(service.url, HASTY, 1 << 20, threading.Event())
        client.get("fits-cutout", {"ra": BAD, "dec": 0, "layer": "x", "pixscale": 1, "size": 4, "bands": "g"})
        client.close()
        assert 0.29 < service.times[1] - service.times[0] < 2


def test_tries_are_further_and_further_apart(fetch: Fetch, service: fake.Service) -> None:
    service.misdeeds[BAD] = [fake.says(503)]
    fetch(Manners(jobs=1, rate=1e4, backoff=0.1))
    times = [moment for moment, (_, query) in zip(service.times, service.asked, strict=True) if query["ra"] == BAD]
    assert len(times) == 4
    for number, gap in enumerate(np.diff(times)):
        assert 0.05 * 2**number <= gap < 0.15 * 2**number + 1.5


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_never_more_requests_at_a_time_than_allowed(fetch: Fetch, service: fake.Service, jobs: int) -> None:
    service.delay = 0.03
    assert fetch(Manners(jobs=jobs, rate=1e4), rows=30).fetched == 30
    assert min(jobs, 2) <= service.busiest <= jobs


def test_never_more_requests_per_second_than_allowed(fetch: Fetch, service: fake.Service) -> None:
    """Retries and redirects count like any other request."""
    service.misdeeds[BAD] = [fake.says(503), fake.goes_round, None]
    began = time.monotonic()
    assert fetch(Manners(jobs=8, rate=40, backoff=0.001), rows=40).fetched == 40
    seconds = time.monotonic() - began
    assert len(service.times) == 42
    assert 41 / 40 <= seconds < 3
    for first, last in itertools.combinations(sorted(service.times), 2):
        inside = sum(first <= moment <= last for moment in service.times)
        assert inside - 1 <= 40 * (last - first + 0.15)  # a busy machine notes a request late, the next one at once


def test_host_that_does_not_exist_ends_the_download(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be reached: no connection: Failed to resolve 'galcli\.invalid'"):
        fetch(rows=500, url="http://galcli.invalid/x")
    assert 3 <= len(problems(tmp_path / "cut")) <= 8


@pytest.mark.parametrize("rows", [1, 500])
def test_port_where_nobody_listens_ends_the_download(fetch: Fetch, tmp_path: Path, rows: int) -> None:
    with pytest.raises(InputError, match=r"cannot be reached: no connection: .*refused"):
        fetch(rows=rows, url="http://127.0.0.1:9")
    assert len(list((tmp_path / "cut").glob("*.fits"))) == 0


def test_proxy_of_the_environment_is_used(fetch: Fetch, service: fake.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", service.url)
    monkeypatch.setenv("no_proxy", "localhost")
    assert fetch(url="http://galcli.invalid/base").fetched == ROWS


@pytest.mark.parametrize("proxy", ["socks9://x", "x:3128"])
def test_proxy_that_is_none(fetch: Fetch, service: fake.Service, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(UsageError, match="http_proxy"):
        fetch()


def test_a_full_stop_is_obeyed_after_the_last_try(fetch: Fetch, service: fake.Service) -> None:
    service.misdeeds[BAD] = [fake.says(503), fake.says(429, Retry_After="1"), None]
    assert fetch(Manners(jobs=1, rate=1e4, retries=1, backoff=0.001)).failed == 1
    assert np.diff(service.times).max() > 0.95


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_no_answer_whatever_ends_the_download(seed: int) -> None:
    """Headers with bytes changed at random are good, or bad with a reason, but never an error of the program."""
    rng = np.random.default_rng(seed)
    query = {"ra": BAD, "dec": "1", "layer": "ls-dr10", "pixscale": "0.262", "size": "16", "bands": "grz"}
    good, service, bad = fake.legacy_answer(query), make_service("legacy", size=16), 0
    for _ in range(400):
        answer = bytearray(good)
        for place in rng.integers(0, 30 * 80, rng.integers(1, 6)):
            answer[place] = rng.choice(list(b" 0123456789-+.'=/TFENDABC\xff\x00"))
        try:
            service.fetch(lambda page, query, data=bytes(answer): data, 150.0, 1.0)  # type: ignore[misc]
        except BadAnswerError:
            bad += 1
    assert 40 < bad < 400


@pytest.mark.parametrize(
    ("text", "title"),
    [(b"", ""), (b"<html>", ""), (b"<title></title>", ""), (b"\xff<TITLE lang=x> A&lt;B </TITLE>", "A<B"),
     (b"<h1>Not <b>here</b></h1>", "Not here"), (b"<title>" + b"long " * 99 + b"</title>", "long " * 39 + "long")],
)  # fmt: skip
def test_titles_of_pages(text: bytes, title: str) -> None:
    assert page_title(text)[:199] == title


def test_full_disk(fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = os.write, itertools.count()

    def full(descriptor: int, data: Any) -> int:
        if next(written) > 3:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OutputError, match="No space left"):
        fetch()
    assert not list((tmp_path / "cut").glob(".*.tmp"))
    monkeypatch.undo()
    assert fetch().done == ROWS
