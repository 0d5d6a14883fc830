"""Blocks of rows: of one size on every device, every row in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galcli.models.devices import Device
from galcli.predict.rowwise import BLOCK, GPU_BLOCK, Rowwise


class Recorder:
    """Stands for a session: notes how many rows each call has, and doubles them."""

    def __init__(self, kind: str) -> None:
        self.device, self.sizes = Device(kind), list[int]()

    def run(self, feeds: dict[str, Any], tensors: list[str]) -> dict[str, Any]:
        self.sizes.append(len(feeds["columns"]))
        return dict.fromkeys(tensors, 2 * feeds["columns"])


@pytest.mark.parametrize(("kind", "size"), [("cpu", BLOCK), ("cuda", GPU_BLOCK)])
@pytest.mark.parametrize("numbers", [[7], [3, 2, 9, 11, 15], range(1, 10_000, 3)], ids=len)
def test_blocks_have_one_size_and_keep_the_order(kind: str, size: int, numbers: Any) -> None:
    session, rows = Recorder(kind), np.array(numbers)
    columns = np.random.default_rng(0).normal(size=(len(rows), 3)).astype(np.float32)
    said = Rowwise(session).run_blocks({"columns": columns}, rows, ["y"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(said["y"], 2 * columns)
    assert set(session.sizes) == {size}
    assert len(session.sizes) <= len(rows) // (size // 4) + 1, "no block is a quarter full, but for the last"
