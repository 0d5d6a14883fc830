"""FITS header cards and checksums, formatted the same way on every machine and every run.

Libraries put the time of day into the comments of CHECKSUM and DATASUM, so that two identical tables differ. Here
every byte depends on the values alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Value = str | bool | int | float
Card = tuple[str, Value, str]

BLOCK = 2880
_CARD = 80
_STRING = 67  # characters of a string value that fit one card beside quotes and the & that announces more
_ZERO_SUM = "0" * 16


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
    if not re.fullmatch(r"[A-Z0-9_-]{1,8}", key):
        raise ValueError(f"{key!r} is no FITS keyword")
    if key in ("COMMENT", "HISTORY"):
        text = _ascii(str(value))
        pieces = [text[i : i + 72] for i in range(0, len(text), 72)] or [""]
        return "".join(f"{key:<8}{piece}".ljust(_CARD) for piece in pieces)
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
    return "".join(card.ljust(_CARD) for card in cards) + _with_comment(f"CONTINUE  {_quoted(piece)}", comment)


def _quoted(text: str) -> str:
    return f"'{text:<8}'"


def _with_comment(card: str, comment: str) -> str:
    return (f"{card} / {comment}" if comment and len(card) <= _CARD - 4 else card)[:_CARD].ljust(_CARD)


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
    at = len(text) + 11
    text += card_text("CHECKSUM", _ZERO_SUM, "checksum of this HDU")
    text += card_text("DATASUM", str(data_sum), "checksum of the data unit")
    raw = pad((text + "END".ljust(_CARD)).encode("ascii"), b" ")
    total = add_sum(raw, data_sum)
    return raw[:at] + encode_sum(~total & 0xFFFFFFFF).encode("ascii") + raw[at + 16 :]


def pad(raw: bytes, fill: bytes = b"\0") -> bytes:
    """Bytes filled up to a multiple of 2880."""
    return raw + fill * (-len(raw) % BLOCK)


def add_sum(raw: bytes | memoryview | NDArray[np.uint8], total: int = 0) -> int:
    """Ones' complement sum of 32-bit big-endian words (FITS standard 4.0, appendix J).

    Parameters
    ----------
    raw : bytes-like
        Length a multiple of 4.
    total : int
        Sum so far.

    Returns
    -------
    int
        Below 2^32.
    """
    total += int(np.frombuffer(raw, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_sum(value: int) -> str:
    """32 bits as 16 letters and digits that add up to it (FITS standard 4.0, appendix J.2)."""
    letters = [0] * 16
    for i, byte in enumerate(value.to_bytes(4, "big")):
        four = [byte // 4 + ord("0")] * 4
        four[0] += byte % 4
        while any(not chr(letter).isalnum() for letter in four):
            for j in (0, 2):  # moving one letter up and its twin down keeps the sum
                if not (chr(four[j]).isalnum() and chr(four[j + 1]).isalnum()):
                    four[j] += 1
                    four[j + 1] -= 1
        letters[i::4] = four
    text = "".join(map(chr, letters))
    return text[-1] + text[:-1]  # the value starts at an odd byte of its card


def read_cards(raw: bytes) -> dict[str, Value] | None:
    """Keywords and values of a header that galcli, or another careful writer, made.

    Parameters
    ----------
    raw : bytes
        The file from the start of the header on.

    Returns
    -------
    dict or None
        Long strings joined; None if there is no END card. ``END`` maps to the length of the header in bytes.
    """
    cards: dict[str, Value] = {}
    last = ""
    for at in range(0, len(raw) - _CARD + 1, _CARD):
        card = raw[at : at + _CARD].decode("latin-1")
        key = card[:8].rstrip()
        if key == "END":
            cards["END"] = -(-(at + _CARD) // BLOCK) * BLOCK
            return cards
        if key == "CONTINUE" and isinstance(cards.get(last), str):
            cards[last] = str(cards[last]).removesuffix("&") + str(_value(card[8:]))
        elif card[8:10] == "= ":
            last = key
            cards[key] = _value(card[10:])
    return None


def _value(text: str) -> Value:
    quoted = re.match(r" *'((?:[^']|'')*)'", text)
    if quoted:
        return quoted[1].replace("''", "'").rstrip()
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    try:
        return int(word)
    except ValueError:
        try:
            return float(word.replace("D", "E"))
        except ValueError:
            return word
