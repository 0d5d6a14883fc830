"""Rows of a table on disk: small tables are read, large ones mapped, so that memory does not grow with the survey.

A file that shrinks while it is mapped ends the process; galcli goes on where it stopped when it is started again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows of a table that is read.
IN_MEMORY = 1 << 16


def table_rows(path: Path, dtype: np.dtype[Any], rows: int, start: int) -> NDArray[Any]:
    """Rows as they stand in the file.

    Parameters
    ----------
    path : Path
    dtype : dtype
        Of a row.
    rows : int
    start : int
        Byte at which they begin.

    Returns
    -------
    ndarray (rows,)
        Read-only where it is mapped.
    """
    if rows <= IN_MEMORY:
        return np.fromfile(path, dtype, rows, offset=start)
    # Indexing a plain array costs a tenth of indexing a memmap.
    return np.asarray(np.memmap(path, dtype, "r", offset=start, shape=(rows,)))
