"""Signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from galcli import interrupts
from galcli.errors import Interrupted


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_lost_terminal_stops_a_run() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with interrupts.graceful():
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Interrupted):
            interrupts.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_run_under_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts.graceful():
        os.kill(os.getpid(), signal.SIGHUP)
        interrupts.check()
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Interrupted):
            interrupts.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
