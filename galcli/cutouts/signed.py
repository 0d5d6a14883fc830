"""An HDU and the checksum cards that vouch for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from galcli.cutouts.checksum import Span, datasum_of_file
from galcli.tables.checksum import WHOLE, fold
from galcli.tables.header import Value, declared_sum, read_cards


@dataclass(frozen=True)
class SignedHDU:
    """Where an HDU lies, and what its data should sum to.

    Attributes
    ----------
    descriptor : int
        The open file.
    span : Span
    total : int or None
        DATASUM card; None where there is none.
    """

    descriptor: int
    span: Span
    total: int | None

    @classmethod
    def of(cls, descriptor: int, hdu: Any) -> SignedHDU:
        """The HDU of a file that fitsio has open too."""
        place = hdu.get_offsets()
        span = Span(place["header_start"], place["data_start"], place["data_end"])
        return cls(descriptor, span, declared_sum(_cards(descriptor, span)))

    def cards(self) -> dict[str, Value | None]:
        """Cards as they stand in the file (cfitsio hides some of a compressed HDU)."""
        return _cards(self.descriptor, self.span)

    def require_whole(self) -> None:
        """Raise ValueError where the file ends before the HDU does."""
        if self.span.end > os.fstat(self.descriptor).st_size:
            raise ValueError("file is shorter than its header says")

    def verify(self, summed: int = 0, rest: Iterable[tuple[int, int]] | None = None) -> None:
        """Compare the HDU with its DATASUM and CHECKSUM cards, where it has them.

        Parameters
        ----------
        summed : int
            Sum of the bytes that were read already.
        rest : iterable of (int, int), optional
            The other parts of the data: from and to byte, in steps of 8; by default all of it.

        Raises
        ------
        OSError, ValueError
            If the bytes are not those that were written.
        """
        self.require_whole()
        if self.total is None:
            return
        parts = [(self.span.data, self.span.end)] if rest is None else rest
        found = fold(summed + sum(datasum_of_file(self.descriptor, start, stop) for start, stop in parts))
        whole = fold(found + datasum_of_file(self.descriptor, self.span.header, self.span.data))
        if found != self.total:
            raise ValueError("checksum of the data does not match")
        if self.cards().get("CHECKSUM") and whole not in WHOLE:
            raise ValueError("checksum of the header does not match")


def _cards(descriptor: int, span: Span) -> dict[str, Value | None]:
    return read_cards(os.pread(descriptor, span.data - span.header, span.header)) or {}
