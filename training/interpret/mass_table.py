"""Tables of the reports on stellar mass under way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU

Header = list[tuple[str, Any, str]]
#: Bytes of a table of single galaxies beyond which it is left out.
MOST = 256 << 20


class Table:
    """Columns one after the other.

    Attributes
    ----------
    columns : list of Column
    data : dict of str to ndarray
    """

    def __init__(self) -> None:
        self.columns: list[Column] = []
        self.data: dict[str, NDArray[Any]] = {}

    def add(self, name: str, values: Any, description: str, dtype: str = "f8", **more: Any) -> None:
        """One column.

        Parameters
        ----------
        name : str
        values : array-like (N, ...)
        description : str
        dtype : str
            As of ``Column``; ``A`` for text (ASCII, other characters become ``?``), which gets the width that it needs.
        more : object
            Further arguments of ``Column``.
        """
        if dtype == "A":
            array = np.array([value.encode("ascii", "replace") for value in values], np.bytes_)
            dtype = f"A{max(1, array.itemsize)}"
        else:
            array = np.asarray(values, np.dtype(dtype))
        self.columns.append(Column(name, dtype, array.shape[1:], description=description, **more))
        self.data[name] = array

    def hdu(self, name: str, header: Header) -> TableHDU:
        """All of them as an HDU with further cards."""
        return TableHDU(name, self.columns, self.data, list(header))
