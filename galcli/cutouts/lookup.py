"""Which file holds the cutout of a row: by identifier, by the position in an IAU name, by a column or a template."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Kind
from galcli.cutouts.match import ARCSEC, IdIndex, SkyIndex
from galcli.errors import InputError

#: File name endings by kind, most wanted first.
ENDINGS: dict[Kind, tuple[str, ...]] = {
    "flux": (".fits", ".fits.gz", ".fits.fz", ".fits.bz2", ".fit"),
    "display": (".jpg", ".jpeg", ".png"),
}
#: Folders looked into for images below the one that was named.
_LOOKED_INTO = 1000
#: IAU names are truncated to 0.1 s in right ascension.
IAU_RADIUS = 2 * ARCSEC

_IAU = re.compile(r"J(\d{2})(\d{2})(\d{2}(?:\.\d+)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d+)?)")
_FIELD = re.compile(r"\{(\w+)\}")


_ALL_ENDINGS = tuple(ending for endings in ENDINGS.values() for ending in endings)


class Lookup(Protocol):
    """Finds the file of each row of a request."""

    #: Catalogue columns wanted in the request.
    needs: tuple[str, ...]

    def find(self, request: CutoutRequest, kind: Kind) -> list[str | None]:
        """Path of each row's file; None where there is none."""
        ...

    def describe(self) -> str:
        """What is looked for, for people."""
        ...

    def listing(self) -> Iterator[tuple[str, str]] | None:
        """(name, path) of every file if they are known without a catalogue."""
        ...


def kind_of(name: str) -> Kind | None:
    """Kind of the image in a file, by its ending."""
    low = name.lower()
    for kind, endings in ENDINGS.items():  # no generator: this is done 10^6 times
        if low.endswith(endings):
            return kind
    return None


def stem_of(name: str) -> str:
    """File name without its folder and image ending."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    low = base.lower()
    for ending in _ALL_ENDINGS:
        if low.endswith(ending):
            return base[: -len(ending)]
    return base


def left_aside(names: Iterable[str], used: Kind | None = None) -> str:
    """What a description says of files that are not used: images that are not of the kind used, if any is.

    Parameters
    ----------
    names : iterable of str
    used : 'flux' or 'display', optional

    Returns
    -------
    str
        To stand behind the place where they lie; '' if there are no such files.
    """
    count, endings = 0, set()
    for name in names:
        if kind_of(name) not in (used, None):
            count += 1
            endings.add(os.path.basename(name)[len(stem_of(name)) :].lower())  # noqa: PTH119 - called 10^6 times
    if not count:
        return ""
    files, are = ("file", "is") if count == 1 else ("files", "are")
    return f" [{count:,} {files} of another kind ({', '.join(sorted(endings))}) {are} not used]"


def parse_iau(name: str) -> tuple[float, float] | None:
    """Position in degrees of an IAU name such as ``J003750.30+172259.0``; None if there is none in the text."""
    match = _IAU.search(name)
    if match is None:
        return None
    hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = match.groups()
    ra = 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600)
    dec = int(degrees) + int(arcminutes) / 60 + float(arcseconds) / 3600
    return ra, -dec if sign == "-" else dec


def iau_name(ra: float, dec: float) -> str:
    """Name of a position in degrees, truncated to 0.01 s and 0.1 arcsec: what `parse_iau` reads."""
    hundredths, tenths = int(ra % 360 * 24000), int(abs(dec) * 36000)
    time = f"{hundredths // 360000:02}{hundredths // 6000 % 60:02}{hundredths % 6000 / 100:05.2f}"
    angle = f"{tenths // 36000:02}{tenths // 600 % 60:02}{tenths % 600 / 10:04.1f}"
    return f"J{time}{'-' if dec < 0 else '+'}{angle}"


class FileList:
    """Files whose names tell whose they are: identifier, IAU name, or the name in a catalogue column.

    Parameters
    ----------
    names : sequence of str
        Paths relative to ``root``.
    root : Path
    column : str, optional
        Catalogue column with file names; folder and ending in it are ignored.
    label : str
        How to call the source; by default ``root``.
    """

    def __init__(self, names: Sequence[str], root: Path, column: str | None = None, label: str = "") -> None:
        self.needs: tuple[str, ...] = (column,) if column else ()
        self._root = root
        self._names = sorted(names)
        self.label = label or str(root)
        self._indexes: dict[Kind, tuple[list[tuple[IdIndex, NDArray[np.int64]]], SkyIndex, NDArray[np.int64]]] = {}

    def with_column(self, column: str) -> FileList:
        """The same files, found through a catalogue column too."""
        return FileList(self._names, self._root, column, self.label)

    def listing(self) -> Iterator[tuple[str, str]]:
        """(name, path) of every file."""
        return ((name, os.path.join(self._root, name)) for name in self._names)  # noqa: PTH118 - called 10^6 times

    def describe(self) -> str:
        """One line for people."""
        return f"{self.label}: {len(self._names):,} files"

    def _index(self, kind: Kind) -> tuple[list[tuple[IdIndex, NDArray[np.int64]]], SkyIndex, NDArray[np.int64]]:
        """Indexes by name for each ending, and by position of names that hold one; made once."""
        if kind not in self._indexes:
            by_ending: dict[str, list[int]] = {ending: [] for ending in ENDINGS[kind]}
            stems, places = [""] * len(self._names), []
            for number, name in enumerate(self._names):
                if kind_of(name) != kind:
                    continue
                stems[number] = stem_of(name)
                low = name.lower()
                by_ending[next(ending for ending in by_ending if low.endswith(ending))].append(number)
                position = parse_iau(stems[number])
                if position is not None:
                    places.append((*position, number))
            ids = []
            for numbers in by_ending.values():
                text = np.array([stems[number].encode() for number in numbers], "S")
                if numbers:
                    ids.append((IdIndex(text), np.array(numbers, np.int64)))
            table = np.array(places, np.float64).reshape(-1, 3)
            self._indexes[kind] = (ids, SkyIndex(table[:, 0], table[:, 1]), table[:, 2].astype(np.int64))
        return self._indexes[kind]

    def find(self, request: CutoutRequest, kind: Kind) -> list[str | None]:
        """Path of each row's file; see `Lookup`."""
        by_id, by_position, position_numbers = self._index(kind)
        found = np.full(len(request), -1, np.int64)
        wanted = [request.id]
        if self.needs:
            stems = [stem_of(_text(value)).encode() for value in request.columns[self.needs[0]]]
            wanted.append(np.array(stems, "S") if stems else np.zeros(0, "S1"))
        self._by_name(found, wanted[0], by_id)
        if len(position_numbers):
            rows = np.flatnonzero(found < 0)
            hit = by_position.find(request.ra[rows], request.dec[rows], IAU_RADIUS)
            found[rows[hit >= 0]] = position_numbers[hit[hit >= 0]]
        for names in wanted[1:]:
            self._by_name(found, names, by_id)
        root = str(self._root)
        return [os.path.join(root, self._names[k]) if k >= 0 else None for k in found.tolist()]  # noqa: PTH118

    @staticmethod
    def _by_name(
        found: NDArray[np.int64], wanted: NDArray[Any], indexes: list[tuple[IdIndex, NDArray[np.int64]]]
    ) -> None:
        """Fill in rows not found yet, the most wanted ending first."""
        for index, numbers in indexes:
            rows = np.flatnonzero(found < 0)
            hit = index.find(wanted[rows])
            found[rows[hit >= 0]] = numbers[hit[hit >= 0]]


class Template:
    """Paths made from catalogue columns, such as ``stamps/{FIELD}/{OBJID}.fits``.

    Parameters
    ----------
    template : str
        ``{id}`` is the identifier, ``{row}`` the row number, everything else a column.
    columns : dict of str to str
        The catalogue's name of each column in the template.
    """

    def __init__(self, template: str, columns: dict[str, str]) -> None:
        self._template = template
        self._columns = columns
        self.needs: tuple[str, ...] = tuple(dict.fromkeys(columns.values()))
        self._kind = kind_of(template)

    @staticmethod
    def fields(template: str) -> list[str]:
        """Names between braces."""
        return _FIELD.findall(template)

    @staticmethod
    def any_of(template: str) -> str:
        """Glob for the files of all rows there might be."""
        return _FIELD.sub("*", template)

    def listing(self) -> None:
        """Unknown without a catalogue."""
        return

    def describe(self) -> str:
        """One line for people."""
        return f"files {self._template}"

    def find(self, request: CutoutRequest, kind: Kind) -> list[str | None]:
        """Path of each row's file; see `Lookup`."""
        if self._kind not in (kind, None):
            return [None] * len(request)
        paths = self.expand(request)
        return [path if os.path.isfile(path) else None for path in paths]  # noqa: PTH113 - called 10^6 times

    def expand(self, request: CutoutRequest) -> list[str]:
        """Path of each row, whether there is a file or not."""
        values: dict[str, Any] = {"id": request.id, "row": request.row}
        values |= {name: request.columns[column] for name, column in self._columns.items()}
        paths = []
        for row in range(len(request)):
            fill = functools.partial(_value, values, row)
            paths.append(_FIELD.sub(fill, self._template))
        return paths


class PathColumn:
    """Paths in a catalogue column, relative to the catalogue's folder.

    Parameters
    ----------
    column : str
    root : Path
    """

    def __init__(self, column: str, root: Path) -> None:
        self.needs: tuple[str, ...] = (column,)
        self._root = root

    def listing(self) -> None:
        """Unknown without a catalogue."""
        return

    def describe(self) -> str:
        """One line for people."""
        return f"files named in column {self.needs[0]}"

    def find(self, request: CutoutRequest, kind: Kind) -> list[str | None]:
        """Path of each row's file; see `Lookup`."""
        paths: list[str | None] = []
        for value in request.columns[self.needs[0]]:
            name = _text(value)
            path = os.path.join(self._root, name)  # noqa: PTH118 - called 10^6 times
            paths.append(path if name and kind_of(name) == kind and os.path.isfile(path) else None)  # noqa: PTH113
        return paths


class OneFile:
    """One image for every row; its WCS tells which rows it holds."""

    def __init__(self, path: Path) -> None:
        self.needs: tuple[str, ...] = ()
        self._path = path

    def listing(self) -> Iterator[tuple[str, str]]:
        """The file."""
        yield self._path.name, str(self._path)

    def describe(self) -> str:
        """One line for people."""
        return str(self._path)

    def find(self, request: CutoutRequest, kind: Kind) -> list[str | None]:
        """Path of each row's file; see `Lookup`."""
        return [str(self._path) if kind_of(self._path.name) == kind else None] * len(request)


def list_folder(folder: Path) -> FileList:
    """Image files directly in a folder."""
    return FileList(images_in(folder), folder)


def images_in(folder: Path) -> list[str]:
    """Names of the image files directly in a folder; of no folder, none."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if kind_of(entry.name) is not None]


def pattern_below(folder: str) -> str | None:
    """A pattern for the images in the folders below one, by the first folder that holds any; None where there are none."""
    for number, (place, folders, names) in enumerate(os.walk(folder)):
        if number == _LOOKED_INTO:
            return None
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # a pattern leaves out hidden ones
        images = sorted(name for name in names if kind_of(name) is not None)
        if place != folder and images:
            # Beside the images of a brick lie weights, models and residuals.
            best = next((name for name in images if "-image-" in name), images[0])
            pattern = ("*-image-*" if "-image-" in best else "*") + best[len(stem_of(best)) :]
            return os.path.join(folder, "**", pattern)  # noqa: PTH118 - as the user named the folder
    return None


def list_glob(pattern: str) -> FileList:
    """Image files that a pattern matches.

    Raises
    ------
    InputError
        If there are none.
    """
    names = [name for name in glob.glob(pattern, recursive=True) if kind_of(name) is not None]  # noqa: PTH207
    if not names:
        raise InputError(f"no image file matches {pattern}", "check the pattern given with --cutouts")
    return FileList(names, Path(), label=pattern)


def _value(values: dict[str, Any], row: int, field: re.Match[str]) -> str:
    """What stands in a row for a field of a template."""
    return _text(values[field[1]][row])


def _text(value: Any) -> str:
    """A column value as it stands in a file name."""
    return value.decode("ascii", "replace").strip() if isinstance(value, bytes) else str(value).strip()
