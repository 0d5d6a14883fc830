"""Which images lie where: an index of many files by their footprints, or of survey bricks by their table."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.coadd_image import CoaddImage, images_of, is_image_name
from galcli.cutouts.hdus import DAMAGE
from galcli.cutouts.header import Overrides
from galcli.cutouts.lookup import images_in, left_aside
from galcli.cutouts.match import unit_vectors
from galcli.cutouts.resources import require_resources
from galcli.errors import InputError
from galcli.progress import LINE_EVERY, silent
from galcli.sky.rows import open_table

Floats = NDArray[np.float64]

#: Bricks whose headers are kept, and bricks looked at to learn the bands.
_KEPT_BRICKS, _PROBED_BRICKS = 4096, 64


class ImageIndex(Protocol):
    """Images in groups that lie together on the sky.

    Attributes
    ----------
    unreadable : dict of str to str
        Files that could not be read so far, with the reason.
    """

    unreadable: dict[str, str]

    def near(self, ra: Floats, dec: Floats, reach: float) -> list[int]:
        """Groups that may have pixels within ``reach`` degrees of the positions (N,), in ascending order."""
        ...

    def images(self, group: int) -> Sequence[CoaddImage]:
        """Images of a group, in a fixed order."""
        ...

    def sample(self, groups: Sequence[int]) -> Sequence[CoaddImage]:
        """Images that tell which bands the groups have."""
        ...

    def files(self, used: Iterable[tuple[Floats, Floats]], reach: float) -> Iterator[str]:
        """Every file that may be read within ``reach`` degrees of the positions (ra, dec), for the fingerprint."""
        ...

    def describe(self) -> str:
        """One line for people."""
        ...


class FileIndex:
    """Images in files whose headers are read at once.

    Parameters
    ----------
    paths : iterable of str
    label : str
        How to call them.
    overrides : Overrides
    note : callable
        Is told one line now and then if there are many.

    Raises
    ------
    InputError
        If none of the files holds an image that can be used.
    Interrupted
        After a signal.
    """

    def __init__(
        self, paths: Iterable[str], label: str, overrides: Overrides, note: Callable[[str], None] = silent
    ) -> None:
        self.unreadable: dict[str, str] = {}
        self._images: list[CoaddImage] = []
        refused: InputError | None = None
        self._label = label
        wanted = sorted(path for path in paths if is_image_name(path))
        said = time.monotonic()
        for number, path in enumerate(wanted):
            interrupts.check()
            if time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                note(f"{number:,} of {len(wanted):,} headers of images read")
            try:
                self._images += images_of(path, overrides)
            except InputError as error:
                refused = refused or InputError(f"{path}: {error.message}", error.hint)
                self.unreadable[path] = error.message
            except DAMAGE as error:
                require_resources(path, error)
                self.unreadable[path] = str(error)
        if not self._images and refused is not None:
            raise refused
        if not self._images:
            why = next((f"; {path}: {reason}" for path, reason in self.unreadable.items()), "")
            raise InputError(f"{label}: no file holds an image with a position on the sky{why}", "check --cutouts")
        caps = [image.sky.footprint for image in self._images]
        self._points = np.array([point for point, _ in caps])
        self._radius = np.array([radius for _, radius in caps])

    def near(self, ra: Floats, dec: Floats, reach: float) -> list[int]:
        """Images whose caps hold one of the positions, or nearly so; see `ImageIndex`."""
        points = unit_vectors(ra, dec)
        groups = within(self._points, self._radius + reach, points)
        # A cap around all points may be much larger than they are together.
        limit = np.cos(np.radians(np.minimum(self._radius[groups] + reach, 180)))
        pairs = zip(groups.tolist(), self._points[groups], limit, strict=True)
        return [group for group, center, cosine in pairs if (points @ center >= cosine).any()]

    def images(self, group: int) -> Sequence[CoaddImage]:
        """Each image is a group of its own."""
        return self._images[group : group + 1]

    def sample(self, groups: Sequence[int]) -> Sequence[CoaddImage]:
        """All of them: they are known."""
        return [self._images[group] for group in groups]

    def files(self, used: Iterable[tuple[Floats, Floats]], reach: float) -> Iterator[str]:
        """All files: any of them may hold a row."""
        del used, reach
        for image in self._images:
            yield image.path
            if image.weight is not None:
                yield image.weight.path

    def describe(self) -> str:
        """One line for people."""
        return f"{len(self._images):,} images of {self._label}"


class BrickIndex:
    """Images of survey bricks, found through a table of the bricks when they are wanted.

    Parameters
    ----------
    table : Path
        With columns BRICKNAME, RA1, RA2, DEC1, DEC2 in degrees.
    folder : Path
        Holds ``AAA/BRICK/`` or ``coadd/AAA/BRICK/``, where AAA are the first letters of the brick's name.
    overrides : Overrides

    Raises
    ------
    InputError
        If the table is no table of bricks.
    """

    def __init__(self, table: Path, folder: Path, overrides: Overrides) -> None:
        self.unreadable: dict[str, str] = {}
        self._overrides = overrides
        self._table = table
        self._given = folder
        self._folder = folder / "coadd" if (folder / "coadd").is_dir() else folder
        self._names, self._boxes = _read_bricks(table)
        self._known: OrderedDict[int, list[CoaddImage]] = OrderedDict()

    def near(self, ra: Floats, dec: Floats, reach: float) -> list[int]:
        """Bricks that the positions, or squares around them, lie in; see `ImageIndex`."""
        east = reach / np.maximum(np.cos(np.radians(dec)), 1e-6)
        around = [
            self._boxes.find((ra + i * east) % 360, np.clip(dec + j * reach, -90, 90))
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        found = np.unique(np.concatenate(around))
        return [int(brick) for brick in found if brick >= 0]

    def files(self, used: Iterable[tuple[Floats, Floats]], reach: float) -> Iterator[str]:
        """Files of the bricks near the positions."""
        wanted = np.zeros(len(self._names), np.bool_)
        for ra, dec in used:
            good = np.isfinite(ra) & np.isfinite(dec)
            wanted[self.near(ra[good], dec[good], reach)] = True
        for brick in np.flatnonzero(wanted).tolist():
            yield from map(str, self._files(brick, "-image-", "-invvar-"))

    def describe(self) -> str:
        """One line for people."""
        aside = left_aside(name for name in images_in(self._given) if name != self._table.name)
        return f"{len(self._names):,} bricks of {self._table} in {self._folder}{aside}"

    def images(self, group: int) -> Sequence[CoaddImage]:
        """The images of a brick."""
        if group in self._known:
            self._known.move_to_end(group)
            return self._known[group]
        images: list[CoaddImage] = []
        for path in map(str, self._files(group, "-image-")):
            try:
                images += images_of(path, self._overrides)
            except InputError as error:
                self.unreadable[path] = error.message
            except DAMAGE as error:
                require_resources(path, error)
                self.unreadable[path] = str(error)
        self._known[group] = images
        if len(self._known) > _KEPT_BRICKS:
            self._known.popitem(last=False)
        return images

    def sample(self, groups: Sequence[int]) -> Sequence[CoaddImage]:
        """Those of some of the bricks."""
        some = groups[:: max(1, len(groups) // _PROBED_BRICKS)]
        return [image for group in some for image in self.images(group)]

    def _files(self, brick: int, *kinds: str) -> list[Path]:
        name = self._names[brick]
        files = (self._folder / name[:3] / name).glob("*.fits*")
        return sorted(path for path in files if any(kind in path.name for kind in kinds))


def within(centers: Floats, radius: Floats, points: Floats) -> NDArray[np.int64]:
    """Caps that come near some of the points, judged by a cap around all of them.

    Parameters
    ----------
    centers : ndarray (M, 3), float64
        Unit vectors.
    radius : ndarray (M,), float64, degrees
    points : ndarray (N, 3), float64
        Unit vectors.

    Returns
    -------
    ndarray (K,), int64
        In ascending order.
    """
    if not len(points):
        return np.empty(0, np.int64)
    middle = points.mean(axis=0)
    length = np.linalg.norm(middle)
    if length < 1e-9:  # points all around the sky
        return np.arange(len(centers), dtype=np.int64)
    middle /= length
    spread = np.degrees(np.arccos(np.clip(points @ middle, -1, 1))).max()
    distance = np.degrees(np.arccos(np.clip(centers @ middle, -1, 1)))
    return np.flatnonzero(distance <= radius + spread).astype(np.int64)


def fingerprint(paths: Iterable[str]) -> dict[str, Any]:
    """SHA-256 over path, size and modification time of files, and their number."""
    digest, count = hashlib.sha256(), 0
    for path in sorted(set(paths)):
        facts = os.stat(path)  # noqa: PTH116 - called for each of very many files
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        count += 1
    return {"source": "coadds", "files": count, "sha256": digest.hexdigest()}


def find_brick_table(folder: Path) -> Path | None:
    """A table of bricks in a folder, or beside it if the folder is called coadd; the shortest name if there are more."""
    places = [folder, folder.parent] if folder.name == "coadd" else [folder]
    for place in places:
        tables = sorted(place.glob("survey-bricks*.fits*"), key=lambda path: (len(path.name), path.name))
        if tables:
            return tables[0]
    return None


class _Boxes:
    """Boxes in right ascension and declination that do not overlap, in strips of declination.

    Parameters
    ----------
    ra1, ra2, dec1, dec2 : ndarray (M,), float64, degrees
    """

    def __init__(self, ra1: Floats, ra2: Floats, dec1: Floats, dec2: Floats) -> None:
        self._strips, strip = np.unique(dec1, return_inverse=True)
        key = strip * 1000.0 + ra1
        self._order = np.argsort(key, kind="stable")
        self._key = key[self._order]
        self._ra2, self._dec2, self._strip = ra2[self._order], dec2[self._order], strip[self._order]

    def find(self, ra: Floats, dec: Floats) -> NDArray[np.int64]:
        """Box of each position (N,), -1 where there is none."""
        strip = np.searchsorted(self._strips, dec, side="right") - 1
        at = np.maximum(np.searchsorted(self._key, strip * 1000.0 + ra, side="right") - 1, 0)
        # The last strip holds the pole itself.
        inside = (self._strip[at] == strip) & (ra < self._ra2[at]) & ((dec < self._dec2[at]) | (dec >= 90))
        return np.where(inside, self._order[at], -1).astype(np.int64)


def _read_bricks(table: Path) -> tuple[list[str], _Boxes]:
    """Names and boxes of the bricks in a table."""
    bricks = open_table(table)
    try:
        known = {name.upper(): name for name in bricks.fields}
        wanted = ("BRICKNAME", "RA1", "RA2", "DEC1", "DEC2")
        missing = [name for name in wanted if name not in known]
        if missing:
            raise InputError(
                f"{table}: no column {', '.join(missing)}", "give the survey-bricks table of the Legacy Surveys"
            )
        rows = bricks.read(0, bricks.nrows, [known[name] for name in wanted])
    finally:
        bricks.close()
    names = [name.decode("ascii", "replace").strip() for name in rows[known["BRICKNAME"]].tolist()]
    bad = next((name for name in names if re.fullmatch(r"[\w.+-]+", name) is None), None)
    if bad is not None:
        raise InputError(f"{table}: {bad!r} is no name of a brick", "check the table given with --cutouts")
    if not names:
        raise InputError(f"{table} holds no brick", "check the table given with --cutouts")
    ra1, ra2, dec1, dec2 = (rows[known[name]].astype(np.float64) for name in wanted[1:])
    return names, _Boxes(ra1, ra2, dec1, dec2)
