"""Disks that know no flock: leases that are renewed while their holders live, and taken over when they do not."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galcli.errors import OutputError
from galcli.predict import claims, lease
from galcli.predict.claims import claim, run_lock, waiting_lock
from galcli.predict.paths import RunPaths
from tests.survey import Survey

Run = Callable[..., Any]


@pytest.fixture(autouse=True, params=[errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
def _without_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(claims, "POLL", 0.01)


def age(path: Path) -> None:
    """As if its holder had died long ago."""
    long_ago = time.time() - lease.STALE - 1
    os.utime(path, (long_ago, long_ago))


def test_claim_is_alone_and_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "tile.lock"
    with claim(path) as first, claim(path) as second:
        assert (first, second) == (True, False)
    with claim(path) as again:
        assert again
    assert not list(path.parent.glob("*.lease"))


def test_run_is_shared_by_shards_only(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with run_lock(path, shared=True), run_lock(path, shared=True), pytest.raises(OutputError, match="another galcli"):
        run_lock(path, shared=False).__enter__()
    with run_lock(path, shared=False):
        for shared in (False, True):
            with pytest.raises(OutputError, match="another galcli"):
                run_lock(path, shared=shared).__enter__()


@pytest.mark.parametrize("shared", [False, True])
def test_lease_of_a_dead_process_is_taken_over(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "lock"
    dead = lease.take(path, shared=shared)  # its thread is still waiting for the first renewal
    age(next(tmp_path.glob("*.lease")))
    with run_lock(path, shared=False):
        dead()  # it was asleep, not dead: what it gives back is not the new holder's
        with claim(path) as ours:
            assert not ours
    assert not list(tmp_path.glob(".*"))


def test_lease_taken_aside_by_mistake_is_put_back(tmp_path: Path) -> None:
    with claim(tmp_path / "lock"):
        held = tmp_path / "lock.lease"
        before = held.stat().st_ino
        lease._move_aside(held)
        assert held.stat().st_ino == before


def test_living_holder_renews_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL", 0.01)
    with claim(tmp_path / "lock"):
        age(tmp_path / "lock.lease")
        began = time.monotonic()
        while not lease._is_held(tmp_path / "lock.lease"):
            assert time.monotonic() - began < 30
            time.sleep(0.01)
        with claim(tmp_path / "lock") as ours:
            assert not ours


def test_waiting_ends_when_the_holder_has_gone(tmp_path: Path) -> None:
    release = lease.take(tmp_path / "lock")
    threading.Timer(0.1, release).start()
    with waiting_lock(tmp_path / "lock"), claim(tmp_path / "lock") as ours:
        assert not ours


def test_shards_and_merge_equal_one_run(survey: Survey, reference: bytes, galcli: Run) -> None:
    for index in range(2):
        galcli(*survey.predict("--order", 3, "--shard", f"{index}/2"))
    galcli("merge", RunPaths(survey.out).root)
    assert survey.out.read_bytes() == reference
    galcli(*survey.predict("--order", 3, "--overwrite", "--restart"))
    assert survey.out.read_bytes() == reference
    assert not RunPaths(survey.out).root.exists()
