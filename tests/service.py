"""Cutout services on this machine that answer well, or misbehave in the way a test asks for."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import fitsio
import numpy as np
from numpy.typing import NDArray

#: What happens instead of a good answer: gets the handler and the good answer.
Misdeed = Callable[["Handler", bytes], None]

PS1_EXPOSURES = {"g": 500.0, "r": 700.0, "i": 1000.0, "z": 400.0, "y": 300.0}


class Service(ThreadingHTTPServer):
    """A local service that counts its requests.

    Attributes
    ----------
    misdeeds : dict of str to list of Misdeed
        Right ascension as in the URL -> what happens at its first, second ... request; the last one goes on for ever,
        None is a good answer.
    times : list of float
        When each request came.
    asked : list of (str, dict)
        Page and query of each.
    busiest : int
        Requests under way at the same time at most.
    delay : float
        Seconds that each answer takes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.misdeeds: dict[str, list[Misdeed | None]] = {}
        self.times: list[float] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.agents: set[str] = set()
        self.busiest = self.active = 0
        self.delay = 0.0
        self.lock = threading.Lock()
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/base"

    def positions(self, page: str = "/base/fits-cutout") -> list[str]:
        """Right ascension of each request for a page."""
        return [query["ra"] for path, query in self.asked if path == page]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        with self.server.lock:
            self.server.times.append(time.monotonic())
            self.server.asked.append((parts.path, query))
            self.server.agents.add(self.headers["User-Agent"])
            self.server.active += 1
            self.server.busiest = max(self.server.busiest, self.server.active)
            waiting = self.server.misdeeds.get(query.get("ra", ""), [])
            misdeed = (waiting.pop(0) if len(waiting) > 1 else waiting[0]) if waiting else None
        try:
            self.server.released.wait(self.server.delay)
            answer = good_answer(parts.path, query)
            if misdeed is None:
                self.give(answer)
            else:
                misdeed(self, answer)
        finally:
            with self.server.lock:
                self.server.active -= 1

    def give(self, body: bytes, code: int = 200, length: int | None = None, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def end(self) -> None:
        """Close the connection."""
        self.close_connection = True

    def reset(self) -> None:
        """Break the connection without a word."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.end()


def good_answer(path: str, query: dict[str, str]) -> bytes:
    """What the real service would say."""
    page = path.rsplit("/", 1)[-1]
    if page == "fits-cutout":
        return legacy_answer(query)
    if page == "ps1filenames.py":
        return ps1_list(query)
    return ps1_image(query) if page == "fitscut.cgi" else b""


def pixels(ra: float, bands: int, size: int) -> NDArray[np.float32]:
    """Pixels (bands, size, size) that only this position has."""
    rng = np.random.default_rng(round(ra * 1e4))
    return rng.standard_normal((bands, size, size), np.float32) + rng.uniform(2, 9, (bands, 1, 1)).astype(np.float32)


def fits_bytes(image: NDArray[Any], **cards: Any) -> bytes:
    """A FITS file with one image; cards that are None are left out."""
    with fitsio.FITS("mem://", "rw") as file:
        file.write(image, header=[{"name": key, "value": value} for key, value in cards.items() if value is not None])
        raw: bytes = file.read_raw()
    return raw


def legacy_answer(query: dict[str, str], **changes: Any) -> bytes:
    """As the Legacy Surveys' sky viewer answers; ``changes`` are other cards, or another ``image``."""
    size, bands, scale = int(query["size"]), query["bands"], float(query["pixscale"]) / 3600
    image = changes.pop("image", pixels(float(query["ra"]), len(bands), size))
    cards = {
        "SURVEY": "SDSS" if query["layer"] == "sdss" else "LegacySurvey", "VERSION": "DR10", "IMAGETYP": "image",
        "BANDS": bands, **{f"BAND{i}": band for i, band in enumerate(bands)}, **tan(query, size),
        "CD1_1": -scale, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale,
    }  # fmt: skip
    return fits_bytes(image[0] if len(bands) == 1 else image, **cards | changes)


def ps1_list(query: dict[str, str], leave_out: str = "") -> bytes:
    """As ``ps1filenames.py`` answers."""
    lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
    for band in query["filters"]:
        if band not in leave_out:
            name = f"rings.v3.skycell.1234.056.stk.{band}.unconv.fits"
            lines.append(f"1234 56 {query['ra']} {query['dec']} {band} 0 stack /rings.v3/1234/056/{name} {name} 0")
    return ("\n".join(lines) + "\n").encode()


def ps1_image(query: dict[str, str], **changes: Any) -> bytes:
    """As ``fitscut.cgi`` answers: one band in counts, with old PC cards and east to the left."""
    size = int(query["size"])
    band = query["red"].split(".stk.")[1][0]
    counts = pixels(float(query["ra"]), 5, size)["grizy".index(band)] * 100
    cards = {
        **tan(query, size), "CDELT1": 0.25 / 3600, "CDELT2": 0.25 / 3600,
        "PC001001": -1.0, "PC001002": 0.0, "PC002001": 0.0, "PC002002": 1.0, "EXPTIME": PS1_EXPOSURES[band],
    }  # fmt: skip
    return fits_bytes(changes.pop("image", counts), **cards | changes)


def tan(query: dict[str, str], size: int) -> dict[str, Any]:
    """A tangential projection around the position asked for."""
    middle = (size + 1) / 2
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": float(query["ra"]), "CRVAL2": float(query["dec"]),
        "CRPIX1": middle, "CRPIX2": middle,
    }  # fmt: skip


# --- misdeeds ---------------------------------------------------------------------------------------------------------------


def says(code: int, body: bytes = b"", **headers: str) -> Misdeed:
    """Another status."""
    return lambda handler, good: handler.give(body, code, **headers)


def gives(body: bytes) -> Misdeed:
    """Other bytes, with status 200."""
    return lambda handler, good: handler.give(body)


def cuts(keep: int) -> Misdeed:
    """A whole answer, of which only the first bytes exist."""
    return lambda handler, good: handler.give(good[:keep])


def changed(**changes: Any) -> Misdeed:
    """A good answer of the Legacy Surveys but for some cards or the image."""

    def act(handler: Handler, good: bytes) -> None:
        handler.give(legacy_answer(dict(parse_qsl(urlsplit(handler.path).query)), **changes))

    return act


def hangs(handler: Handler, good: bytes) -> None:
    """Never answers."""
    handler.server.released.wait(30)
    handler.end()


def promises_more(handler: Handler, good: bytes) -> None:
    """Sends less than Content-Length says."""
    handler.give(good, length=len(good) + 5000)
    handler.end()


def promises_less(handler: Handler, good: bytes) -> None:
    """Sends more than Content-Length says."""
    handler.give(good, length=len(good) - 3000)


def resets(handler: Handler, good: bytes) -> None:
    """Breaks off in the middle of the body."""
    handler.give(good[: len(good) // 2], length=len(good))
    handler.reset()


def drips(handler: Handler, good: bytes) -> None:
    """Sends a byte at a time."""
    handler.give(b"", length=len(good))
    for number in range(len(good)):
        if handler.server.released.wait(0.02):
            break
        handler.wfile.write(good[number : number + 1])
    handler.end()


def drips_header(handler: Handler, good: bytes) -> None:
    """Sends a header without end, a byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
    for letter in bytes(range(97, 123)) * 20:
        if handler.server.released.wait(0.02):
            break
        handler.wfile.write(bytes([letter]))
    handler.end()


def goes_round(handler: Handler, good: bytes) -> None:
    """Redirects to itself."""
    handler.give(b"", 302, Location=handler.path)


def moves(handler: Handler, good: bytes) -> None:
    """Redirects to another folder of the same service."""
    handler.give(b"", 301, Location=f"/moved{handler.path}")
