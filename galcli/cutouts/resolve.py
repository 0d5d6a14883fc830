"""Finds the cutouts of a catalogue: what the user names, or what lies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import KINDS, CutoutRequest, CutoutSource
from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.column import ColumnSource, image_column
from galcli.cutouts.files import FileSource
from galcli.cutouts.fits_image import DAMAGE, has_position
from galcli.cutouts.header import Overrides, band_name
from galcli.cutouts.lookup import (
    FileList,
    Lookup,
    OneFile,
    PathColumn,
    Template,
    kind_of,
    list_folder,
    list_glob,
)
from galcli.cutouts.stack import StackSource
from galcli.errors import InputError
from galcli.sky.catalog import Catalog
from galcli.sky.formats import stem_of

#: Rows looked at to tell what a text column holds.
_SAMPLE = 64

_OWN_FIELDS = ("id", "row")


def find_source(
    catalog: Catalog,
    cutouts: str | None = None,
    bands: tuple[str, ...] | None = None,
    zeropoint: float | None = None,
    pixel_scale: float | None = None,
) -> CutoutSource:
    """Open the cutouts of a catalogue.

    Parameters
    ----------
    catalog : Catalog
    cutouts : str, optional
        Folder, file, glob or template such as ``stamps/{OBJID}.fits``. By default: an image column of the
        catalogue; a column of file names; ``cutouts/``, ``<stem>_cutouts.fits`` or ``<stem>_cutouts/`` beside it.
    bands : tuple of str, optional
        Names of the bands in the order of the files.
    zeropoint : float, optional
        AB magnitude of one count per pixel.
    pixel_scale : float, optional
        arcsec per pixel.

    Returns
    -------
    CutoutSource

    Raises
    ------
    InputError
        If nothing is found (what was looked for is listed), or it cannot be used.
    """
    overrides = Overrides(tuple(band_name(band) for band in bands) if bands else None, zeropoint, pixel_scale)
    if cutouts is not None:
        return _named(catalog, cutouts, overrides)
    column = image_column(catalog)
    if column is not None:
        return ColumnSource(catalog, column, overrides)
    name = _file_name_column(catalog)
    folder = catalog.path.resolve().parent
    if name is not None:
        found = _first_with_file(catalog, PathColumn(name, folder))
        if found is not None:
            return _file_source(catalog, PathColumn(name, folder), overrides, found)
    stem = stem_of(catalog.path)
    beside = [folder / "cutouts", folder / f"{stem}_cutouts.fits", folder / f"{stem}_cutouts"]
    refused: list[InputError] = []
    for path in beside:
        if path.exists():
            try:
                return _named(catalog, str(path), overrides)
            except InputError as error:
                refused.append(error)
    if refused:
        raise refused[0]
    looked = ["a column IMAGE, STAMP or CUTOUT", "a column of file names", *(str(path) for path in beside)]
    raise InputError(
        f"no cutouts found for {catalog.path}; looked for {', '.join(looked)}",
        "name a folder, file, glob or template with --cutouts",
    )


def _named(catalog: Catalog, cutouts: str, overrides: Overrides) -> CutoutSource:
    """The source that the user named."""
    try:
        path = Path(cutouts).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, or a name longer than the system allows
        raise InputError(f"{cutouts}: {error}", "name a folder, file, glob or template with --cutouts") from error
    by_position = catalog.id_name is None
    if not there:
        return _pattern(catalog, str(path), overrides)
    if path.is_dir():
        if next(path.glob("Norder=*"), None) is not None:
            return StackSource(path, overrides, by_position=by_position)
        return _listed(catalog, list_folder(path), overrides)
    if _is_stack(path):
        return StackSource(path, overrides, by_position=by_position)
    if kind_of(path.name) is None:
        raise InputError(f"{path} is neither FITS nor JPEG nor PNG", "name a folder, file, glob or template")
    single = FileList([path.name], path.parent, label=str(path))
    if _first_with_file(catalog, single) is not None:
        return _searched(catalog, single, overrides)
    if catalog.nrows > 1 and not _says_where(path):
        raise InputError(
            f"{path} has no position on the sky, and its name is no identifier of {catalog.path}: whose is it?",
            "name the file after its galaxy, give a folder or template, or an image with a WCS",
        )
    return _searched(catalog, OneFile(path), overrides)


def _says_where(path: Path) -> bool:
    """Whether an image can tell by itself which rows it holds."""
    if kind_of(path.name) == "display":
        return False
    try:
        return has_position(path)
    except DAMAGE:
        return True  # what is wrong with it is said where it is read


def _pattern(catalog: Catalog, text: str, overrides: Overrides) -> CutoutSource:
    """A template or a glob."""
    if Template.fields(text) and not catalog.nrows:  # no row fills it in
        return _listed(catalog, list_glob(Template.any_of(text)), overrides)
    if Template.fields(text):
        columns = {name: _column(catalog, name) for name in Template.fields(text) if name not in _OWN_FIELDS}
        return _searched(catalog, Template(text, columns), overrides)
    if any(letter in text for letter in "*?["):
        return _listed(catalog, list_glob(text), overrides)
    raise InputError(f"{text} does not exist", "name a folder, file, glob or template with --cutouts")


def _column(catalog: Catalog, name: str) -> str:
    """The catalogue's spelling of a template field, in capitals where it would hide a row's own field."""
    found = catalog.find(name)
    return found.upper() if found in ("id", "ra", "dec") else found


def _listed(catalog: Catalog, files: FileList, overrides: Overrides) -> CutoutSource:
    """Listed files, found by identifier or position; where that finds none, by a column of file names."""
    column = _file_name_column(catalog) if _first_with_file(catalog, files) is None else None
    return _searched(catalog, files if column is None else files.with_column(column), overrides)


def _searched(catalog: Catalog, lookup: Lookup, overrides: Overrides) -> CutoutSource:
    """Files, once a row that has one is found."""
    found = _first_with_file(catalog, lookup)
    if found is None:
        count = f"{catalog.nrows:,} rows of {catalog.path}"
        if isinstance(lookup, Template):
            first = lookup.expand(next(iter(_Requests(catalog, lookup.needs))))[0]
            raise InputError(
                f"{lookup.describe()}: no file for any of the {count}; the first would be {first}", "check the template"
            )
        looked = "<id>.fits, .fits.gz, .fits.fz, .jpg, .jpeg, .png, IAU names by position, names in a text column"
        raise InputError(
            f"{lookup.describe()}: no file for any of the {count}; looked for {looked}",
            "check --id-column, or give a template such as --cutouts 'stamps/{OBJID}.fits'",
        )
    return _file_source(catalog, lookup, overrides, found)


def _file_source(catalog: Catalog, lookup: Lookup, overrides: Overrides, sample: CutoutRequest) -> FileSource:
    return FileSource(lookup, sample, overrides, _Requests(catalog, lookup.needs))


class _Requests:
    """All rows of a catalogue as requests, in chunks."""

    def __init__(self, catalog: Catalog, needs: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._needs = needs

    def __iter__(self) -> Iterator[CutoutRequest]:
        row = 0
        for chunk in self._catalog.chunks(self._needs):
            yield _request(chunk, np.arange(row, row + len(chunk), dtype=np.int64), self._needs)
            row += len(chunk)


def _request(chunk: NDArray[Any], row: NDArray[np.int64], needs: tuple[str, ...]) -> CutoutRequest:
    return CutoutRequest(chunk["id"], chunk["ra"], chunk["dec"], row, {name: chunk[name] for name in needs})


def _first_with_file(catalog: Catalog, lookup: Lookup) -> CutoutRequest | None:
    """The first rows that have a file; of an empty catalogue no row, which any source satisfies."""
    if not catalog.nrows:
        rows_of_none = np.empty(0, np.int64)
        return _request(catalog.read(rows_of_none, lookup.needs), rows_of_none, lookup.needs)
    for request in _Requests(catalog, lookup.needs):
        start = 0
        while start < len(request):  # a few rows first: a template asks the disk for each
            part = request.take(np.arange(start, min(len(request), max(_SAMPLE, 4 * start)), dtype=np.int64))
            found = [[path is not None for path in lookup.find(part, kind)] for kind in KINDS]
            rows = np.flatnonzero(np.any(found, axis=0))
            if len(rows):
                return part.take(rows[:_SAMPLE])
            start += len(part)
    return None


def _file_name_column(catalog: Catalog) -> str | None:
    """A text column whose values end like image files."""
    for name in catalog.text_columns():
        if name.lower() in ("id", "ra", "dec"):
            continue
        values = [value.decode("ascii", "replace").strip() for value in catalog.head(name, _SAMPLE).tolist()]
        if any(values) and all(kind_of(value) is not None for value in values if value):
            return name
    return None


def _is_stack(path: Path) -> bool:
    """Whether a file holds PIXELS and INDEX."""
    try:
        with open_fits(path) as file:
            return {"PIXELS", "INDEX"} <= {hdu.get_extname() for hdu in file}
    except (OSError, ValueError):
        return False
