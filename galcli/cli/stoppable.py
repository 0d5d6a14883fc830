"""How commands of training end when they are stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from galcli.errors import Interrupted


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C before the first step or in the export ends like one between the steps: what is finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped", "give the same command again, with --resume if steps were done") from None
