"""Counts the dreams that begin, and stops them."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from galcli.training.interpret import dmagnet_dreams as dreams


def count_dreams(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[int]:
    """One more entry for each dream that begins; a signal comes with the number given."""
    begun: list[int] = []
    real = dreams.dream

    def counted(*arguments: Any) -> Any:
        begun.append(len(begun))
        if len(begun) == stop_at:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(dreams, "dream", counted)
    return begun
