"""The plan of a run: identity, catalogue columns and tiles, on disk before any pixel is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tokenize
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli import __version__
from galcli.errors import InputError
from galcli.models import runtime
from galcli.models.session import Session
from galcli.predict import lease
from galcli.predict.engine import TILE_ROWS, Engine
from galcli.predict.identity import Identity, flatten, require_same
from galcli.predict.layout import HPX, ROW_NUMBER, Layout
from galcli.predict.options import PredictOptions
from galcli.predict.paths import RunPaths
from galcli.predict.record import START_ANEW, RunRecord, read_record, write_record
from galcli.predict.table import TableSpec, table_spec
from galcli.sky import healpix
from galcli.sky.catalog import Catalog
from galcli.sky.systems import HourCheck
from galcli.sky.tiles import Tile, make_tiles
from galcli.tables.atomic import atomic_write, output_error
from galcli.tables.columns import Column


@dataclass(frozen=True)
class Plan:
    """A run ready to be worked on, by any process.

    Attributes
    ----------
    paths : RunPaths
    table : TableSpec
        What the output table looks like.
    catalog : ndarray (n,), structured, memory map
        ``id``, ``ra``, ``dec``, ``hpx`` and the further columns, one row per catalogue row.
    rows : ndarray (n,), int64, memory map
        Catalogue rows ordered by tile.
    tiles : tuple of Tile
    """

    paths: RunPaths
    table: TableSpec
    catalog: NDArray[Any]
    rows: NDArray[np.int64]
    tiles: tuple[Tile, ...]


def write_catalog(
    catalog: Catalog, fields: tuple[str, ...], limit: int | None, path: Path, shown: Collection[str] = ()
) -> dict[str, Any]:
    """Copy ids, positions, pixels and further columns to a memory-mapped file, in chunks.

    Parameters
    ----------
    catalog : Catalog
    fields : tuple of str
        Catalogue columns beside id, ra, dec.
    limit : int or None
        First rows only.
    path : Path
        ``.npy`` file to write.
    shown : collection of str
        Fields that the table will hold.

    Returns
    -------
    dict
        ``rows``, ``sha256`` of all values used, and ``id``: what identifies the catalogue.

    Raises
    ------
    InputError
        If text that the table will hold is not printable ASCII, or right ascension is in hours.
    """
    n = catalog.nrows if limit is None else min(limit, catalog.nrows)
    source = catalog.dtype(fields)
    names = source.names or ()
    dtype = np.dtype([(HPX, np.dtype(np.int64)), *((name, source[name]) for name in names)])
    target = _new_array(path, n, dtype)
    sha = hashlib.sha256(repr([(name, source[name].str, source[name].shape) for name in names]).encode())
    start, hours = 0, HourCheck(catalog.parts)
    for chunk in catalog.chunks(fields, stop=n):
        hours.see(start, chunk["ra"], chunk["dec"])
        part = target[start : start + len(chunk)]
        for name in names:
            if name in shown and source[name].base.kind == "S":
                catalog.require_ascii(name, chunk[name], np.arange(start, start + len(chunk)))
            part[name] = chunk[name]
        part[HPX] = healpix.pixel(chunk["ra"], chunk["dec"], healpix.ORDER_MAX)
        sha.update(np.ascontiguousarray(chunk).tobytes())
        start += len(chunk)
    catalog.refuse_hours(hours)
    if isinstance(target, np.memmap):
        target.flush()
    return {"rows": n, "sha256": sha.hexdigest(), "id": catalog.id_name or "ROW"}


def _new_array(path: Path, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A new ``.npy`` file, mapped for writing; an empty one cannot be mapped."""
    if not n:
        np.save(path, np.empty(0, dtype))
        return np.empty(0, dtype)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n,))
    if hasattr(os, "posix_fallocate"):
        # A full disk is an error here; under the map it would kill the process.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def make_plan(options: PredictOptions, catalog: Catalog, engine: Engine, layout: Layout) -> Plan:
    """Plan a new run, or take up the run on disk if it is the same.

    The caller holds the lock of the run folder.

    Raises
    ------
    IdentityError
        If the folder holds a run made with other inputs or settings.
    OutputError
        If the plan cannot be written.
    """
    paths = RunPaths(options.out)
    try:
        if options.restart:
            _clear(paths)
        fields = tuple(dict.fromkeys([*(f for f in layout.copied.values() if f not in _BASE), *engine.needs]))
        stat = _stat(catalog) | {"fields": list(fields), "limit": options.limit}
        before = read_record(paths)
        if before is not None and before.catalog == stat:
            # The same file, untouched: its rows are in the plan already.
            identity = describe_identity(options, engine, layout, before.identity["catalog"])
            _require_same_run(paths, before, identity)
        else:
            _build(options, catalog, engine, layout, fields, stat, before)
    except OSError as error:
        raise output_error(paths.root, error) from error
    return load_plan(paths)


def _build(
    options: PredictOptions, catalog: Catalog, engine: Engine, layout: Layout, fields: tuple[str, ...],
    stat: dict[str, Any], before: RunRecord | None,
) -> None:  # fmt: skip
    """Read the catalogue; begin a new run with it, or make sure that the run on disk was made from the same rows."""
    paths = RunPaths(options.out)
    building = paths.plan.with_name(f"{paths.plan.name}.new-{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    try:
        rows = write_catalog(catalog, fields, options.limit, building / paths.catalog.name, layout.copied.values())
        identity = describe_identity(options, engine, layout, rows)
        if before is not None:
            _require_same_run(paths, before, identity)
            return
        hpx = _load(building / paths.catalog.name)[HPX]
        tiles = make_tiles(hpx, building / paths.rows.name, order=options.order, max_rows=TILE_ROWS)
        atomic_write(building / paths.tiles.name, json.dumps([dataclasses.astuple(tile) for tile in tiles]).encode())
        atomic_write(building / paths.table.name, table_spec(identity, engine, layout).to_json().encode())
        # Tiles whose run is unknown may be another run's, killed while it removed its folder.
        _clear(paths, kept=building)
        building.rename(paths.plan)
        write_record(paths, identity, options, stat)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _stat(catalog: Catalog) -> dict[str, Any]:
    """Whether the files are the same, untouched ones: cheaper than reading them again."""
    stats = [(str(path.resolve()), path.stat()) for path in catalog.files]
    files = json.dumps([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
    known = catalog.fingerprint() | {"files": hashlib.sha256(files.encode()).hexdigest()}
    return json.loads(json.dumps(known))  # type: ignore[no-any-return]


def was_to_be_kept(paths: RunPaths, fresh: bool) -> bool:
    """Whether whoever began the run on disk wanted its tiles kept; ``fresh``: that was this process."""
    record = None if fresh else read_record(paths)
    return record is not None and record.keep_tiles


def _require_same_run(paths: RunPaths, before: RunRecord, identity: Identity) -> None:
    require_same(
        flatten(before.identity), flatten(identity), f"the unfinished run {paths.root}",
        START_ANEW,
    )  # fmt: skip


_BASE = ("id", "ra", "dec", HPX, ROW_NUMBER)


def load_plan(paths: RunPaths) -> Plan:
    """Open the plan on disk.

    Raises
    ------
    InputError
        If there is no run in that folder.
    """
    try:
        tiles = tuple(Tile(*entry) for entry in json.loads(paths.tiles.read_text()))
        table = TableSpec.from_json(paths.table.read_text())
        return Plan(paths, table, _load(paths.catalog), _load(paths.rows), tiles)
    except FileNotFoundError as error:
        raise InputError(f"{paths.root} holds no run", "give the folder <output>.run of a `galcli predict`") from error
    except (KeyError, TypeError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(
            f"the plan in {paths.root} is damaged, or was written by another version of galcli",
            START_ANEW,
        ) from error


def describe_identity(options: PredictOptions, engine: Engine, layout: Layout, rows: dict[str, Any]) -> Identity:
    """Everything that determines the values of the table; ``rows`` describes the catalogue rows used."""
    overrides = {
        name: getattr(options, name)
        for name in ("bands", "zeropoint", "pixel_scale", "front")
        if getattr(options, name) is not None
    }
    columns = layout.columns + [column for runner in engine.runners for column in runner.columns]
    identity = {
        **describe_models(engine),
        "catalog": rows,
        "cutouts": engine.source.fingerprint(),
        "order": "auto" if options.order is None else options.order,
        "layout": options.layout,
        "columns": [column.name for column in columns],
        "copied": {column.name: _cards(column) for column in layout.columns if column.name in layout.copied},
        "overrides": overrides,
    }
    return json.loads(json.dumps(identity))  # type: ignore[no-any-return]


def describe_models(engine: Engine) -> Identity:
    """The part of the identity that every process which makes tiles must share: what computes them."""
    models = [
        {
            "name": runner.model.name,
            "version": runner.model.card.version,
            "sha256": runner.model.sha256,
            "front": runner.front_name,
            **({"columns": runner.wants.identity()} if runner.wants is not None else {}),
            **_arithmetic(engine, runner.session),
        }
        for runner in engine.all_runners()
    ]
    return {"galcli": __version__, "onnxruntime": runtime.version(), "models": models}


def _arithmetic(engine: Engine, session: Session) -> Identity:
    """On what, and in which precision, a model computes."""
    if engine.elsewhere is None:
        return session.identity()
    device, precision = engine.elsewhere
    return device.identity(precision or session.precision)


def _cards(column: Column) -> dict[str, Any]:
    """What the header says of a column that comes from the catalogue."""
    return {key: value for key, value in dataclasses.asdict(column).items() if value not in (None, "", ())}


def _clear(paths: RunPaths, kept: Path | None = None) -> None:
    """Remove everything of an earlier run but the locks that the caller holds; its record first."""
    paths.record.unlink(missing_ok=True)
    for item in paths.root.iterdir():
        if item in (paths.lock, paths.planning, kept) or item.suffix == lease.SUFFIX:
            continue
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()


def _load(path: Path) -> NDArray[Any]:
    """Memory-map an array, or read it if it is empty (which cannot be mapped)."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except ValueError:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
