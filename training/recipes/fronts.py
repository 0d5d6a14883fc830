"""The fronts of models that see three bands or display images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from galcli.cutouts.batch import DISPLAY_BANDS
from galcli.training.pixels import DISPLAY, FRONTS, VIEWERS
from galcli.training.recipes.sample import Sample

#: Surveys whose cutouts a front is made for.
_SURVEYS = {"flux:gri": ("sdss",), "flux:grz": ("legacy", "decals", "ls-dr", "des")}


def fronts(names: Sequence[str]) -> list[dict[str, Any]]:
    """Fronts of the card, in the order of the graph's ``front`` input."""
    bands = {name: viewer.bands for name, viewer in VIEWERS.items()} | {DISPLAY: DISPLAY_BANDS}
    return [{"name": name, "bands": bands[name], "surveys": _SURVEYS.get(name, ())} for name in names]


def fronts_of(sample: Sample, display: float) -> tuple[str, ...]:
    """Fronts that training galaxies are seen through, of which that part is shown as display images."""
    each = [stamps.front[sample.rows(stage, held=False)] for stage, stamps in enumerate(sample.stamps)]
    seen = {FRONTS[number] for number in np.unique(np.concatenate(each))} if display < 1 else {DISPLAY}
    return tuple(name for name in FRONTS if name in seen or (name == DISPLAY and display > 0))
