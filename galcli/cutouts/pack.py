"""Cutouts of any source into stacks by HEALPix tile: read once from many files, then many times from few."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import interrupts
from galcli.cutouts.batch import CutoutRequest, CutoutSource, Failures
from galcli.cutouts.fit import fit
from galcli.cutouts.problem_list import ProblemList
from galcli.cutouts.stack_write import Compression, write_stack
from galcli.errors import IdentityError, InputError, TooManyFailures
from galcli.progress import Progress
from galcli.sky import healpix
from galcli.sky.catalog import Catalog
from galcli.sky.rows import open_table
from galcli.sky.tiles import MAX_ROWS, Tile, make_tiles
from galcli.tables.atomic import atomic_write, clear_partial, output_error
from galcli.tables.status import meaning
from galcli.tables.structure import is_whole

#: Files in the folder beside the tiles.
SETTINGS, PROBLEMS = "stacks.json", "problems.csv"

#: Bytes of pixels in a stack at most, so that one fits into memory.
_STACK_BYTES = 1 << 28
#: Cutouts whose size is looked at before the first stack, and cutouts read together.
_PROBED, _TOGETHER = 64, 32
#: Steps per sigma of the noise in Rice-compressed stacks.
_QUANTIZE = 4.0


@dataclass
class Tally:
    """What came of packing.

    Attributes
    ----------
    rows, packed, failed, cropped : int
        Rows of the catalogue; those with a cutout in a stack; those without; those whose cutout was larger.
    size : tuple of int
        (h, w) of the cutouts in the stacks, pixels.
    reasons : Counter
        How often each reason for a failure occurred.
    """

    rows: int
    size: tuple[int, int]
    packed: int = 0
    failed: int = 0
    cropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def require_cutouts(self, max_fail: float, folder: Path) -> None:
        """Raise `TooManyFailures` where more than ``max_fail`` percent of the rows have no cutout."""
        percent = 100 * self.failed / max(1, self.rows)
        if percent > max_fail:
            raise TooManyFailures(
                f"{self.failed:,} of {self.rows:,} rows ({percent:.3g} %) have no cutout, --max-fail allows {max_fail:g} %",
                f"the stacks are written; {folder / PROBLEMS} says why",
            )


def pack(
    catalog: Catalog, source: CutoutSource, folder: Path, progress: Progress, *,
    size: int | None = None, compress: Compression | None = None, limit: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Tally:  # fmt: skip
    """Write the cutouts of a catalogue as stacks ``Norder=k/Dir=d/Npix=p.fits``; the same call goes on with the rest.

    Parameters
    ----------
    catalog : Catalog
        With coordinates.
    source : CutoutSource
        Of flux.
    folder : Path
        Gets the stacks, ``stacks.json`` and, where rows fail, ``problems.csv``.
    progress : Progress
    size : int, optional
        Side of the cutouts in pixels; by default the largest among the first ones.
    compress : 'rice', 'lossless' or None
    limit : int, optional
        Only the first rows.
    overrides : mapping, optional
        What the user said of the cutouts; an unfinished folder is gone on with only if it is said again.

    Returns
    -------
    Tally

    Raises
    ------
    InputError
        If the source holds no flux, or the folder holds something else.
    OutputError
        If a stack cannot be written.
    """
    if source.kind != "flux":
        raise InputError(
            f"{source.describe()}: JPEG and PNG images hold no flux", "stacks are made from FITS cutouts or images"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stray in folder.glob(".plan-*"):  # of a killed run
            shutil.rmtree(stray)
        for name in (SETTINGS, PROBLEMS):
            clear_partial(folder / name)
        with tempfile.TemporaryDirectory(prefix=".plan-", dir=folder) as scratch:
            rows, hpx, mark = _places(catalog, source.needs, Path(scratch), limit)
            shape = _shape(catalog, source, rows, size)
            tally = Tally(rows, shape)
            _prepare(folder, source, mark, shape, compress, dict(overrides or {}))
            most = max(1, min(MAX_ROWS, _STACK_BYTES // (4 * len(source.bands) * shape[0] * shape[1])))
            tiles = make_tiles(hpx, Path(scratch) / "rows.npy", max_rows=most)
            order = np.load(Path(scratch) / "rows.npy", mmap_mode="r") if rows else np.empty(0, np.int64)
            progress.start(rows, 0)
            with ProblemList(folder / PROBLEMS) as problems:
                packer = _Packer(catalog, source, folder, compress, tally, problems)
                for _, parts in itertools.groupby(tiles, key=lambda tile: (tile.order, tile.pix)):
                    members = list(parts)
                    packer.make(members[0], np.array(order[members[0].start : members[-1].stop], np.int64))
                    progress.advance(sum(map(len, members)))
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        progress.finish()
    return tally


class _Packer:
    """Makes one stack after the other."""

    def __init__(
        self, catalog: Catalog, source: CutoutSource, folder: Path, compress: Compression | None, tally: Tally,
        problems: ProblemList,
    ) -> None:  # fmt: skip
        self._catalog, self._source, self._folder, self._compress = catalog, source, folder, compress
        self._tally, self._problems = tally, problems

    def make(self, tile: Tile, rows: NDArray[np.int64]) -> None:
        """The stack of a tile, unless it is there and whole."""
        interrupts.check()
        request = _request(self._catalog, rows, self._source.needs)
        if tile.order < 0:
            for at in range(len(rows)):
                self._fail(request, at, "RA or Dec is missing, not finite or out of range")
            self._problems.flush()
            return
        path = self._folder / tile.path
        if is_whole(path):
            self._recount(path, request)
        else:
            clear_partial(path)
            self._write(path, request)
        self._problems.flush()

    def _write(self, path: Path, request: CutoutRequest) -> None:
        height, width = self._tally.size
        n = len(request)
        pixels = np.empty((n, len(self._source.bands), height, width), np.float32)
        center, scale = np.full((n, 2), np.nan), np.full(n, np.nan)
        status, reasons = np.zeros(n, np.int32), [""] * n
        for item in self._source.read(request, _TOGETHER):
            interrupts.check()
            if isinstance(item, Failures):
                status[item.index] = item.status
                for at, reason in zip(item.index.tolist(), item.reason, strict=True):
                    reasons[at] = reason
                continue
            larger = item.pixels.shape[2] > height or item.pixels.shape[3] > width
            self._tally.cropped += len(item) if larger else 0
            scale[item.index] = item.pixel_scale
            for k, at in enumerate(item.index.tolist()):
                place = (float(item.center[k, 0]), float(item.center[k, 1]))
                pixels[at], center[at] = fit(item.pixels[k], place, (height, width))
        good = np.flatnonzero(status == 0)
        row = np.full(n, -1, np.int64)
        row[good] = np.arange(len(good))
        for at in np.flatnonzero(status).tolist():
            self._fail(request, at, reasons[at])
        write_stack(
            path, request.id, request.ra, request.dec, pixels[good], self._source.bands, scale, self._source.survey,
            compress=self._compress if len(good) else None, quantize=_QUANTIZE, status=status, rows=row, center=center,
            id_name=self._catalog.id_name or "CATALOG_ROW",
        )  # fmt: skip
        self._tally.packed += len(good)

    def _recount(self, path: Path, request: CutoutRequest) -> None:
        """Count what a finished stack holds."""
        index = open_table(path, "INDEX")
        try:
            status = index.read(0, index.nrows, ["STATUS"])["STATUS"]
        finally:
            index.close()
        failed = np.flatnonzero(status)
        reasons = self._reasons(request.take(failed)) if len(failed) else {}
        for k, at in enumerate(failed.tolist()):
            self._fail(request, at, reasons.get(k, meaning(int(status[at]))))
        self._tally.packed += int(np.count_nonzero(status == 0))

    def _reasons(self, request: CutoutRequest) -> dict[int, str]:
        """Why rows have no cutout: stacks hold their status only, but the source says it again."""
        said = [item for item in self._source.read(request, _TOGETHER) if isinstance(item, Failures)]
        return {at: reason for item in said for at, reason in zip(item.index.tolist(), item.reason, strict=True)}

    def _fail(self, request: CutoutRequest, at: int, reason: str) -> None:
        identifier = request.id[at].item()
        self._tally.failed += 1
        self._tally.reasons[reason] += 1
        self._problems.add(
            int(request.row[at]),
            identifier.decode("ascii") if isinstance(identifier, bytes) else str(identifier),
            reason,
        )


def _places(
    catalog: Catalog, needs: tuple[str, ...], scratch: Path, limit: int | None
) -> tuple[int, NDArray[np.int64], str]:
    """Number of rows, the order-29 pixel of each, and a SHA-256 of identifiers, positions and what the source needs."""
    rows = catalog.nrows if limit is None else min(limit, catalog.nrows)
    file = scratch / "hpx"
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for chunk in catalog.chunks(needs, stop=rows):
            digest.update(np.ascontiguousarray(chunk).tobytes())
            out.write(healpix.pixel(chunk["ra"], chunk["dec"], healpix.ORDER_MAX).astype(np.int64).tobytes())
    pixels = np.memmap(file, np.int64, "r") if rows else np.empty(0, np.int64)
    return rows, pixels, digest.hexdigest()


def _request(catalog: Catalog, rows: NDArray[np.int64], needs: tuple[str, ...]) -> CutoutRequest:
    part = catalog.read(rows, needs)
    return CutoutRequest(part["id"], part["ra"], part["dec"], rows, {name: part[name] for name in needs})


def _shape(catalog: Catalog, source: CutoutSource, rows: int, size: int | None) -> tuple[int, int]:
    """Size of the cutouts in the stacks."""
    if size is not None:
        return size, size
    sizes = list(_first_sizes(catalog, source, rows))
    if not sizes:
        raise InputError(f"no row has a cutout in {source.describe()}", "check --cutouts and --id-column")
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def _first_sizes(catalog: Catalog, source: CutoutSource, rows: int) -> Iterator[tuple[int, int]]:
    """Sizes of the first cutouts, as soon as there are any."""
    for start in range(0, rows, _PROBED):
        request = _request(catalog, np.arange(start, min(start + _PROBED, rows), dtype=np.int64), source.needs)
        found = [
            (batch.pixels.shape[2], batch.pixels.shape[3])
            for batch in source.read(request, _TOGETHER)
            if not isinstance(batch, Failures)
        ]
        if found:
            yield from found
            return


def _prepare(
    folder: Path, source: CutoutSource, mark: str, shape: tuple[int, int], compress: Compression | None,
    overrides: dict[str, Any],
) -> None:  # fmt: skip
    """Refuse a folder with other things in it, or with stacks of something else."""
    settings: dict[str, Any] = {
        "catalog": mark, "cutouts": source.fingerprint(), "bands": list(source.bands), "size": list(shape),
        "compression": compress or "none", "overrides": json.loads(json.dumps(overrides)),
    }  # fmt: skip
    path = folder / SETTINGS
    if not path.exists():
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise InputError(f"{folder} holds files that are no stacks of this kind", "choose a new folder with -o")
        atomic_write(path, json.dumps(settings, indent=1).encode() + b"\n")
        return
    try:
        before = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}", "choose a new folder with -o") from error
    changed = [key for key, value in settings.items() if before.get(key) != value]
    if changed:
        raise IdentityError(
            f"{folder} holds stacks of something else: {', '.join(changed)} differ", "choose another folder with -o"
        )
