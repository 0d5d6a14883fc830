"""Asking a cutout service politely: few requests at a time, evenly spaced, tried again when the service is busy."""

from __future__ import annotations

import contextlib
import html
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from galcli import __version__
from galcli.errors import UsageError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: Answers of a service that is busy or restarting: worth another try.
_TOO_MANY = 429
_BUSY = (_TOO_MANY, 500, 502, 503, 504)
_MOVED = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
#: Seconds that a service may make us wait at most, whatever it asks for.
_MAX_WAIT = 300.0
_CHUNK = 1 << 16


class BadAnswerError(Exception):
    """Why a row got no cutout, in one line."""


class UnreachableError(BadAnswerError):
    """No connection to the service came about."""


class StoppedError(Exception):
    """The download was stopped while this thread was waiting."""


class _BusyError(Exception):
    """A try failed in a way that may pass."""

    def __init__(self, reason: str, wait: float | None = None, *, connected: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.connected = connected


@dataclass(frozen=True)
class Manners:
    """How a service is treated.

    Attributes
    ----------
    jobs : int
        Requests at a time at most.
    rate : float
        Requests per second at most, of all threads together.
    timeout : float
        Seconds for a connection, and for a whole answer.
    retries : int
        Further tries of a request.
    backoff : float
        Seconds before the second try, doubled with each further one, plus or minus up to a half by chance.
    """

    jobs: int = 4
    rate: float = 5.0
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0


class _Pace:
    """Lets one request through at a time, evenly spaced."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._gap = 1 / rate
        self._stop = stop
        self._turn = threading.Lock()
        self._next = 0.0
        self._closed_until = 0.0

    def wait(self) -> None:
        """Return when the next request may start."""
        with self._turn:
            while (left := max(self._next, self._closed_until) - time.monotonic()) > 0:
                if self._stop.wait(left):
                    break
            if self._stop.is_set():
                raise StoppedError
            self._next = time.monotonic() + self._gap

    def close(self, seconds: float) -> None:
        """Let nothing through for a while."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)


class Client:
    """Gets answers of one service; threads may share it.

    Parameters
    ----------
    base : str
        Start of every URL, http or https.
    manners : Manners
    cap : int
        Bytes of an answer at most.
    stop : threading.Event
        Once set, every wait ends with `StoppedError`.

    Raises
    ------
    UsageError
        If ``base`` is no such URL.
    """

    def __init__(self, base: str, manners: Manners, cap: int, stop: threading.Event) -> None:
        import urllib3

        from galcli.cutouts.deadline import POOLS

        parts = _web_address(base)
        if parts is None:
            raise UsageError(f"{base!r} is no http or https URL", "give --url such as https://example.org/viewer")
        self.base = base.rstrip("/")
        self._manners = manners
        self._cap = cap
        self._stop = stop
        self._pace = _Pace(manners.rate, stop)
        how: dict[str, Any] = {"maxsize": manners.jobs, "headers": {"User-Agent": f"galcli/{__version__}"}}
        scheme, host = parts
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        try:
            self._pool = urllib3.ProxyManager(proxy, **how) if proxy else urllib3.PoolManager(**how)
        except urllib3.exceptions.LocationValueError as error:  # not shown: it may hold a password
            raise UsageError(
                f"the {scheme}_proxy of the environment cannot be used", "set it such as http://proxy.example.org:3128"
            ) from error

        self._pool.pool_classes_by_scheme = POOLS

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._pool.clear()

    def get(self, page: str, query: Mapping[str, object]) -> bytes:
        """Body of the answer to one question.

        Parameters
        ----------
        page : str
            What follows the base in the URL.
        query : mapping

        Returns
        -------
        bytes

        Raises
        ------
        BadAnswerError
            If there is none after all tries; UnreachableError if there was no connection at all.
        StoppedError
        """
        url = f"{self.base}/{page}?{urlencode(query, safe='/')}"
        for number in range(self._manners.retries + 1):
            try:
                return self._follow(url)
            except _BusyError as error:
                last = error
            # By chance more or less, so that threads do not come back together.
            pause = min(_MAX_WAIT, self._manners.backoff * 2**number * random.uniform(0.5, 1.5))
            if last.wait is not None:  # a service that wants to be left alone is left alone by all threads
                self._pace.close(max(last.wait, pause))
            elif number < self._manners.retries and self._stop.wait(pause):
                raise StoppedError
        kind = BadAnswerError if last.connected else UnreachableError
        raise kind(f"{last} (tried {self._manners.retries + 1} times)")

    def _follow(self, url: str) -> bytes:
        """One try, redirects included; each of them waits for its turn."""
        for _ in range(_MAX_REDIRECTS + 1):
            self._pace.wait()
            body, moved = self._ask(url)
            if moved is None:
                return body
            with contextlib.suppress(ValueError):
                moved = urljoin(url, moved)
            url = moved
            if _web_address(url) is None:
                raise BadAnswerError("redirected to what is no http or https URL")
        raise BadAnswerError(f"redirected more than {_MAX_REDIRECTS} times")

    def _ask(self, url: str) -> tuple[bytes, str | None]:
        """Body of an answer, and where it sends us instead."""
        from urllib3 import exceptions as wrong

        deadline = time.monotonic() + self._manners.timeout
        try:
            answer = self._pool.request(
                "GET", url, redirect=False, retries=False, preload_content=False, timeout=self._manners.timeout
            )
            try:
                body = self._body(answer, deadline)
            finally:
                answer.release_conn()
        except (wrong.NewConnectionError, wrong.ConnectTimeoutError, wrong.SSLError, wrong.ProxyError) as error:
            raise _BusyError(f"no connection: {_plain(error)}", connected=False) from error
        except wrong.TimeoutError as error:
            raise _BusyError(self._too_late()) from error
        except wrong.HTTPError as error:
            raise _BusyError(_plain(error)) from error
        if answer.status in _MOVED and answer.headers.get("Location"):
            return b"", answer.headers["Location"]
        if answer.status == 200:
            return body, None
        title = page_title(body)
        reason = f"{answer.status} {answer.reason or ''}".strip() + (f": {title}" if title else "")
        if answer.status in _BUSY:
            raise _BusyError(reason, _asked_wait(answer))
        raise BadAnswerError(reason)

    def _too_late(self) -> str:
        return f"no whole answer within {self._manners.timeout:g} s"

    def _body(self, answer: BaseHTTPResponse, deadline: float) -> bytes:
        """The whole body; a connection that was not read to its end is closed."""
        parts, size = [], 0
        while part := answer.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > self._cap:
                answer.close()
                raise BadAnswerError(f"answer of more than {self._cap:,} bytes")
            if time.monotonic() > deadline:
                answer.close()
                raise _BusyError(self._too_late())
            if self._stop.is_set():
                answer.close()
                raise StoppedError
        return b"".join(parts)


def page_title(body: bytes) -> str:
    """Title of a web page, or its first heading; '' where there is none."""
    text = body[:_CHUNK].decode("utf-8", "replace")
    found = re.search(r"<(title|h1)\b[^>]*>(.*?)</\1\s*>", text, re.IGNORECASE | re.DOTALL)
    plain = html.unescape(re.sub(r"<[^>]*>", " ", found[2])) if found else ""
    return " ".join(plain.split())[:200]


def _web_address(url: str) -> tuple[str, str] | None:
    """Scheme and host of an http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a wrong one raises here
    except ValueError:
        return None
    return (parts.scheme, parts.hostname) if parts.scheme in ("http", "https") and parts.hostname else None


def _asked_wait(answer: BaseHTTPResponse) -> float | None:
    """Seconds of a Retry-After, given as such or as a date; None where not all requests are to pause."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    text = answer.headers.get("Retry-After")
    unsaid = 0.0 if answer.status == _TOO_MANY else None
    try:
        return unsaid if text is None else min(_MAX_WAIT, Retry().parse_retry_after(text))
    except InvalidHeader:
        return unsaid


def _plain(error: Exception) -> str:
    """What urllib3 says, without the names of its objects."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return " ".join(text.rpartition("): ")[2].split()).rstrip(".")
