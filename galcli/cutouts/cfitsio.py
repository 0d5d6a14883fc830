"""Opening files with cfitsio, whatever they are called."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import fitsio

#: What cfitsio takes for instructions (``survey(1)/[new]/a.fits`` would be filtered, not opened), and bytes that are
#: no UTF-8, which fitsio does not pass on.
_UNUSABLE = re.compile("[\\[\\]()\udc80-\udcff]|\\+\\d+$")


def open_fits(path: str | Path) -> Any:
    """Open a FITS file for reading.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    fitsio.FITS

    Raises
    ------
    OSError
        If there is no such file, or it is no FITS.
    """
    name = os.fspath(path)
    if not _UNUSABLE.search(name):
        return fitsio.FITS(name)
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fitsio.FITS(f"/dev/fd/{descriptor}")
    finally:
        os.close(descriptor)
