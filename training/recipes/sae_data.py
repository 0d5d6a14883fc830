"""What sparse autoencoders learn from: cutouts as they look on several grids, of the mock survey or a real one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from galcli.errors import InputError, UsageError
from galcli.sky.catalog import Catalog, open_catalog
from galcli.training import data
from galcli.training.data import Batch, Looks, Stamps, split_by_seed
from galcli.training.mock.catalogue import MISSING
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.progress import say
from galcli.training.recipes.fronts import fronts
from galcli.training.recipes.sae_plan import GRID, LOOKS, Preset
from galcli.training.seeds import generator, mix
from galcli.training.sources import SHAPES, Choice, every, mock_stamps
from galcli.training.survey import USABLE, Reading, SurveyStamps
from galcli.training.views import views

#: Catalogue columns that concepts are compared with: metallicity, mass, class; the last one holds whole numbers.
PROBES = {"Z_GAS": "oh_p50", "LOGM": "lgm_tot_p50", "CLASS": "galaxy10"}
#: Fronts that mock galaxies are observed through.
SEEN_AS = ("flux:gri", "flux:grz")
#: Held-out galaxies looked at on the way.
GLANCE = 512
#: Objects of a held-out batch.
BATCH = 64


@dataclass(frozen=True)
class Source:
    """Where the galaxies come from.

    Attributes
    ----------
    cache : Path
        Folder in which stamps and inner maps are kept.
    seed : int
        Seed of the mock survey and of the split.
    objects : int or None
        Galaxies at most; None: as the preset or the survey has them.
    catalog, cutouts : Path or None
        Survey; None: the mock one.
    reading : Reading
        How the catalogue is read.
    """

    cache: Path
    seed: int
    objects: int | None = None
    catalog: Path | None = None
    cutouts: Path | str | None = None
    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        """Refuse words on how to read a survey that is not given.

        Raises
        ------
        UsageError
        """
        told = list(self.reading.told) + (["cutouts"] if self.cutouts is not None else [])
        if self.catalog is None and told:
            raise UsageError(f"{', '.join(told)} given without a catalogue", "name the survey with --catalog")

    @property
    def name(self) -> str | None:
        """File that the galaxies come from; None for the mock survey."""
        return None if self.catalog is None else self.catalog.name


@dataclass(frozen=True)
class Galaxies:
    """Galaxies with pixels.

    Attributes
    ----------
    stamps : Stamps
    rows, held : ndarray, int64
        Rows to learn from, and others.
    probes : dict of str to ndarray (N,), float32
        Those of `PROBES` that are known; NaN where there is no value.
    mock : bool
        Whether they are simulated.
    """

    stamps: Stamps
    rows: NDArray[np.int64]
    held: NDArray[np.int64]
    probes: dict[str, NDArray[np.float32]]
    mock: bool


def gather(
    plan: Preset, source: Source, grid: tuple[int, float] = GRID, shown: tuple[dict[str, Any], ...] | None = None
) -> Galaxies:
    """Galaxies of the survey given, or of the mock survey, with their split.

    Parameters
    ----------
    plan : Preset
    source : Source
    grid : (int, float)
        Pixels along a side, and arcsec per pixel.
    shown : tuple of dict, optional
        Fronts as a card lists them; by default those of `pixels.FRONTS`.

    Raises
    ------
    InputError
        If the survey cannot be used, or holds too few galaxies.
    """
    source.check()
    offered = fronts(FRONTS) if shown is None else list(shown)
    stamps, mock = _mock(plan, source, grid, offered) if source.catalog is None else _given(source, grid, offered)
    stamps = replace(stamps, model_scale=stamps.pixel_scale)  # pixels stay as they are
    usable = np.isfinite(stamps.labels[USABLE]) if USABLE in stamps.labels else np.ones(len(stamps), np.bool_)
    held = split_by_seed(len(stamps), source.seed)
    rows = np.flatnonzero(usable & ~held)
    least = 2 * BATCH
    if len(rows) < least:
        kept = np.count_nonzero(usable & held)
        raise InputError(f"{len(rows)} galaxies with pixels are left to learn from, beside {kept} held out: fewer than {least}",
                         "give more galaxies, or raise --objects")  # fmt: skip
    return Galaxies(stamps, rows, np.flatnonzero(usable & held), _probes(stamps.labels), mock)


def _mock(plan: Preset, source: Source, grid: tuple[int, float], offered: list[dict[str, Any]]) -> tuple[Stamps, bool]:
    names = tuple(front["name"] for front in offered)
    seen = tuple(name for name in names if name != DISPLAY)
    say("no survey given: mock galaxies are made")
    choice = Choice((*PROBES.values(), *SHAPES), every)
    n = source.objects or plan.objects
    return mock_stamps(source.cache, n, *grid, source.seed, seen, choice, say, names), True


def _given(source: Source, grid: tuple[int, float], offered: list[dict[str, Any]]) -> tuple[Stamps, bool]:
    how = source.reading
    assert source.catalog is not None
    with contextlib.closing(
        open_catalog(source.catalog, how.hdu, how.id_column, how.ra_column, how.dec_column)
    ) as known:
        every_row = np.ones(known.nrows, np.bool_)
        labels = {column: column for column in PROBES.values() if _has(known, column)}
    with SurveyStamps(source.catalog, source.cutouts, labels, lambda _: every_row, source.objects, how) as survey:
        return survey.stamps(source.cache, offered, *grid, say, "sae"), survey.catalog.mock


def _has(catalog: Catalog, column: str) -> bool:
    try:
        catalog.find(column)
    except InputError:
        return False
    return True


def _probes(labels: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Label columns with NaN for their sentinels."""
    found = {}
    for name, column in PROBES.items():
        if column in labels:
            values = labels[column]
            absent = (values < 0) if name == "CLASS" else (values <= MISSING)
            found[name] = np.where(absent, np.float32(np.nan), values)
    return found


@dataclass
class Cutouts:
    """Batches of images: one grid and field per step, as users' cutouts differ in theirs, all of them in turn.

    Attributes
    ----------
    feed : data.Feed
        Images as they are.
    """

    feed: data.Feed

    @classmethod
    def of(cls, galaxies: Galaxies, batch: int, seed: int) -> Cutouts:
        """Training images, a third of them as display images, in all symmetries of the square."""
        nothing = np.zeros((len(galaxies.stamps), 0), np.float32)
        return cls(data.Feed(galaxies.stamps, galaxies.rows, nothing, batch, seed, Looks()))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return self.feed.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on (seed, step) alone."""
        turn, place = divmod(step, len(LOOKS))
        order = torch.randperm(len(LOOKS), generator=generator(self.feed.seed, 3, turn))
        return seen(self.feed.batch(step), *LOOKS[int(order[place])])


def seen(batch: Batch, side: int, factor: int) -> Batch:
    """The central ``side`` x ``side`` px of each image, ``factor`` x ``factor`` px of them as one.

    Fluxes are summed, display images are averaged; a pixel with a part that has no data has none.
    """
    corner = (batch.pixels.shape[2] - side) // 2
    inner = slice(corner, corner + side)
    pixels, valid = batch.pixels[..., inner, inner], batch.valid[..., inner, inner]
    if factor > 1:
        shown = batch.front == FRONTS.index(DISPLAY)
        weight = torch.where(shown, 1.0, float(factor**2))[:, None, None, None]
        pixels = functional.avg_pool2d(pixels, factor) * weight
        valid = (functional.avg_pool2d(valid, factor) == 1).float()
        pixels = pixels * valid
    return replace(batch, pixels=pixels.contiguous(), valid=valid.contiguous())


def held_looks(galaxies: Galaxies, seed: int) -> Iterator[Batch]:
    """Some held-out galaxies through each of their fronts, in every look of the training."""
    for batch in held_images(galaxies, seed, whole=False):
        yield from (seen(batch, *look) for look in LOOKS)


def held_images(galaxies: Galaxies, seed: int, whole: bool = True) -> Iterator[Batch]:
    """Held-out galaxies through each of their fronts; ``rows`` of the batches are those of the stamps."""
    rows = galaxies.held if whole else galaxies.held[:GLANCE]
    nothing = np.zeros((len(galaxies.stamps), 0), np.float32)
    yield from views(galaxies.stamps, rows, nothing, mix(seed, 4), batch_size=BATCH)
