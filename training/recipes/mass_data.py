"""Galaxies that networks for stellar mass learn from: catalogue columns, images where wanted, and the mass."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galcli.errors import InputError, UsageError
from galcli.models.units import Mismatch, factor_between
from galcli.sky.catalog import Catalog, open_catalog
from galcli.training import data
from galcli.training.data import SPLIT_ORDER, Batch, Looks, Stamps, split_by_seed, split_by_tile
from galcli.training.progress import say
from galcli.training.recipes import mass_card
from galcli.training.recipes.mass_columns import KNOWN, bind, read_columns
from galcli.training.recipes.mass_plan import FRONT, GAPS, GRID, MASSES, NONE_FROM, TARGET, Inputs
from galcli.training.seeds import generator
from galcli.training.sources import Choice, every, mock_labels, mock_stamps
from galcli.training.survey import USABLE, Reading, SurveyStamps, read_labels

Singles = NDArray[np.float32]
_GAPS_SEED = 5
#: Where a galaxy is: learned from, looked at on the way, or kept for the figures; `UNUSED`: no mass, or no pixels.
TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
#: HEALPix order of a galaxy's place (1.6 arcsec), and how often a catalogue lists a galaxy at most: what is there more
#: often has no place of its own.
_PLACE_ORDER, _REPEATS = 17, 10


@dataclass(frozen=True)
class Source:
    """Where the galaxies come from.

    Attributes
    ----------
    cache : Path
        Folder in which stamps are kept.
    seed : int
        Seed of the mock survey; of a catalogue, by which some of its rows are drawn.
    objects : int or None
        Galaxies at most, of a catalogue any of its rows; None: as the preset or the catalogue has them.
    catalog, cutouts : Path or None
        A real survey; the mock survey without a catalogue.
    target : str
        Column of log10 stellar masses.
    mapped : tuple of (str, str)
        Names of other columns, and the catalogue columns that they are.
    reading : Reading
        How the survey is read.
    """

    cache: Path
    seed: int
    objects: int | None = None
    catalog: Path | None = None
    cutouts: Path | str | None = None
    target: str = TARGET
    mapped: tuple[tuple[str, str], ...] = ()
    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        """Refuse words on how to read a survey that is not given.

        Raises
        ------
        UsageError
        """
        told = list(self.reading.told)
        told += [name for name, value in (("cutouts", self.cutouts), ("map", self.mapped)) if value]
        told += ["target"] if self.target != TARGET else []
        if self.catalog is None and told:
            raise UsageError(f"{', '.join(told)} given without a catalogue", "name the survey with --catalog")


@dataclass(frozen=True)
class Galaxies:
    """Galaxies with their columns, and images where wanted.

    Attributes
    ----------
    columns : dict of str to ndarray (N,), float32
        NaN where there is no value.
    target : ndarray (N,), float32
        log10 of the stellar mass [Msun]; NaN where unknown.
    part : ndarray (N,), int8
        `TRAIN`, `VALIDATION`, `TEST` or `UNUSED`.
    stamps : Stamps or None
        In the five bands of `mass_plan.BANDS`.
    mock : bool
        Whether they are simulated.
    name : str
        What the sample is called.
    """

    columns: dict[str, Singles]
    target: Singles
    part: NDArray[np.int8]
    stamps: Stamps | None
    mock: bool
    name: str

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, part: int) -> NDArray[np.int64]:
        """Rows of a part."""
        return np.flatnonzero(self.part == part)

    def matrix(self, names: tuple[str, ...]) -> Singles:
        """Columns (N, K) in an order."""
        return np.stack([self.columns[name] for name in names], 1)

    def complete(self, names: tuple[str, ...]) -> Galaxies:
        """The same, rows that lack a value unused."""
        lacking = ~np.isfinite(self.matrix(names)).all(1)
        return replace(self, part=np.where(lacking, np.int8(UNUSED), self.part))

    def without(self, names: tuple[str, ...], gone: NDArray[np.bool_]) -> Galaxies:
        """The same, values (N, K) of some columns taken away."""
        lacking = {name: np.where(gone[:, place], np.float32(np.nan), self.columns[name])
                   for place, name in enumerate(names)}  # fmt: skip
        return replace(self, columns=self.columns | lacking)

    def digest(self, names: tuple[str, ...]) -> str:
        """What they teach: other values of the same size must not go on with a training."""
        digest = hashlib.sha256(self.part.tobytes())
        for values in (self.target, *(self.columns[name] for name in names)):
            digest.update(np.nan_to_num(values, nan=-1.0).tobytes())
        return digest.hexdigest()[:16]


def gather(inputs: Inputs, objects: int, source: Source, split: str = "seed") -> Galaxies:
    """Galaxies of the survey given, or of the mock survey.

    Parameters
    ----------
    inputs : Inputs
        What must be known of them.
    objects : int
        Of the mock survey, where the source does not say.
    source : Source
    split : 'seed' or 'tile'
        Held out are galaxies at random, or whole HEALPix tiles, of which some are validated with and others tested.

    Raises
    ------
    InputError
        If the survey cannot be used.
    """
    source.check()
    if source.catalog is None:
        return _mock(inputs, source.objects or objects, source, split)
    return _given(inputs, source, split)


def _mock(inputs: Inputs, n: int, source: Source, split: str) -> Galaxies:
    choice, stamps = Choice(KNOWN, every), None  # always the same columns, so that stamps are made once
    if inputs.images:
        stamps = mock_stamps(source.cache, n, *GRID, source.seed, (FRONT,), choice, say, (FRONT,))
        assert stamps.healpix is not None
        columns, healpix = stamps.labels, stamps.healpix
        stamps = replace(stamps, model_scale=GRID[1])
    else:
        columns, healpix = mock_labels(n, source.seed, choice)
    columns = dict(columns)
    mass = columns.pop(TARGET)
    return _parted(columns, mass, stamps, healpix, split, TARGET, mock=True, name="mock survey")


def _given(inputs: Inputs, source: Source, split: str) -> Galaxies:
    path, how, target = source.catalog, source.reading, {TARGET: source.target}
    assert path is not None
    with contextlib.closing(open_catalog(path, how.hdu, how.id_column, how.ra_column, how.dec_column)) as catalog:
        rows, bound = _drawn(catalog.nrows, source), bind(catalog, inputs.needed, source.mapped)
        if changes := bound.changes():
            say(f"columns: {', '.join(changes)}")
        columns = read_columns(catalog, bound, rows)
        labels, healpix = read_labels(catalog, target, "--target", rows)
        _require_logarithms(catalog, source.target)
        mass = labels[TARGET]
        mock = catalog.mock
    if not inputs.images:
        return _parted(columns, mass, None, healpix, split, source.target, mock, path.name)

    def chosen(of_all: dict[str, Singles]) -> NDArray[np.bool_]:
        """The same rows, so that stamps and columns stand side by side."""
        every_row = np.arange(len(of_all[TARGET]))
        return np.isin(every_row, every_row if rows is None else rows)

    with SurveyStamps(path, source.cutouts, target, chosen, None, how, "--target") as survey:
        stamps = survey.stamps(source.cache, [mass_card.front()], *GRID, say, "mass")
    mass = np.where(np.isfinite(stamps.labels[USABLE]), mass, np.float32(np.nan))
    stamps = replace(stamps, model_scale=GRID[1])
    return _parted(columns, mass, stamps, healpix, split, source.target, mock, path.name)


def _require_logarithms(catalog: Catalog, target: str) -> None:
    """Refuse masses in a unit that says that they are no logarithms."""
    unit = catalog.column_meta(catalog.find(target)).unit
    try:
        factor_between(unit, "dex")
    except Mismatch as error:
        raise InputError(
            f"{catalog.where}: column {target} is in {unit}, but masses are learned as log10 of solar masses",
            "name another column with --target, or correct the unit in the catalogue",
        ) from error


def _drawn(count: int, source: Source) -> NDArray[np.int64] | None:
    """Rows of a catalogue in ascending order, drawn by the seed where there are more than are asked for; None: all.

    The first ones would be those of some plates, or of the nearest galaxies.
    """
    if source.objects is None or source.objects >= count:
        return None
    return np.sort(np.random.default_rng(source.seed).choice(count, source.objects, replace=False))


def _parted(
    columns: dict[str, Singles], mass: Singles, stamps: Stamps | None, healpix: NDArray[np.int64], split: str,
    target: str, mock: bool, name: str,
) -> Galaxies:  # fmt: skip
    """The split: a fifth is held out, one half of it for the figures."""
    mass = np.where(np.abs(mass) < NONE_FROM, mass, np.float32(np.nan))
    usable = (mass > MASSES[0]) & (mass < MASSES[1])
    part, rows = np.full(len(mass), UNUSED, np.int8), np.flatnonzero(usable)
    if not len(rows):
        raise InputError(f"no galaxy of {name} has a mass in {target} between {MASSES[0]:g} and {MASSES[1]:g}",
                         "name the column of log10 masses with --target")  # fmt: skip
    if len(rows) < len(mass):
        none = f"{len(mass) - len(rows):,} of {len(mass):,} galaxies"
        say(f"{none} have no mass in {target} between {MASSES[0]:g} and {MASSES[1]:g}")
    held = rows[split_by_seed(len(rows)) if split == "seed" else split_by_tile(healpix[rows])]
    part[rows] = TRAIN
    part[held] = VALIDATION
    if split == "seed":
        part[np.random.default_rng(0).permutation(held)[: len(held) // 2]] = TEST
    else:
        part[held[_half_of_the_tiles(healpix[held], name)]] = TEST
    if not mock:
        part[rows] = _one_part_each(part[rows], healpix[rows])
    return Galaxies(columns, mass, part, stamps, mock, name)


def _one_part_each(part: NDArray[np.int8], healpix: NDArray[np.int64]) -> NDArray[np.int8]:
    """The same, but for galaxies that a catalogue lists several times: all of them are where the first one is.

    Those are galaxies in one HEALPix pixel of `_PLACE_ORDER`: equal positions always, others nearly so if no edge of a pixel
    runs between them.
    """
    place = np.where(healpix < 0, -1 - np.arange(len(healpix)), healpix >> (2 * (29 - _PLACE_ORDER)))
    _, first, of, count = np.unique(place, return_index=True, return_inverse=True, return_counts=True)
    return np.where(count[of] <= _REPEATS, part[first[of]], part)


def _half_of_the_tiles(healpix: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    """Which galaxies lie in tiles, taken in any order, that hold about half of them."""
    tiles, of, count = np.unique(healpix >> (2 * (29 - SPLIT_ORDER)), return_inverse=True, return_counts=True)
    if len(tiles) < 2:
        raise InputError(f"the galaxies of {name} that are held out lie in one HEALPix tile of order {SPLIT_ORDER}",
                         "give galaxies of more of the sky, or hold some out at random (--split seed)")  # fmt: skip
    order = np.random.default_rng(0).permutation(len(tiles))
    before = np.cumsum(count[order]) - count[order]
    taken = order[(before < len(healpix) / 2) & (np.arange(len(tiles)) < len(tiles) - 1)]
    return np.isin(of, taken)


@dataclass
class MassBatch(Batch):
    """A batch with catalogue columns.

    Attributes
    ----------
    columns : Tensor (N, K), float32
        NaN is a missing value.
    """

    columns: Tensor


@dataclass
class MassFeed:
    """Training batches.

    Attributes
    ----------
    galaxies : Galaxies
    names : tuple of str
        Columns, in the order of the batches.
    rows : ndarray (n,), int64
        Galaxies to learn from.
    batch_size : int
    seed : int
    blank : float
        As in ``mass_plan.Preset``.
    """

    galaxies: Galaxies
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    batch_size: int
    seed: int
    blank: float = 0.0

    def __post_init__(self) -> None:
        self._matrix = torch.from_numpy(self.galaxies.matrix(self.names))
        self._target = self.galaxies.target[:, None]
        stamps = self.galaxies.stamps
        self._images = None
        if stamps is not None:
            looks = Looks(1.0, display=0.0)
            self._images = data.Feed(stamps, self.rows, self._target, self.batch_size, self.seed, looks)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return len(self.rows) // self.batch_size

    def batch(self, step: int) -> MassBatch:
        """The batch of a step; depends on (seed, step) alone."""
        plain = self._images.batch(step) if self._images is not None else self._without_images(step)
        columns = self._matrix[plain.rows]
        if self.blank:
            gone = gaps(self.names, len(columns), self.blank, generator(self.seed, 4, step))
            columns = torch.where(gone, torch.nan, columns)
        return MassBatch(**vars(plain), columns=columns)

    def _without_images(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        order = torch.randperm(len(self.rows), generator=generator(self.seed, epoch)).numpy()
        return bare(self._target, self.rows[order[position * self.batch_size : (position + 1) * self.batch_size]])


def gaps(names: tuple[str, ...], count: int, part: float, random: torch.Generator) -> Tensor:
    """Which values (count, K) of some columns are taken away: each group of `GAPS` from a part of the galaxies."""
    groups = torch.tensor([[name in group for name in names] for group in GAPS])
    drawn = torch.rand(count, len(GAPS), generator=random) < part
    return (drawn[:, :, None] & groups).any(1)


def with_gaps(galaxies: Galaxies, names: tuple[str, ...], part: float) -> Galaxies:
    """Galaxies that lack values as those do from which networks learn (see ``gaps``)."""
    return galaxies.without(names, gaps(names, len(galaxies), part, generator(_GAPS_SEED)).numpy())


def bare(target: Singles, rows: NDArray[np.int64]) -> Batch:
    """A batch without pixels."""
    n, none = len(rows), torch.zeros(len(rows), 0, 1, 1)
    return Batch(none, torch.ones(n, 1, 1, 1), torch.zeros(n, dtype=torch.int64), torch.from_numpy(target[rows]),
                 torch.from_numpy(rows))  # fmt: skip


def batches(galaxies: Galaxies, names: tuple[str, ...], rows: NDArray[np.int64], size: int) -> Any:
    """All of some rows as they are, in order, batch by batch."""
    matrix, target = torch.from_numpy(galaxies.matrix(names)), galaxies.target[:, None]
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        plain = bare(target, some)
        if galaxies.stamps is not None:
            plain.pixels, plain.valid, plain.front = data.take(galaxies.stamps, some)
        yield MassBatch(**vars(plain), columns=matrix[some])
