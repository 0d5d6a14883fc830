"""Connections whose answers begin in time: a time-out of urllib3 starts anew with every byte of a header that drips."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse


@contextlib.contextmanager
def _cut_off(connection: HTTPConnection) -> Iterator[None]:
    """Shut the connection down when its time-out has passed, so that whoever reads from it stops; then raise TimeoutError."""
    late = threading.Event()

    def shut() -> None:
        late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(float(connection.timeout or 0), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # to http.client a header that ends early is a whole one
            raise TimeoutError


class _Http(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with _cut_off(self):
            return super().getresponse()


class _Https(HTTPSConnection, _Http):
    """The same: `_Http` comes before the common parent in its order of resolution."""


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


#: For ``pool_classes_by_scheme`` of a urllib3.PoolManager.
POOLS: dict[str, Any] = {"http": _HttpPool, "https": _HttpsPool}
