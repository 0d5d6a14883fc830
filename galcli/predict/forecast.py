"""What a run will take, measured on its first cutouts before anything is written."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.batch import CutoutRequest, Failures
from galcli.cutouts.coadds import CoaddSource
from galcli.predict.engine import BASE_GB, TILE_ROWS, Engine, batches_gb, tile_gb
from galcli.predict.inputs import open_inputs
from galcli.predict.options import PredictOptions
from galcli.predict.plan import Plan, make_plan
from galcli.predict.sites import load_site
from galcli.predict.tile import null_columns
from galcli.progress import duration
from galcli.tables.columns import Column

#: Cutouts the rate is measured on, and batches where there are lanes, which take a few to be all at work.
PROBE, PROBE_BATCHES = 128, 8


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a run.

    Attributes
    ----------
    rows, bad_coordinates, tiles, largest_tile : int
    tiles_by_order : dict of int to int
    models : list of str
    cutouts : str
    probed : int
        Rows the rate was measured on.
    found : int or None
        How many of them had a cutout; None where no model takes pixels.
    where : str
        What the rate was measured on.
    rows_per_second, seconds : float
    memory_gb, output_mb : float
    """

    rows: int
    bad_coordinates: int
    tiles: int
    largest_tile: int
    tiles_by_order: dict[int, int]
    models: list[str]
    cutouts: str
    probed: int
    found: int | None
    where: str
    rows_per_second: float
    seconds: float
    memory_gb: float
    output_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """What people read."""
        orders = ", ".join(f"{count} of order {order}" for order, count in sorted(self.tiles_by_order.items()))
        lines = [
            f"{self.rows:,} rows in {self.tiles:,} tiles ({orders or 'none'}); the largest holds {self.largest_tile:,} rows",
            f"cutouts: {self.cutouts}",
            f"models: {', '.join(self.models)}",
            f"measured {self.where} on the first {self.probed} rows: {self.rows_per_second:,.0f} rows/s"
            + ("" if self.found is None else f"; {self.found} have a cutout"),
            f"expected: {duration(self.seconds)}, {self.memory_gb:.1f} GB of memory, {self.output_mb:,.1f} MB of output",
        ]
        if self.probed and self.found == 0:
            lines.append("note: none of these rows has a cutout; check --cutouts and --id-column")
        if self.bad_coordinates:
            lost = "" if self.found is None else " and get no prediction from pixels"
            lines.insert(1, f"{self.bad_coordinates:,} rows have bad coordinates{lost}")
        return lines


def forecast(options: PredictOptions) -> Forecast:
    """Plan in a temporary folder and measure the rate on the first rows.

    Raises
    ------
    GalcliError
        As `predict` would raise on the same inputs.
    """
    site = load_site(options)
    with (
        open_inputs(options, elsewhere=None if site is None else site.device) as (catalog, layout, engine),
        tempfile.TemporaryDirectory(prefix="galcli-plan-") as folder,
    ):
        plan = make_plan(dataclasses.replace(options, out=Path(folder) / "plan"), catalog, engine, layout)
        probed, found, rate, image_bytes = _measure(plan, engine)
        sizes = [tile.stop - tile.start for tile in plan.tiles]
        rows = len(plan.catalog)
        further = sum(len(h.data[h.columns[0].name]) * _row_bytes(h.columns) for h in plan.table.further_hdus())
        bad = sum(tile.stop - tile.start for tile in plan.tiles if tile.order < 0)
        orders = Counter(tile.order for tile in plan.tiles if tile.order >= 0)
    batch_gb = 0.0
    if engine.seeing:
        batch_gb = batches_gb(engine.source, engine.batch_size, len(engine.lanes), image_bytes / 1e9)
    images_gb = engine.source.kept_bytes / 1e9 if isinstance(engine.source, CoaddSource) else 0.0
    return Forecast(
        rows=rows, bad_coordinates=bad, tiles=len(sizes), largest_tile=max(sizes, default=0),
        tiles_by_order=dict(orders), models=[runner.model.name for runner in engine.all_runners()],
        cutouts=engine.source.describe(), probed=probed, found=found if engine.seeing else None, rows_per_second=rate,
        where="in one process" if site is None else "in one process on the CPU of this machine, not at the site",
        seconds=rows / rate if rate else 0.0, memory_gb=BASE_GB + images_gb + batch_gb
        + tile_gb(max(sizes, default=0), plan.table.columns),
        output_mb=(rows * _row_bytes(plan.table.columns) + further) / 1e6,
    )  # fmt: skip


def _row_bytes(columns: Iterable[Column]) -> int:
    return sum(column.row_bytes for column in columns)


def _measure(plan: Plan, engine: Engine) -> tuple[int, int, float, float]:
    """Read and predict the first rows, after a first batch of them for each lane: start-up does not count."""
    good = [tile for tile in plan.tiles if tile.order >= 0]
    most = PROBE_BATCHES * engine.batch_size if engine.lanes else PROBE
    most = most if engine.seeing else TILE_ROWS
    rows = np.concatenate([plan.rows[t.start : t.stop] for t in good[:most]] or [np.empty(0, np.int64)])[:most]
    if not rows.size:
        return 0, 0, 0.0, 0.0
    _predict(plan, engine, rows[: engine.batch_size * max(len(engine.lanes), 1)])
    began = time.perf_counter()
    found, image_bytes = _predict(plan, engine, rows)
    return len(rows), found, len(rows) / (time.perf_counter() - began), image_bytes


def _predict(plan: Plan, engine: Engine, rows: NDArray[np.int64]) -> tuple[int, float]:
    """How many of these rows have a cutout, and the bytes of the largest."""
    catalog = plan.catalog[rows]
    columns, table = {name: catalog[name] for name in engine.needs}, null_columns(plan.table.columns, len(rows))
    request = CutoutRequest(catalog["id"], catalog["ra"], catalog["dec"], rows.astype(np.int64), columns)
    found, image_bytes = 0, 0.0
    engine.predict_rows(request.row, columns, table)
    for item in engine.predict(request, table):
        if not isinstance(item, Failures):
            found += len(item)
            image_bytes = max(image_bytes, item.pixels.nbytes / len(item))
    return found, image_bytes
