"""FITS header cards and checksums, formatted the same way on every machine and every run.

Libraries put the time of day into the comments of CHECKSUM and DATASUM, so that two identical tables differ. Here
every byte depends on the values alone.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from galcli.tables.checksum import CHECKSUM_COMMENT, DATASUM_COMMENT, add_sum, encode_sum

Value = str | bool | int | float
Card = tuple[str, Value, str]

BLOCK = 2880
CARD = 80
_STRING = 67  # characters of a string value that fit one card beside quotes and the & that announces more
_ZERO_SUM = "0" * 16
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")


def card_text(key: str, value: Value, comment: str = "") -> str:
    """One header card, or several where a string needs CONTINUE.

    Parameters
    ----------
    key : str
        Keyword of up to 8 characters A-Z 0-9 _ -; COMMENT and HISTORY take text of any length.
    value : str, bool, int or float
        Characters outside ASCII are written as escapes; floats must be finite.
    comment : str
        Cut where the card is full.

    Returns
    -------
    str
        A multiple of 80 ASCII characters.

    Raises
    ------
    ValueError
        If FITS cannot express the key or the value.
    """
    if not _KEYWORD.fullmatch(key):
        raise ValueError(f"{key!r} is no FITS keyword")
    if key in ("COMMENT", "HISTORY"):
        text = _ascii(str(value))
        pieces = [text[i : i + 72] for i in range(0, len(text), 72)] or [""]
        return "".join(f"{key:<8}{piece}".ljust(CARD) for piece in pieces)
    if isinstance(value, str):
        return _string_cards(key, _ascii(value), _ascii(comment))
    if isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, int):
        text = str(value)
    elif math.isfinite(value):
        text = repr(float(value)).upper()
    else:
        raise ValueError(f"{key} = {value}: FITS headers hold finite numbers only")
    return _with_comment(f"{key:<8}= {text:>20}", _ascii(comment))


def _string_cards(key: str, value: str, comment: str) -> str:
    escaped = [letter * 2 if letter == "'" else letter for letter in value]
    if len("".join(escaped)) <= _STRING + 1:
        return _with_comment(f"{key:<8}= {_quoted(''.join(escaped)):<20}", comment)
    pieces, piece = [], ""
    for letter in escaped:  # a doubled quote stays on one card
        if len(piece) + len(letter) > _STRING:
            pieces.append(piece + "&")
            piece = ""
        piece += letter
    cards = [f"{key:<8}= '{pieces[0]}'", *(f"CONTINUE  '{middle}'" for middle in pieces[1:])]
    return "".join(card.ljust(CARD) for card in cards) + _with_comment(f"CONTINUE  {_quoted(piece)}", comment)


def _quoted(text: str) -> str:
    return f"'{text:<8}'"


def _with_comment(card: str, comment: str) -> str:
    return (f"{card} / {comment}" if comment and len(card) <= CARD - 4 else card)[:CARD].ljust(CARD)


def _ascii(text: str) -> str:
    """Printable ASCII: anything else as a backslash escape, so that nothing is lost or guessed."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(letter if " " <= letter <= "~" else f"\\x{ord(letter):02x}" for letter in plain)


def sealed_header(cards: Iterable[Card], data_sum: int) -> bytes:
    """A header with DATASUM and CHECKSUM.

    Parameters
    ----------
    cards : iterable of Card
        All cards but DATASUM, CHECKSUM and END.
    data_sum : int
        `add_sum` of the padded data unit.

    Returns
    -------
    bytes
        A multiple of 2880.
    """
    text = "".join(card_text(*card) for card in cards)
    if any(text.startswith("CONTINUE", at) for at in range(0, len(text), CARD)):
        text += card_text("LONGSTRN", "OGIP 1.0", "long strings continue")  # fitsverify warns without it
    at = len(text) + 11
    text += card_text("CHECKSUM", _ZERO_SUM, CHECKSUM_COMMENT)
    text += card_text("DATASUM", str(data_sum), DATASUM_COMMENT)
    raw = pad((text + "END".ljust(CARD)).encode("ascii"), b" ")
    total = add_sum(raw, data_sum)
    return raw[:at] + encode_sum(~total & 0xFFFFFFFF).encode("ascii") + raw[at + 16 :]


def pad(raw: bytes, fill: bytes = b"\0") -> bytes:
    """Bytes filled up to a multiple of 2880."""
    return raw + fill * (-len(raw) % BLOCK)


def read_cards(raw: bytes) -> dict[str, Value | None] | None:
    """Keywords and values of a header.

    Parameters
    ----------
    raw : bytes
        The file from the start of the header on.

    Returns
    -------
    dict or None
        Long strings joined; None if there is no END card. ``END`` maps to the length of the header in bytes.
    """
    cards: dict[str, Value | None] = {}
    last = ""
    for at in range(0, len(raw) - CARD + 1, CARD):
        card = raw[at : at + CARD]
        key, value = read_card(card)
        if key == "END":
            cards["END"] = -(-(at + CARD) // BLOCK) * BLOCK
            return cards
        if card[:8] == b"CONTINUE" and isinstance(cards.get(last), str):
            cards[last] = str(cards[last]).removesuffix("&") + str(_value(card[8:]) or "")
        elif key:
            last = key
            cards[key] = value
    return None


def declared_sum(cards: Mapping[str, Value | None]) -> int | None:
    """The DATASUM of a header; None where it declares none.

    Raises
    ------
    ValueError
        If it is no whole number.
    """
    value = cards.get("DATASUM")
    return None if value in (None, "") else int(str(value))


@lru_cache(maxsize=4096)
def read_card(text: bytes) -> tuple[str, Value | None]:
    """Keyword and value of a card of 80 bytes; cards repeat from file to file, so each is parsed once.

    Parameters
    ----------
    text : bytes

    Returns
    -------
    key : str
        '' for comments and what is no card.
    value : str, bool, int, float or None
        None where there is none. What is no number stays text: whoever needs one will find that it is not.
    """
    if text[8:10] == b"= ":
        return _escaped(text[:8].rstrip()), _value(text[10:])
    if text[:8] == b"HIERARCH":
        name, _, rest = text[9:].partition(b"=")
        key = _escaped(name.strip())
        # A name that could be a standard keyword must not pass for one.
        return (f"HIERARCH {key}" if _KEYWORD.fullmatch(key) else key), _value(rest)
    return ("END" if text[:8] == b"END     " else ""), None


def _value(text: bytes) -> Value | None:
    body = text.lstrip()
    if body[:1] == b"'":
        end = body.find(b"'", 1)
        while body[end + 1 : end + 2] == b"'" and end > 0:  # a doubled quote is a quote
            end = body.find(b"'", end + 2)
        return _escaped(body[1:end].replace(b"''", b"'").rstrip())
    word = body.partition(b"/")[0].strip()
    if word in (b"T", b"F"):
        return word == b"T"
    if not word:
        return None
    with contextlib.suppress(ValueError):
        return float(word) if b"." in word else int(word)
    with contextlib.suppress(ValueError):
        return float(word.replace(b"D", b"E").replace(b"d", b"e"))
    return _escaped(word)


def _escaped(octets: bytes) -> str:
    """Text of a card; bytes that are not ASCII become escapes."""
    return octets.decode("ascii", "backslashreplace")
