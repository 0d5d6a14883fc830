"""Finds the cutouts of a catalogue: what the user names, or what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import KINDS, CutoutRequest, CutoutSource
from galcli.cutouts.cfitsio import open_fits
from galcli.cutouts.coadd_image import is_image_name
from galcli.cutouts.coadd_index import BrickIndex, FileIndex, ImageIndex, find_brick_table
from galcli.cutouts.coadds import CoaddSource
from galcli.cutouts.column import ColumnSource, image_column
from galcli.cutouts.files import PROBED, FileSource
from galcli.cutouts.fits_image import has_position
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.header import Overrides, band_name
from galcli.cutouts.lookup import (
    FileList,
    Lookup,
    OneFile,
    PathColumn,
    Template,
    kind_of,
    left_aside,
    list_folder,
    list_glob,
    pattern_below,
)
from galcli.cutouts.stack import StackSource
from galcli.errors import InputError, NoCutoutsError
from galcli.progress import silent
from galcli.sky.catalog import Catalog
from galcli.sky.formats import stem_of

#: Rows looked at to tell what a text column holds.
_SAMPLE = 64

#: Field of stamps where no model says what it needs, arcsec.
FIELD = 40.0

#: Rows, spread over the catalogue, whose images tell the bands of a survey.
PROBED_ROWS = 256

_OWN_FIELDS = ("id", "row")


def find_source(
    catalog: Catalog,
    cutouts: str | None = None,
    bands: tuple[str, ...] | None = None,
    zeropoint: float | None = None,
    pixel_scale: float | None = None,
    bricks: Path | None = None,
    field: float = FIELD,
    size: int | None = None,
    note: Callable[[str], None] = silent,
) -> CutoutSource:
    """Open the cutouts of a catalogue.

    Parameters
    ----------
    catalog : Catalog
    cutouts : str, optional
        Folder, file, glob or template such as ``stamps/{OBJID}.fits``; FITS images whose names say nothing about
        the rows are searched by position, and stamps are cut from them. By default: an image column of the
        catalogue; a column of file names; ``cutouts/``, ``<stem>_cutouts.fits`` or ``<stem>_cutouts/`` beside it.
    bands : tuple of str, optional
        Names of the bands in the order of the files.
    zeropoint : float, optional
        AB magnitude of one count per pixel.
    pixel_scale : float, optional
        arcsec per pixel.
    bricks : Path, optional
        Table of survey bricks, whose images lie in the folder ``cutouts``.
    field : float, arcsec
        Side of the field that stamps cut from large images must cover.
    size : int, optional
        Side of such stamps in pixels, instead of what ``field`` needs.
    note : callable
        Is told how far the search is where it takes long.

    Returns
    -------
    CutoutSource

    Raises
    ------
    NoCutoutsError
        If nothing is found; what was looked for is listed.
    InputError
        If what is found, or named, cannot be used.
    """
    overrides = Overrides(tuple(band_name(band) for band in bands) if bands else None, zeropoint, pixel_scale)
    stamps = _Stamps(catalog, overrides, field, size, note)
    if bricks is not None:
        return stamps.of_bricks(bricks, Path(cutouts).expanduser() if cutouts else bricks.parent)
    if cutouts is not None:
        return _named(catalog, cutouts, overrides, stamps)
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
                return _named(catalog, str(path), overrides, stamps)
            except InputError as error:
                refused.append(error)
    if refused:
        raise refused[0]
    looked = ["a column IMAGE, STAMP or CUTOUT", "a column of file names", *(str(path) for path in beside)]
    raise NoCutoutsError(
        f"no cutouts found for {catalog.path}; looked for {', '.join(looked)}",
        "name a folder, file, glob or template with --cutouts",
    )


def _named(catalog: Catalog, cutouts: str, overrides: Overrides, stamps: _Stamps) -> CutoutSource:
    """The source that the user named."""
    try:
        path = Path(cutouts).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # no such user's home, or a name longer than the system allows
        raise InputError(f"{cutouts}: {error}", "name a folder, file, glob or template with --cutouts") from error
    by_position = catalog.id_name is None
    if not there:
        return _pattern(catalog, str(path), overrides, stamps)
    if path.is_dir():
        if next(path.glob("Norder=*"), None) is not None:
            return StackSource(path, overrides, by_position=by_position)
        table = find_brick_table(path)
        return (
            _listed(catalog, list_folder(path), overrides, stamps) if table is None else stamps.of_bricks(table, path)
        )
    if _is_stack(path):
        return StackSource(path, overrides, by_position=by_position)
    if kind_of(path.name) is None:
        raise InputError(f"{path} is neither FITS nor JPEG nor PNG", "name a folder, file, glob or template")
    single = FileList([path.name], path.parent, label=str(path))
    if _first_with_file(catalog, single) is not None:
        return _searched(catalog, single, overrides)
    if _says_where(path):
        return stamps.of_files([str(path)], str(path))
    if catalog.nrows > 1:
        raise InputError(
            f"{path} has no position on the sky, and its name is no identifier of {catalog.path}: whose is it?",
            "name the file after its galaxy, give a folder or template, or an image with a WCS",
        )
    return _searched(catalog, OneFile(path), overrides)


class _Stamps:
    """Sources that cut stamps from large images.

    Parameters
    ----------
    catalog : Catalog
    overrides : Overrides
    field : float, arcsec
    size : int or None
    note : callable
    """

    def __init__(
        self, catalog: Catalog, overrides: Overrides, field: float, size: int | None, note: Callable[[str], None]
    ) -> None:
        self._catalog, self._overrides, self._field, self._size, self._note = catalog, overrides, field, size, note

    def of_files(self, paths: Sequence[str], label: str) -> CoaddSource:
        """From files whose headers say where they lie."""
        return self._source(FileIndex(paths, label, self._overrides, self._note))

    def of_bricks(self, table: Path, folder: Path) -> CoaddSource:
        """From the bricks of a survey."""
        return self._source(BrickIndex(table, folder, self._overrides))

    def _source(self, index: ImageIndex) -> CoaddSource:
        if self._overrides.pixel_scale is not None:
            raise InputError(
                f"--pixel-scale contradicts the WCS of {index.describe()}", "leave it out: the images say their scale"
            )
        rows = np.unique(np.linspace(0, max(self._catalog.nrows - 1, 0), PROBED_ROWS, dtype=np.int64))
        probe = self._catalog.read(rows[: self._catalog.nrows])
        return CoaddSource(index, (probe["ra"], probe["dec"]), _Positions(self._catalog), self._field, self._size)


class _Positions:
    """Right ascension and declination of all rows of a catalogue, in chunks."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __iter__(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return ((chunk["ra"], chunk["dec"]) for chunk in self._catalog.chunks())


def _says_where(path: Path) -> bool:
    """Whether an image can tell by itself which rows it holds."""
    if kind_of(path.name) == "display":
        return False
    try:
        return has_position(path)
    except DAMAGE:
        return True  # what is wrong with it is said where it is read


def _pattern(catalog: Catalog, text: str, overrides: Overrides, stamps: _Stamps) -> CutoutSource:
    """A template or a glob."""
    if Template.fields(text) and not catalog.nrows:  # no row fills it in
        return _searched(catalog, list_glob(Template.any_of(text)), overrides)
    if Template.fields(text):
        columns = {name: _column(catalog, name) for name in Template.fields(text) if name not in _OWN_FIELDS}
        return _searched(catalog, Template(text, columns), overrides)
    if any(letter in text for letter in "*?["):
        return _listed(catalog, list_glob(text), overrides, stamps)
    raise InputError(f"{text} does not exist", "name a folder, file, glob or template with --cutouts")


def _column(catalog: Catalog, name: str) -> str:
    """The catalogue's spelling of a template field, in capitals where it would hide a row's own field."""
    found = catalog.find(name)
    return found.upper() if found in ("id", "ra", "dec") else found


def _listed(catalog: Catalog, files: FileList, overrides: Overrides, stamps: _Stamps) -> CutoutSource:
    """Listed files, found by identifier or IAU name; else by a column of file names; else by where they lie."""
    if _first_with_file(catalog, files) is not None:
        return _searched(catalog, files, overrides)
    column = _file_name_column(catalog)
    if column is not None and _first_with_file(catalog, files.with_column(column)) is not None:
        return _searched(catalog, files.with_column(column), overrides)
    paths = [path for name, path in files.listing() if kind_of(name) == "flux" and is_image_name(name)]
    if any(_says_where(Path(path)) for path in paths[:PROBED]):
        return stamps.of_files(paths, files.describe() + left_aside((name for name, _ in files.listing()), "flux"))
    return _searched(catalog, files, overrides)


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
        below = pattern_below(lookup.label) if isinstance(lookup, FileList) else None
        raise InputError(
            f"{lookup.describe()}: no file for any of the {count}; looked for {looked}",
            f"there are images in its subfolders: give --cutouts '{below}', or a table of survey bricks with --bricks"
            if below
            else "check --id-column, or give a template such as --cutouts 'stamps/{OBJID}.fits'",
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
