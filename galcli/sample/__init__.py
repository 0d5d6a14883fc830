"""The embedded sample survey: a small mock catalogue with cutouts, spectra and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from galcli.errors import InputError, OutputError
from galcli.tables.fits import atomic_write

#: Written last: a folder that has it has everything.
CATALOG = "catalog.fits"


def unpack(directory: str | Path) -> Path:
    """Copy the sample survey into a folder.

    Parameters
    ----------
    directory : str or Path
        Made if need be. Files of the survey that are there already are left as they are.

    Returns
    -------
    Path
        The catalogue.

    Raises
    ------
    InputError
        If this installation carries no sample survey.
    OutputError
        If another file is in the way, or the disk refuses.
    """
    return copy_survey(files(__name__), Path(directory))


def copy_survey(source: Traversable, target: Path) -> Path:
    """Copy the FITS files below ``source``, each whole or not at all, the catalogue last."""
    found = sorted(_fits_files(source), key=lambda item: (item[0] == CATALOG, item[0]))
    if not found or found[-1][0] != CATALOG:
        raise InputError("this installation carries no sample survey", "reinstall galcli, or make one: galcli mock DIR")
    for name, file in found:
        data, path = file.read_bytes(), target / name
        if path.exists():
            if path.read_bytes() != data:
                raise OutputError(f"{path} exists and is another file", "choose an empty folder")
            continue
        atomic_write(path, data)
    return target / CATALOG


def _fits_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """(relative name, file) of every FITS file below a folder."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _fits_files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".fits"):
            yield prefix + entry.name, entry
