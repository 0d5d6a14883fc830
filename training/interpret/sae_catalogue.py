"""Numbers of a catalogue that concepts can be compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError
from galcli.sky.catalog import Catalog, ColumnMeta

Floats = NDArray[np.float64]

#: Columns that are compared at most, the first ones of the catalogue.
MOST = 150
#: Galaxies with a value below which a column says nothing.
LEAST = 20
#: Numbers by which catalogues say that they know none.
ABSENT = (-9999.0, -999.0, -99.0)
#: Integer columns with at most this many values may be classes; classes of fewer galaxies are left out.
_CLASSES, _FEW = 20, 10
#: Names of columns that tell how well another one is known, or which object it is.
_SKIPPED = re.compile(
    r"ERR|IVAR|SIGM|(^|_)(ID|RA|DEC|FLAGS?|MASK|STATUS|HPX|ROW)$|TARGETID|OBJID|SPECOBJ|PLATE|FIBER|MJD|BRICK"
)
_NAMES = re.compile(r"CLASS|GALAXY10")


def numeric_columns(catalog: Catalog) -> list[str]:
    """Columns with one number per galaxy that is a property of it, `MOST` at most: no identifiers, positions, errors."""
    own = {catalog.id_name, catalog.ra_name, catalog.dec_name}
    found = []
    for name in catalog.names:
        try:
            meta = catalog.column_meta(name)
        except InputError:  # of a kind that nothing reads
            continue
        if name not in own and not meta.shape and meta.dtype.kind in "iufb" and not _SKIPPED.search(name.upper()):
            found.append(name)
    return found[:MOST]


def known_columns(catalog: Catalog, table: NDArray[Any], names: Sequence[str]) -> dict[str, Floats]:
    """Columns as numbers, NaN where unknown; those that tell too little are left out.

    Parameters
    ----------
    catalog : Catalog
    table : structured ndarray (N,)
        Rows of it.
    names : sequence of str
        Of `numeric_columns`.

    Returns
    -------
    dict of str to ndarray (N,)
        Names in capitals. A column of classes becomes one column of 0 and 1 for each of them, ``NAME=number``.
    """
    found: dict[str, Floats] = {}
    for name in names:
        for title, values in _columns(name.upper(), table[name], catalog.column_meta(name)):
            known = values[np.isfinite(values)]
            if len(known) >= LEAST and np.ptp(known) > 0:
                found[title] = values
    return dict(list(found.items())[:MOST])


def _columns(name: str, values: NDArray[Any], meta: ColumnMeta) -> Iterator[tuple[str, Floats]]:
    numbers = values.astype(np.float64)
    absent = np.isin(numbers, ABSENT) | ~np.isfinite(numbers)
    if meta.null is not None:
        absent |= values == meta.null
    if meta.dtype.kind not in "iu" or not _NAMES.search(name):
        yield name, np.where(absent, np.nan, numbers)
        return
    absent |= numbers < 0
    classes, counts = np.unique(numbers[~absent], return_counts=True)
    if len(classes) <= _CLASSES:
        for number in classes[counts >= _FEW]:
            yield f"{name}={number:.0f}", np.where(absent, np.nan, (numbers == number).astype(np.float64))
