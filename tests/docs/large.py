"""A survey of 10^9 galaxies on paper: from rates that were measured to hours, bytes and files."""

from __future__ import annotations

import math
import re
from pathlib import Path

from galcli.models import library
from galcli.predict.leaves import LEAF_ROWS
from galcli.predict.plan import TILE_ROWS
from galcli.tables.columns import dictionary, from_output, status_column

ROWS = 1_000_000_000
#: Third of the sky, as the Legacy Surveys cover.
SKY = 1 / 3
#: What was measured, and on how many cores.
RESULTS, MEASURED_CORES = Path(__file__).parents[1] / "benchmarks/README.md", 2
#: Size of a Rice-compressed cutout over that of a plain one; median of the real ones in the Legacy Surveys' format.
RICE = 0.16
CUTOUT_BYTES = 3 * 144 * 144 * 4
CORES = (2, 64, 1024)


def rate(benchmark: str) -> float:
    """Cutouts of 144 pixels in three bands per second and core: the first such figure of a benchmark's results."""
    results = RESULTS.read_text(encoding="utf-8").partition("## Results")[2]
    found = re.search(rf"^\| {benchmark} \|[^|]*?\b([\d,]+) images/s", results, re.MULTILINE)
    if found is None:
        raise ValueError(f"{RESULTS} tells no images/s of {benchmark}")
    return float(found[1].replace(",", "")) / MEASURED_CORES


def int8_speed() -> float:
    """How many times as fast the slowest of the int8 twins is, from their cards."""
    metrics = [metric for twin in library.shipped("int8") for metric in twin.card.metrics]
    return min(metric.value for metric in metrics if metric.name == "speed over float32")


def hours(cores: int, rate: float) -> float:
    """Hours of all rows at so many cutouts per second and core."""
    return ROWS / (cores * rate) / 3600


def pixels(rows: int) -> int:
    """HEALPix pixels that the survey fills when each holds at most so many rows."""
    order = math.ceil(math.log(ROWS / (12 * SKY * rows), 4))
    return round(12 * SKY * 4**order)


def row_bytes() -> int:
    """Bytes of a row of the output: identifier, place, status, and what the default models of pixels say."""
    columns = [dictionary()[name] for name in ("RA", "DEC", "HPX", "STATUS", "CATALOG_ROW")]
    models = [model.card for model in library.default_models() if model.card.fronts]
    columns += [from_output(output) for card in models for output in card.outputs if output.group is None]
    columns += [status_column(card.prefix, card.name) for card in models]
    return 8 + sum(column.numpy.itemsize * math.prod(column.shape) for column in columns)


def times() -> list[tuple[str, ...]]:
    """Cores -> hours of one model at float32 and int8, and of getting the cutouts out of stacks."""
    network = rate("efficiency")
    rates = (network, int8_speed() * network, rate("feed"), rate("rice"))
    return [(f"{cores:,}", *(_short(hours(cores, one)) for one in rates)) for cores in CORES]


def sizes() -> list[tuple[str, str]]:
    """What lies on disk."""
    plan = ROWS * 5 * 8  # id, RA, Dec, HEALPix pixel, and the rows in the order of the tiles
    output = ROWS * row_bytes()
    return [
        ("cutouts in stacks, plain", _terabytes(ROWS * CUTOUT_BYTES)),
        ("cutouts in stacks, Rice", _terabytes(ROWS * CUTOUT_BYTES * RICE)),
        ("plan", _terabytes(plan)),
        ("finished tiles, until the end", f"{_terabytes(output)} in {pixels(TILE_ROWS):,} files"),
        (
            "output of all default models, Parquet, less what it compresses",
            f"{_terabytes(output)} in {pixels(LEAF_ROWS):,} files",
        ),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1g}"


def _terabytes(size: float) -> str:
    return f"{size / 1e12:,.3g} TB"
