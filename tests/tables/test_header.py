"""Header cards and checksums against astropy and cfitsio."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from galcli.tables.checksum import add_sum, encode_sum
from galcli.tables.header import card_text, declared_sum, pad, read_cards, sealed_header

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)
values = st.one_of(
    printable, st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False)
)


@given(values, printable)
@settings(max_examples=300, deadline=None)
def test_astropy_and_we_read_what_we_write(value: str | bool | float, comment: str) -> None:
    text = card_text("KEY", value, comment)
    assert len(text) % 80 == 0
    expected = value.rstrip() if isinstance(value, str) else value  # FITS ignores trailing blanks
    if not re.search("' */", str(value)):  # astropy 8 takes a quote before a slash for the end of the text
        card = fits.Card.fromstring(text)
        card.verify("exception")
        assert card.value == expected
    found = read_cards((text + "END".ljust(80)).encode())
    assert found is not None
    assert found["KEY"] == expected


def test_long_text_continues_and_comments_are_cut() -> None:
    text = card_text("LONG", "it's " * 40, "comment")
    assert text[80:88] == "CONTINUE"
    assert fits.Card.fromstring(text).value == ("it's " * 40).rstrip()
    assert len(card_text("SHORT", 1, "x" * 200)) == 80


def test_what_is_not_ascii_is_escaped() -> None:
    assert fits.Card.fromstring(card_text("KEY", "3 Å\n")).value == "3 \\xc5\\x0a"


def test_history_of_any_length() -> None:
    text = card_text("HISTORY", "word " * 50)
    assert len(text) == 80 * 4
    assert fits.Header.fromstring(text)["HISTORY"][0].startswith("word word")


@pytest.mark.parametrize(("key", "value"), [("lower", 1), ("TOOLONGKEY", 1), ("A B", 1), ("X", np.nan), ("X", np.inf)])
def test_what_fits_cannot_say_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"FITS"):
        card_text(key, value)


def test_known_checksum() -> None:
    """Example of the FITS standard, appendix J.4: the text that brings a sum of 868229149 to all ones."""
    assert encode_sum(~868229149 & 0xFFFFFFFF) == "hcHjjc9ghcEghc9g"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_encoded_sum_is_alphanumeric_and_adds_up(value: int) -> None:
    text = encode_sum(value)
    assert text.isalnum()
    words = np.frombuffer((text[1:] + text[0]).encode(), ">u4").astype(int) - 0x30303030
    assert (sum(words.tolist()) - value) % (2**32 - 1) == 0


def test_sum_does_not_depend_on_the_cuts() -> None:
    raw = np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes()
    total = 0
    for start in range(0, len(raw), 4444):
        total = add_sum(raw[start : start + 4444], total)
    words = [int.from_bytes(raw[i : i + 4], "big") for i in range(0, len(raw), 4)]
    assert total == add_sum(raw)
    assert (total - sum(words)) % (2**32 - 1) == 0


def test_sealed_header_sums_to_all_ones() -> None:
    cards = [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 0, "")]
    raw = sealed_header(cards, 12345)
    assert len(raw) == 2880
    assert add_sum(raw, 12345) == 0xFFFFFFFF
    found = read_cards(raw)
    assert found is not None
    assert (found["DATASUM"], found["END"]) == ("12345", 2880)


def test_header_without_end() -> None:
    assert read_cards(pad(b"SIMPLE  =                    T", b" ")) is None


def cards_of(*lines: bytes) -> dict[str, object]:
    found = read_cards(b"".join(line.ljust(80) for line in (*lines, b"END")))
    assert found is not None
    return dict(found)


def test_hierarch_name_does_not_pass_for_a_standard_keyword() -> None:
    found = cards_of(
        b"NAXIS1  =  16", b"HIERARCH NAXIS1 = 8", b"HIERARCH END = 5", b"HIERARCH FPA.FILTER = 'r'", b"A = 1"
    )
    assert found["NAXIS1"] == 16
    assert found["FPA.FILTER"] == "r"
    assert found["END"] == 2880


def test_continue_card_without_text_adds_nothing() -> None:
    assert cards_of(b"KEY     = 'abc&'", b"CONTINUE  / only a comment")["KEY"] == "abc"


@pytest.mark.parametrize(("text", "expected"), [(b"'12'", 12), (b"12", 12), (b"''", None), (b"", None)])
def test_declared_sum(text: bytes, expected: int | None) -> None:
    assert declared_sum(cards_of(b"DATASUM = " + text)) == expected


@pytest.mark.parametrize("text", [b"1E999", b"INFINITY", b"'x'", b"T"])
def test_declared_sum_that_is_no_number(text: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        declared_sum(cards_of(b"DATASUM = " + text))


def test_sum_of_half_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        add_sum(b"12345")
