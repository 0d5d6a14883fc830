"""Cutouts out of stack files: one file, or a folder ``Norder=k/Dir=d/Npix=p.fits`` of HEALPix tiles."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures, Kind, PixelBatch, failed, judge, without_signal
from galcli.cutouts.buffers import Buffers
from galcli.cutouts.header import NO_OVERRIDES, Overrides
from galcli.cutouts.lookup import images_in, left_aside
from galcli.cutouts.match import ARCSEC
from galcli.cutouts.parallel import ahead, in_flight
from galcli.cutouts.resources import require_resources
from galcli.cutouts.stack_file import DAMAGE, StackFile, identity
from galcli.cutouts.stack_proof import Proof
from galcli.cutouts.stack_write import write_stack
from galcli.errors import InputError
from galcli.sky import healpix
from galcli.tables.status import RowStatus, meaning

__all__ = ["StackSource", "write_stack"]

#: Stack files kept open, and files at most that a batch takes its cutouts from.
OPEN_FILES = 16

_TILE = re.compile(r"Norder=(\d+)/Dir=\d+/Npix=(\d+)\.fits$")
_NOWHERE = (-1, -1)  # order and pixel of a file that may hold any object


@dataclass
class _Segment:
    """Cutouts of one file that follow each other in a batch."""

    stack: StackFile
    index: NDArray[np.int64]
    entry: NDArray[np.int64]
    proof: Proof | None = None
    fresh: NDArray[np.bool_] | None = None

    def part(self, start: int, stop: int) -> _Segment:
        """Some of the cutouts."""
        fresh = None if self.fresh is None else self.fresh[start:stop]
        return _Segment(self.stack, self.index[start:stop], self.entry[start:stop], self.proof, fresh)


@dataclass
class _Pending:
    """Segments waiting until they fill a batch."""

    segments: list[_Segment] = field(default_factory=list)
    size: int = 0
    layout: tuple[Any, ...] = ()


class StackSource:
    """Cutouts in stack files.

    Parameters
    ----------
    path : str or Path
        A stack file, or a folder of tiles ``Norder=k/Dir=d/Npix=p.fits`` (HEALPix NESTED).
    overrides : Overrides, optional
        Bands in file order, zero point and pixel scale given by the user.
    by_position : bool, optional
        Identifiers are row numbers: find objects by position. By default that is so when every identifier of a
        request equals its row number.

    Raises
    ------
    InputError
        If there is no readable stack file, or its bands or units cannot be known.
    """

    kind: Kind = "flux"
    needs: tuple[str, ...] = ()
    all_python = False

    def __init__(
        self, path: str | Path, overrides: Overrides = NO_OVERRIDES, *, by_position: bool | None = None
    ) -> None:
        self.path = Path(path)
        self._overrides = overrides
        self._by_position = by_position
        self._places = _find_files(self.path)
        self._opened: OrderedDict[Path, StackFile] = OrderedDict()
        self._verdicts: dict[Path, str] = {}
        self._buffers = Buffers(keep=in_flight() + 4)
        self._unsigned: set[str] = set()
        self._pixels = {
            order: np.array(sorted(pixel for (k, pixel) in self._places if k == order), np.int64)
            for order in {k for k, _ in self._places}
        }
        first = self._first_readable()
        self.bands = first.convention.bands
        self.survey = first.convention.survey
        self.field = max(first.shape[1:]) * first.convention.pixel_scale
        self.side = min(first.shape[1:])

    def _first_readable(self) -> StackFile:
        """The file whose bands and survey stand for the source."""
        problem, refused = "", None
        for path in self._files():
            try:
                return self._open(path)
            except InputError as error:  # where other files can be read, it costs its own rows only
                refused = refused or InputError(f"{path}: {error.message}", error.hint)
            except DAMAGE as error:
                problem = problem or f"{path}: {error}"
        if refused is not None:
            raise refused
        raise InputError(f"no readable stack file in {self.path} ({problem})", "check the path given with --cutouts")

    def _files(self) -> list[Path]:
        return [self._places[place] for place in sorted(self._places)]

    def _open(self, path: Path) -> StackFile:
        """The file, from the few kept open if it is among them."""
        try:
            return self._keep_open(self._opened.get(path) or StackFile(path, self._overrides))
        except OSError as error:
            require_resources(path, error)
            raise

    def _keep_open(self, stack: StackFile) -> StackFile:
        """Note the use of a file and let go of the one longest unused."""
        self._opened[stack.path] = stack
        self._opened.move_to_end(stack.path)
        if len(self._opened) > OPEN_FILES:
            self._opened.popitem(last=False)  # closed once no batch in work needs it
        return stack

    def fingerprint(self) -> dict[str, Any]:
        """DATASUM of each file's PIXELS and INDEX (size where a file has none)."""
        return {"source": "stack", "files": {_name(self.path, path): identity(path) for path in self._files()}}

    def describe(self) -> str:
        """One line for people."""
        number = len(self._places)
        aside = left_aside(images_in(self.path))
        return f"{self.path}: {number} stack file{'s' if number != 1 else ''}{aside}, bands {''.join(self.bands)}"

    def counters(self) -> dict[str, int]:
        """Nothing: see ``files``."""
        return {}

    def files(self) -> dict[str, frozenset[str]]:
        """Stack files without a checksum."""
        return {"no_checksum": frozenset(self._unsigned)}

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield the rows, file by file in the order in which their cutouts lie on disk; see ``CutoutSource``."""
        proofs: dict[Path, Proof] = {}
        for items in ahead(self._fill, self._arranged(request, batch_size, proofs)):
            yield from items
        for path, proof in proofs.items():
            verdict = self._verdict(path, proof)
            if verdict:
                yield proof.taken_back(f"{path.name}: {verdict}")

    def rows_ahead(self, batch_size: int) -> int:
        """A batch in each thread; see ``CutoutSource``."""
        return in_flight() * batch_size

    def _arranged(
        self, request: CutoutRequest, batch_size: int, proofs: dict[Path, Proof]
    ) -> Iterator[_Pending | Failures]:
        """Batches to be read, and rows that have no cutout; ``proofs`` gains those of the files in the making."""
        by_position = self._by_position
        if by_position is None:
            by_position = request.id.dtype.kind in "iu" and bool(np.array_equal(request.id, request.row))
        waiting = np.ones(len(request), bool)
        damage: dict[int, str] = {}
        pending = _Pending()
        for path, rows in self._routes(request, waiting):
            try:
                stack = self._open(path)
            except (*DAMAGE, InputError) as error:
                damage.update(dict.fromkeys(rows.tolist(), f"{path.name}: {error}"))
                continue
            entry = stack.find(request.id[rows], request.ra[rows], request.dec[rows], by_position=by_position)
            found = np.flatnonzero(entry >= 0)
            waiting[rows[found]] = False
            if request.provisional and len(found):
                self._begin_proof(stack, proofs)
            segment, lost = self._usable(stack, rows[found], entry[found], proofs.get(path))
            yield from lost
            pending = yield from self._add(pending, segment, batch_size)
        if pending.size:
            yield pending
        yield from _not_found(np.flatnonzero(waiting), damage)

    def _routes(self, request: CutoutRequest, waiting: NDArray[np.bool_]) -> Iterator[tuple[Path, NDArray[np.int64]]]:
        """Files to look into, each with the rows that may lie there and are still waiting when their turn comes.

        First the file whose pixel holds the object. An object within 1 arcsec of a border may have been packed with
        slightly other coordinates: second, for rows not found, the files that the position nearly touches.
        """
        if _NOWHERE in self._places:
            yield self._places[_NOWHERE], np.flatnonzero(waiting)
            return
        nowhere = ~healpix.good(request.ra, request.dec)
        for shifts in (((0.0, 0.0),), ((0.0, ARCSEC), (0.0, -ARCSEC), (ARCSEC, 0.0), (-ARCSEC, 0.0))):
            members: dict[tuple[int, int], set[int]] = {}
            for east, north in shifts:
                self._route_shifted(request, np.flatnonzero(waiting & ~nowhere), east, north, members)
            lost = set(np.flatnonzero(waiting & nowhere).tolist()) if shifts[0] == (0.0, 0.0) else set()
            places = sorted(self._places) if lost else sorted(members)
            for place in places:
                rows = np.array(sorted(members.get(place, set()) | lost), np.int64)
                rows = rows[waiting[rows]] if len(rows) else rows
                if len(rows):
                    yield self._places[place], rows

    def _route_shifted(
        self,
        request: CutoutRequest,
        rows: NDArray[np.int64],
        east: float,
        north: float,
        members: dict[tuple[int, int], set[int]],
    ) -> None:
        """Add rows to the files whose pixel holds their position moved by (east, north) degrees."""
        dec = np.clip(request.dec[rows] + north, -90, 90)
        ra = (request.ra[rows] + east / np.maximum(np.cos(np.radians(dec)), 1e-6)) % 360
        deepest = healpix.pixel(ra, dec, 29)
        for order, listed in self._pixels.items():
            pixel = deepest >> 2 * (29 - order)
            place = np.minimum(np.searchsorted(listed, pixel), len(listed) - 1)
            inside = np.flatnonzero(listed[place] == pixel)
            for one in np.unique(pixel[inside]):
                members.setdefault((order, int(one)), set()).update(rows[inside[pixel[inside] == one]].tolist())

    def _begin_proof(self, stack: StackFile, proofs: dict[Path, Proof]) -> None:
        """Sum a file that is read for the first time while it is read."""
        if stack.path not in self._verdicts and stack.path not in proofs and stack.can_sum:
            try:
                stack.require_whole()
            except DAMAGE:
                return
            proofs[stack.path] = Proof(stack)

    def _usable(
        self, stack: StackFile, index: NDArray[np.int64], entry: NDArray[np.int64], proof: Proof | None
    ) -> tuple[_Segment, list[Failures]]:
        """Check the file's sums once and each entry's own status; order the rest as on disk."""
        lost = []
        if len(index) and not stack.checksums:
            self._unsigned.add(str(stack.path))
        verdict = self._verdict(stack.path) if len(index) and proof is None else ""
        if proof is not None:
            proof.concern(index)
        if verdict:
            lost.append(failed(index, RowStatus.CORRUPT_CUTOUT, f"{stack.path.name}: {verdict}"))
            index, entry = index[:0], entry[:0]
        status = stack.status(entry)
        bad = np.flatnonzero(status)
        if len(bad):
            stated = stack.stated(entry[bad]).tolist()
            reasons = [meaning(value) if value else "the INDEX table points outside the file" for value in stated]
            lost.append(Failures(index[bad], status[bad], [f"{stack.path.name}: {reason}" for reason in reasons]))
        good = np.flatnonzero(status == 0)
        good = good[np.argsort(stack.cutout(entry[good]), kind="stable")]
        fresh = None if proof is None else proof.fresh(stack.cutout(entry[good]))
        return _Segment(stack, index[good], entry[good], proof, fresh), lost

    def _verdict(self, path: Path, proof: Proof | None = None) -> str:
        """What is wrong with the file's pixels, '' if nothing; found out at the first use only."""
        if path not in self._verdicts:
            try:
                stack = self._open(path)
                if proof is None:
                    stack.verify()
                else:
                    proof.conclude(stack)
                self._verdicts[path] = ""
            except (OSError, InputError) as error:  # of a read or an opening that failed, which may pass
                require_resources(path, error)
                return str(error)
            except DAMAGE as error:
                self._verdicts[path] = str(error)
        return self._verdicts[path]

    def _add(self, pending: _Pending, segment: _Segment, batch_size: int) -> Generator[_Pending, None, _Pending]:
        """Queue a segment, yield the batches that are full and return what is left."""
        layout = (segment.stack.shape, segment.stack.convention.bands)
        ended = layout != pending.layout or len(pending.segments) == OPEN_FILES
        if pending.size and len(segment.index) and ended:
            yield pending
            pending = _Pending()
        start = 0
        while start < len(segment.index):
            stop = min(len(segment.index), start + batch_size - pending.size)
            pending.layout = layout
            pending.segments.append(segment.part(start, stop))
            pending.size += stop - start
            start = stop
            if pending.size == batch_size:
                yield pending
                pending = _Pending()
        return pending

    def _fill(self, pending: _Pending | Failures) -> list[PixelBatch | Failures]:
        """Read a batch; done by several threads at once."""
        if isinstance(pending, Failures):
            return [pending]
        first, size = pending.segments[0].stack, pending.size
        batch = _empty_batch(self._buffers.empty((size, *first.shape)), first.convention.bands)
        low, high = (np.empty((size, first.shape[0]), np.float32) for _ in range(2))
        lost: list[PixelBatch | Failures] = []
        start = 0
        for segment in pending.segments:
            part = slice(start, start + len(segment.index))
            stack = segment.stack
            cutouts = stack.cutout(segment.entry)
            try:
                total = stack.read_into(cutouts, batch.pixels[part], low[part], high[part], segment.fresh)
            except DAMAGE as error:
                require_resources(stack.path, error)
                if segment.proof is not None:
                    segment.proof.forget(cutouts[segment.fresh])
                lost.append(failed(segment.index, RowStatus.CORRUPT_CUTOUT, f"{stack.path.name}: {error}"))
                continue
            if segment.proof is not None:
                segment.proof.add(total)
            start = part.stop
            batch.index[part] = segment.index
            batch.pixel_scale[part] = stack.pixel_scale(segment.entry)
            batch.center[part] = stack.center(segment.entry)
        return [*lost, *_judged(batch, low, high, start)] if start else lost


def _find_files(path: Path) -> dict[tuple[int, int], Path]:
    """Stack files by HEALPix order and pixel."""
    if path.is_file():
        return {_NOWHERE: path}
    places = {}
    for file in path.glob("Norder=*/Dir=*/Npix=*.fits"):
        match = _TILE.search(file.as_posix())
        if match:
            places[int(match[1]), int(match[2])] = file
    if not places:
        hint = "a folder of stacks holds Norder=k/Dir=d/Npix=p.fits"
        raise InputError(f"no stack files in {path}", hint if path.is_dir() else "check the path given with --cutouts")
    return places


def _name(folder: Path, path: Path) -> str:
    """Name of a file that does not depend on where the folder lies."""
    return path.relative_to(folder).as_posix() if path != folder else path.name


def _empty_batch(pixels: NDArray[np.float32], bands: tuple[str, ...]) -> PixelBatch:
    """A batch to be filled."""
    size, depth = pixels.shape[:2]
    return PixelBatch(
        np.empty(size, np.int64), pixels, bands, "flux", np.empty(size), np.empty((size, 2)),
        np.zeros(size, bool), np.zeros((size, depth), bool),
    )  # fmt: skip


def _judged(
    batch: PixelBatch, low: NDArray[np.float32], high: NDArray[np.float32], size: int
) -> Iterator[PixelBatch | Failures]:
    """Complete the batch of the first ``size`` cutouts and yield it without those that hold no signal."""
    if size < len(batch):
        batch = batch.take(np.arange(size))
    flat = batch.pixels.reshape(size, len(batch.bands), -1)
    batch.has_nan, batch.band_has_data = judge(flat, low[:size], high[:size])
    rest, constant = without_signal(batch)
    if constant is not None:
        yield constant
    if rest is not None and len(rest):
        yield rest


def _not_found(rows: NDArray[np.int64], damage: dict[int, str]) -> Iterator[Failures]:
    """Rows without cutout: those whose file is damaged are corrupt, the others missing."""
    missing = np.array([row for row in rows.tolist() if row not in damage], np.int64)
    if len(missing):
        yield failed(missing, RowStatus.MISSING_CUTOUT, "not in the stack")
    corrupt = [row for row in rows.tolist() if row in damage]
    if corrupt:
        status = np.full(len(corrupt), int(RowStatus.CORRUPT_CUTOUT), np.int32)
        yield Failures(np.array(corrupt, np.int64), status, [damage[row] for row in corrupt])
