"""No cutouts: for models that take nothing but catalogue columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from galcli.cutouts.batch import CutoutRequest, Failures, Kind, PixelBatch


class NoCutouts:
    """A source without cutouts, which no model of pixels can work on; see ``CutoutSource``."""

    kind: Kind = "flux"
    bands: tuple[str, ...] = ()
    survey = ""
    field = math.nan
    needs: tuple[str, ...] = ()
    side = 0
    all_python = False

    def fingerprint(self) -> dict[str, Any]:
        """That there are none."""
        return {"source": "none"}

    def describe(self) -> str:
        """One line for people."""
        return "none"

    def read(self, request: CutoutRequest, batch_size: int) -> Iterator[PixelBatch | Failures]:
        """Yield nothing: nobody looked for the rows' cutouts, so none is missing."""
        del request, batch_size
        return iter(())

    def rows_ahead(self, batch_size: int) -> int:
        """No rows."""
        del batch_size
        return 0

    def counters(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def files(self) -> dict[str, frozenset[str]]:
        """Nothing."""
        return {}
