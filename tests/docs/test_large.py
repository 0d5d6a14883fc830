"""The sums of the large survey on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fitsio
import pytest

from galcli.models import library
from tests.docs import large
from tests.docs.large import ROWS, SKY, hours, int8_speed, pixels, rate, row_bytes


def test_hours() -> None:
    assert hours(1, 1e9 / 3600) == pytest.approx(1)
    assert hours(20, 100) == pytest.approx(hours(1, 2000))


def test_rates_are_those_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rate("efficiency") < rate("rice") < rate("feed")
    assert 1 < int8_speed() in {m.value for twin in library.shipped("int8") for m in twin.card.metrics}
    table = "| feed | a goal, 7 images/s | 8 |\n## Results\n| feed | 0.9: 12,830 images/s, bare 9 images/s | >= 1 |\n"
    monkeypatch.setattr(large, "RESULTS", tmp_path / "README.md")
    large.RESULTS.write_text(table)
    assert rate("feed") == 12830 / large.MEASURED_CORES
    with pytest.raises(ValueError, match="tells no images/s of rice"):
        rate("rice")


@pytest.mark.parametrize("rows", [4096, 1_000_000])
def test_pixels_hold_what_they_may_and_are_no_smaller_than_need_be(rows: int) -> None:
    assert ROWS / pixels(rows) <= rows < 4 * ROWS / pixels(rows)
    assert pixels(rows) / (12 * SKY) in {4**order for order in range(30)}


def test_row_is_as_wide_as_a_table_of_the_sample(galcli: Callable[..., Any], tmp_path: Path) -> None:
    galcli("sample", tmp_path / "sample")
    galcli("predict", tmp_path / "sample/catalog.fits", "-o", tmp_path / "out.fits", "--limit", 8)
    catalog_row = 8  # a HATS catalogue has it, a table does not
    assert row_bytes() == fitsio.read_header(tmp_path / "out.fits", 1)["NAXIS1"] + catalog_row
