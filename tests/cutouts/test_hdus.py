"""Headers of one survey are parsed once; what comes out is what each header says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from galcli.cutouts import hdus


def header(*cards: tuple[str, Any], comment: str = "") -> bytes:
    """A primary header of a float image."""
    fixed = [("SIMPLE", "T"), ("BITPIX", -32), ("NAXIS", 3), ("NAXIS1", 4), ("NAXIS2", 5), ("NAXIS3", 3)]
    lines = [f"{key:8s}= {value!s:>20s}" for key, value in (*fixed, *cards)]
    text = "".join(line.ljust(80) for line in [*lines, f"COMMENT {comment}", "END"])
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


PLAIN = [("CRVAL1", 10.5), ("CRVAL2", -3.25), ("MAGZERO", 22.5), ("OBJECT", "'NGC 1'")]
HEADERS = {
    "plain": header(*PLAIN),
    "elsewhere": header(("CRVAL1", 210.125), *PLAIN[1:]),
    "another object": header(*PLAIN[:3], ("OBJECT", "'a longer name'")),
    "no value": header(*PLAIN[:3], ("OBJECT", "")),
    "another zero point": header(*PLAIN[:2], ("MAGZERO", 25.0), PLAIN[3]),
    "another order": header(*PLAIN[::-1]),
    "a card for a card": header(("CRPIX1", 10.5), *PLAIN[1:]),
    "one card more": header(*PLAIN, ("EXPTIME", 5.0)),
    "one card less": header(*PLAIN[:3]),
    "twice": header(*PLAIN, ("CRVAL1", 77.0)),
    "another comment": header(*PLAIN, comment="made elsewhere"),
    "two blocks": header(*PLAIN, *[(f"KEY{number}", number) for number in range(40)]),
}


@pytest.fixture(autouse=True)
def forget(monkeypatch: Any) -> None:
    monkeypatch.setattr(hdus, "_last", [])


@pytest.mark.parametrize(("first", "second"), list(itertools.product(HEADERS, repeat=2)))
def test_a_header_says_the_same_after_any_other(first: str, second: str) -> None:
    pixels = np.arange(60, dtype=">f4").tobytes().ljust(2880, b"\0")
    for name in (first, second, first):
        data = HEADERS[name] + pixels
        parsed, begin = hdus.cards_at(data, 0)
        parsed |= {hdus.SHAPE: (3, 5, 4), hdus.SIZE: 240}
        assert hdus._primary_cards(data) == hdus._primary_cards(memoryview(data)) == (parsed, begin)
        ((cards, start, end),) = hdus.hdus(data)
        assert (start, end, cards[hdus.BEGIN]) == (0, len(data), len(HEADERS[name]))


def test_cards_of_one_file_are_not_those_of_the_next() -> None:
    one, _ = hdus._primary_cards(HEADERS["plain"])
    one["MAGZERO"] = 0.0
    assert hdus._primary_cards(HEADERS["elsewhere"])[0]["MAGZERO"] == 22.5


@pytest.mark.parametrize("length", [0, 79, 80, 400, 2879])
def test_a_header_that_ends_too_early(length: int) -> None:
    hdus._primary_cards(HEADERS["plain"])
    short = HEADERS["plain"][:length].replace(b"END".ljust(80), b"")
    with pytest.raises(ValueError, match="header without end"):
        hdus._primary_cards(short)


def test_scratch_memory_grows_and_is_used_again() -> None:
    scratch = hdus.Scratch()
    assert len(scratch.of(0)) == 0
    scratch.of(10)[:] = b"0123456789"
    assert bytes(scratch.of(4)) == b"0123"
    assert len(scratch.of(1000)) == 1000
