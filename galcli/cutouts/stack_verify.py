"""Whether stacks of cutouts are whole: checksums, bands, entries that point to cutouts, positions in their pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galcli.cutouts.header import NO_OVERRIDES
from galcli.cutouts.match import ARCSEC, IdIndex, SkyIndex
from galcli.cutouts.stack_file import DAMAGE, StackFile
from galcli.errors import InputError
from galcli.sky import healpix
from galcli.sky.catalog import Catalog
from galcli.tables.structure import check_file


@dataclass
class StackFacts:
    """What stacks hold and what is wrong with them.

    Attributes
    ----------
    objects : int
    ids, positions : list of ndarray
        Identifiers, and (RA, Dec) in degrees, of those with a cutout, file by file.
    problems, notes : list of str
    """

    objects: int = 0
    ids: list[NDArray[Any]] = field(default_factory=list)
    positions: list[NDArray[np.float64]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify_stack(path: Path, place: tuple[int, int] | None) -> StackFacts:
    """Check one stack file.

    Parameters
    ----------
    path : Path
    place : (int, int) or None
        Order and pixel in which its objects should lie.
    """
    facts = StackFacts(problems=check_file(path, summed=False))
    if facts.problems:
        return facts
    try:
        stack = StackFile(path, NO_OVERRIDES)
        facts.objects = len(stack)
        there = stack.inside(np.arange(len(stack)))
        facts.ids.append(stack.ids[there])
        facts.positions.append(np.stack(stack.position())[:, there])
        facts.problems += _entries(stack, place)
        if not stack.checksums:
            facts.notes.append("no checksums: damage can go unseen")
        stack.close()
    except InputError as error:
        facts.problems.append(error.message)
    except DAMAGE as error:
        facts.problems.append(str(error) or type(error).__name__)
    return facts


def _entries(stack: StackFile, place: tuple[int, int] | None) -> Iterator[str]:
    """The INDEX table against the cutouts and the sky."""
    entries = np.arange(len(stack))
    outside = np.count_nonzero(~stack.inside(entries) & (stack.stated(entries) == 0))
    if outside:
        yield f"{outside} entries of INDEX point outside the {stack.count} cutouts, and do not say why"
    used = entries[stack.inside(entries)]
    unused = stack.count - len(np.unique(stack.cutout(used)))
    if unused:
        yield f"{unused} of the {stack.count} cutouts belong to no entry of INDEX"
    side = np.array(stack.shape[:0:-1])  # width, height
    center = stack.center(used)
    if off := np.count_nonzero(((center < -0.5) | (center > side - 0.5)).any(axis=1)):
        yield f"{off} objects lie outside their cutouts"
    ra, dec = stack.position()
    if place is not None:
        order, pix = place
        # Objects without a position may lie in any file.
        astray = np.count_nonzero((healpix.pixel(ra, dec, order) != pix) & healpix.good(ra, dec))
        if astray:
            yield f"{astray} objects do not lie in the pixel that its path names"


def without_cutout(facts: list[StackFacts], catalog: Catalog, nrows: int) -> tuple[int, list[str]]:
    """How many of the first rows of a catalogue are in none of the stacks, and the identifiers of the first few of them.

    Raises
    ------
    GalcliError
        If the catalogue cannot be read, or the stacks name objects in different ways.
    """
    kinds = {ids.dtype.kind for one in facts for ids in one.ids}
    if len(kinds) > 1:
        raise InputError("identifiers are text in some stacks and numbers in others", "pack them again")
    listed = IdIndex(np.concatenate([ids for one in facts for ids in one.ids] or [np.empty(0, np.int64)]))
    sky = SkyIndex(*np.concatenate([place for one in facts for place in one.positions] or [np.empty((2, 0))], axis=1))
    count = 0
    first: list[str] = []
    for chunk in catalog.chunks(stop=nrows):
        # Row numbers are no names: objects of a catalogue without identifiers are known by their position.
        nameless = catalog.id_name is None
        entry = sky.find(chunk["ra"], chunk["dec"], ARCSEC) if nameless else listed.find(chunk["id"])
        lost = chunk["id"][entry < 0]
        count += len(lost)
        first += [name.decode() if isinstance(name, bytes) else str(name) for name in lost[: 5 - len(first)].tolist()]
    return count, first
