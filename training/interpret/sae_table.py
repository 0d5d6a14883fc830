"""The table of concepts: one row each, with how it is used and with what it goes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.tables.columns import Column
from galcli.tables.fits import TableHDU
from galcli.training.interpret.sae_numbers import SHUFFLES, USED, Correlations, Matches, Places, Usage

NAME = "CONCEPTS"


def concept_hdu(
    usage: Usage, places: Places, found: Correlations, matches: Matches | None, header: list[tuple[str, Any, str]]
) -> TableHDU:  # fmt: skip
    """Everything that was measured of every concept, dead ones included.

    Parameters
    ----------
    usage : Usage
    places : Places
    found : Correlations
    matches : Matches or None
        None: there is nothing to match with.
    header : list of (str, object, str)
        Further cards.
    """
    columns: list[Column] = []
    data: dict[str, NDArray[Any]] = {}

    def add(name: str, values: NDArray[Any], description: str, dtype: str = "f4", **more: Any) -> None:
        columns.append(Column(name, dtype, description=description, **more))
        data[name] = values.astype(np.dtype(dtype))

    concepts = len(usage.active)
    add("CONCEPT", np.arange(concepts), "number, as in SAE_IDX", "i4", ucd="meta.id")
    add("ACTIVE", usage.active, "part of the galaxies in which it is active")
    add("USED", usage.used, f"part of the galaxies that use it: it holds more than {USED:.0%} of their energy")
    add("STRENGTH", usage.strength, "mean root mean square of its map where it is active")
    add("SHARE", usage.share, "mean part of a galaxy's energy")
    add("OFFSET", places.offset, "mean distance of its centroid from the object", unit="arcsec", ucd="pos.angDistance")
    add("SIZE", places.size, "mean SAE_SIZE", unit="arcsec", ucd="phys.angSize")
    if matches is not None:
        add(
            "SFNET_FEATURE",
            matches.feature,
            "feature of SFNet whose activation goes with it most; -1: none",
            "i4",
            null=-1,
        )
        add("SFNET_R", matches.best, "correlation with that feature")
        add("SFNET_NULL", matches.null, f"largest correlation of any feature in {SHUFFLES} shuffles of the galaxies")
    for place, name in enumerate(found.names):
        short = re.sub(r"\W", "_", name)
        of = f"with {name}, {found.objects[place]} galaxies"
        add(f"R_{short}", found.pearson[:, place], f"Pearson's correlation {of}")
        add(f"RHO_{short}", found.spearman[:, place], f"Spearman's rank correlation {of}")
        add(f"P_{short}", found.chance[:, place], f"chance that {name} goes with it as well, all tries counted")
    return TableHDU(NAME, columns, data, list(header))
