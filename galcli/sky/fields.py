"""Columns of a FITS table: what their header cards mean, and how their bytes become native arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.table import Field, null_of

Kind = Literal["plain", "logical", "unsigned", "scaled", "text", "ascii int", "ascii float"]

_BINARY = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
ELEMENT_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_REFUSED = {
    "P": "holds variable-length arrays",
    "Q": "holds variable-length arrays",
    "C": "holds complex numbers",
    "M": "holds complex numbers",
    "X": "holds bit arrays",
}
#: Comment of TTYPE cards that nobody described.
_CFITSIO_SAYS = re.compile(r"label for field\s*\d+\s*")
#: TZERO that turns a stored integer into its unsigned (for bytes: signed) twin, FITS standard 4.0, section 7.3.3.
_TWINS = {("B", -128.0): "i1", ("I", 2.0**15): "u2", ("J", 2.0**31): "u4", ("K", 2.0**63): "u8"}


@dataclass(frozen=True, kw_only=True)
class FitsField(Field):
    """One column of a FITS table.

    Attributes
    ----------
    raw, raw_shape, offset, nbytes
        Type, shape, position and size in bytes in the row on disk.
    kind : str
        How the bytes become values.
    scale, zero, raw_null
        TSCAL, TZERO and TNULL as stored.
    """

    raw: np.dtype[Any]
    raw_shape: tuple[int, ...]
    offset: int
    nbytes: int
    kind: Kind
    scale: float = 1.0
    zero: float = 0.0
    raw_null: int | bytes | None = None

    def decode(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Turn stored values into native ones.

        Parameters
        ----------
        raw : ndarray (N, *raw_shape)
            As stored: big-endian, unscaled.
        out : ndarray (N, *shape)
            Receives the values.
        """
        if self.kind == "plain":
            out[...] = raw
        elif self.kind == "logical":
            out[...] = raw == ord("T")
        elif self.kind == "unsigned":
            # Adding 2^(bits-1) in two's complement flips the top bit: exact, where floats would lose digits.
            unsigned = np.dtype(f"u{self.dtype.itemsize}")
            top = unsigned.type(1 << (8 * self.dtype.itemsize - 1))
            out[...] = (raw.astype(raw.dtype.newbyteorder("=")).view(unsigned) ^ top).view(self.dtype)
        elif self.kind == "scaled":
            np.multiply(raw, self.scale, out=out, dtype=np.float64)
            out += self.zero
            if self.raw_null is not None:
                out[raw == self.raw_null] = np.nan
        elif self.kind == "text":
            out[...] = _clean_text(raw)
        else:
            self._decode_ascii(raw, out)

    def _decode_ascii(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        text: NDArray[np.bytes_] = np.strings.strip(raw)
        empty = text == b""
        null = text == self.raw_null if self.raw_null is not None else empty
        if self.kind == "ascii int":
            digits = np.where(empty, b"0", text)
            if self.raw_null is not None:
                digits = np.where(null, str(self.null).encode(), digits)
            out[...] = digits.astype(np.int64)
            return
        # Fortran writes 1.5D3 where C writes 1.5E3.
        powers: NDArray[np.bytes_] = np.strings.replace(np.strings.upper(text).astype(np.bytes_), b"D", b"E")
        out[...] = np.where(null | empty, b"nan", powers).astype(np.float64)
        if self.scale != 1.0 or self.zero != 0.0:
            out[...] = out * self.scale + self.zero


def _clean_text(raw: NDArray[Any]) -> NDArray[Any]:
    """Strings without what follows a NUL (FITS standard, section 7.3.3.1) and without trailing blanks."""
    text = np.ascontiguousarray(raw)
    letters = text.view(np.uint8).reshape(*text.shape, text.dtype.itemsize)
    nul = letters == 0
    if (nul[..., :-1] & ~nul[..., 1:]).any():
        letters[np.maximum.accumulate(nul, axis=-1)] = 0
    return np.strings.rstrip(text, b" ")


def foreign_text(values: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which rows of a text column hold bytes that FITS tables may not: all but printable ASCII (section 7.3.3.1).

    Parameters
    ----------
    values : ndarray (N, ...), bytes ``S``

    Returns
    -------
    ndarray (N,), bool
    """
    octets = np.frombuffer(values.tobytes(), np.uint8)
    foreign = (octets > 0x7E) | ((octets < 0x20) & (octets != 0))
    return np.asarray(foreign.reshape(len(values), octets.size // max(len(values), 1)).any(axis=1), bool)


def fields_of(header: Any, where: str) -> dict[str, FitsField]:
    """Columns that a table header declares.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of a BINTABLE or TABLE extension.
    where : str
        File and HDU, for error messages.

    Returns
    -------
    dict of str to FitsField
        In file order. A nameless column is called ``COLn``; of two with one name the second gets ``_n``.

    Raises
    ------
    InputError
        If the header contradicts itself.
    """
    ascii_table = header["XTENSION"].strip() == "TABLE"
    fields: dict[str, FitsField] = {}
    offset = 0
    try:
        for n in range(1, int(header["TFIELDS"]) + 1):
            name = str(header.get(f"TTYPE{n}", "")).strip() or f"COL{n}"
            name = f"{name}_{n}" if name in fields else name
            fields[name] = field = _ascii(header, n, name) if ascii_table else _binary(header, n, name, offset)
            offset += field.nbytes
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: the header does not describe its columns ({error})", "write the table again"
        ) from error
    end = max((field.offset + field.nbytes for field in fields.values()), default=0)
    width = int(header["NAXIS1"])
    if end > width or (not ascii_table and end != width):
        raise InputError(f"{where}: the columns take {end} bytes, NAXIS1 says {width}", "write the table again")
    return fields


def _words(header: Any, n: int) -> dict[str, Any]:
    comment = header.comments[f"TTYPE{n}"] if f"TTYPE{n}" in header else ""
    description = header.get(f"TCOMM{n}") or ("" if _CFITSIO_SAYS.fullmatch(comment) else comment)
    return {
        "unit": str(header.get(f"TUNIT{n}", "")).strip(),
        "description": str(description).strip(),
        "ucd": str(header.get(f"TUCD{n}", "")).strip(),
    }


def _binary(header: Any, n: int, name: str, offset: int) -> FitsField:
    form = str(header[f"TFORM{n}"]).strip()
    match = re.match(r"(\d*)([LXBIJKAEDCMPQ])", form)
    if match is None:
        raise ValueError(f"TFORM{n} = {form!r}")
    repeat, letter = int(match[1] or 1), match[2]
    words = _words(header, n)
    if letter in _REFUSED or repeat == 0:
        nbytes = -(-repeat // 8) if letter == "X" else repeat * ELEMENT_BYTES.get(letter, 1)
        raw = np.dtype("V1")
        why = _REFUSED.get(letter, "holds nothing (its width is zero)")
        return FitsField(name, raw, (), **words, null=None, raw=raw, raw_shape=(nbytes,), offset=offset, nbytes=nbytes,
                     kind="plain", refused=why)  # fmt: skip
    dims = _dims(header.get(f"TDIM{n}"))
    if int(np.prod(dims)) != repeat:  # a TDIM that contradicts TFORM says nothing
        dims = ()
    if letter == "A":
        *shape_list, width = dims or (repeat,)
        shape = tuple(shape_list)
        raw = np.dtype(f"S{width}")
        return FitsField(name, raw, shape, **words, null=None, raw=raw, raw_shape=shape, offset=offset, nbytes=repeat,
                     kind="text")  # fmt: skip
    raw = np.dtype(_BINARY[letter])
    shape = dims or ((repeat,) if repeat > 1 else ())
    scale, zero = float(header.get(f"TSCAL{n}", 1.0)), float(header.get(f"TZERO{n}", 0.0))
    stored = header.get(f"TNULL{n}") if letter in "BIJK" else None
    null = None if stored is None else int(stored)
    kind: Kind = "plain"
    dtype = raw.newbyteorder("=")
    if letter == "L":
        kind, dtype = "logical", np.dtype(bool)
    elif scale == 1.0 and (letter, zero) in _TWINS:
        kind, dtype = "unsigned", np.dtype(_TWINS[letter, zero])
        null = None if null is None else null + int(zero)
    elif scale != 1.0 or zero != 0.0:
        kind, dtype, null = "scaled", np.dtype(np.float64), None
    return FitsField(name, dtype, shape, **words, null=null, raw=raw, raw_shape=shape, offset=offset,
                 nbytes=repeat * raw.itemsize, kind=kind, scale=scale, zero=zero, raw_null=stored)  # fmt: skip


def _ascii(header: Any, n: int, name: str) -> FitsField:
    form = str(header[f"TFORM{n}"]).strip()
    match = re.match(r"([AIFED])(\d+)", form)
    if match is None:
        raise ValueError(f"TFORM{n} = {form!r}")
    letter, width = match[1], int(match[2])
    scale, zero = float(header.get(f"TSCAL{n}", 1.0)), float(header.get(f"TZERO{n}", 0.0))
    kind: Kind = "text" if letter == "A" else "ascii int"
    dtype = np.dtype(f"S{width}") if letter == "A" else np.dtype(np.int64)
    if letter in "FED" or (letter == "I" and (scale != 1.0 or zero != 0.0)):
        kind, dtype = "ascii float", np.dtype(np.float64)
    stored = header.get(f"TNULL{n}")
    text = None if stored is None else str(stored).strip().encode("ascii")
    null = None if kind != "ascii int" or text is None else null_of(dtype)  # dashes, stars or a number
    return FitsField(name, dtype, (), **_words(header, n), null=null, raw=np.dtype(f"S{width}"), raw_shape=(),
                 offset=int(header[f"TBCOL{n}"]) - 1, nbytes=width, kind=kind, scale=scale, zero=zero,
                 raw_null=text)  # fmt: skip


def _dims(card: Any) -> tuple[int, ...]:
    """TDIM as a numpy shape: FITS counts the fastest axis first."""
    if card is None:
        return ()
    match = re.fullmatch(r"\(\s*(\d+(?:\s*,\s*\d+)*)\s*\)", str(card).strip())
    return tuple(int(part) for part in reversed(match[1].split(","))) if match else ()
