"""The galaxies that morphology is learned from: mock, Galaxy10, or any catalogue with classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, UsageError
from galcli.training.coarse import coarser
from galcli.training.data import Stamps
from galcli.training.galaxy10 import KEPT, NAMES, check_labels, split
from galcli.training.galaxy10_file import Galaxy10
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.progress import say
from galcli.training.recipes.dmagnet_plan import Preset
from galcli.training.recipes.fronts import fronts
from galcli.training.recipes.sample import Sample
from galcli.training.seeds import mix
from galcli.training.sources import SHAPES, Choice, every, mock_stamps
from galcli.training.survey import USABLE, Reading, SurveyStamps

#: Label of the class, also in the mock survey's catalogue.
LABEL = "galaxy10"
#: Part of the mock galaxies that validates; test galaxies are drawn anew.
_HELD = 0.05
#: Fronts that mock galaxies are observed through.
SEEN_AS = ("flux:gri", "flux:grz")


@dataclass(frozen=True)
class Source:
    """Where the galaxies come from.

    Attributes
    ----------
    cache : Path
        Folder in which stamps are kept.
    seed : int
        Seed of the mock survey and of the split.
    objects : int or None
        Galaxies at most; None: as the preset or the survey has them.
    galaxy10 : Path or None
        The file ``Galaxy10_DECals.h5``.
    verify : bool
        Compare its SHA-256 with the published one.
    catalog, cutouts : Path or None
        Another survey.
    label_column : str
        Column of the catalogue that holds the class.
    reading : Reading
        How the catalogue is read.
    """

    cache: Path
    seed: int
    objects: int | None = None
    galaxy10: Path | None = None
    verify: bool = True
    catalog: Path | None = None
    cutouts: Path | str | None = None
    label_column: str = LABEL
    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        """Refuse words that mean nothing here.

        Raises
        ------
        UsageError
            If two surveys are given, or words on how to read one that is not.
        """
        if self.galaxy10 is not None and self.catalog is not None:
            raise UsageError("two surveys are given", "leave out --galaxy10 or --catalog")
        told = list(self.reading.told)
        told += ["cutouts"] if self.cutouts is not None else []
        told += ["label column"] if self.label_column != LABEL else []
        if self.catalog is None and told:
            raise UsageError(f"{', '.join(told)} given without a catalogue", "name the survey with --catalog")
        if self.galaxy10 is None and not self.verify:
            raise UsageError("no file is given whose verification could be left out", "name it with --galaxy10")

    @property
    def name(self) -> str | None:
        """File that the labels come from; None for the mock survey."""
        given = self.galaxy10 or self.catalog
        return None if given is None else given.name


@dataclass(frozen=True)
class Labelled:
    """Galaxies with classes.

    Attributes
    ----------
    sample : Sample
        Stamps; the class (N, 1) as target; training and validation rows.
    test : ndarray, int64
        Rows of neither; empty for the mock survey.
    unused : ndarray, int64
        Rows that the published split leaves out.
    """

    sample: Sample
    test: NDArray[np.int64]
    unused: NDArray[np.int64]


def gather(plan: Preset, source: Source) -> Labelled:
    """Galaxies of the survey given, or of the mock survey, with their split.

    Raises
    ------
    UsageError
        As `Source.check`.
    InputError
        If the survey cannot be used.
    """
    source.check()
    if source.name is None:
        say("no survey given: mock galaxies are made")
    if source.galaxy10 is not None:
        return _published(plan, source, source.galaxy10)
    return _mock(plan, source) if source.catalog is None else _given(plan, source, source.catalog)


def mock_choice(plan: Preset) -> Choice:
    """Mock galaxies drawn in the proportions of Galaxy10, of which those are kept that are large enough."""
    return Choice((LABEL, *SHAPES), every, "galaxy10", plan.smallest)


def _mock(plan: Preset, source: Source) -> Labelled:
    n, last = source.objects or plan.mock_objects, plan.stages[-1]
    choice = mock_choice(plan)
    stamps = mock_stamps(source.cache, n, last.size, last.pixel_scale, source.seed, SEEN_AS, choice, say)
    held = np.zeros(n, np.bool_)
    held[np.random.default_rng(source.seed).permutation(n)[: round(_HELD * n)]] = True
    target = stamps.labels[LABEL][:, None]
    sample = Sample(_stages(plan, stamps, source.cache), held, target, np.ones(n, np.bool_), mock=True)
    nothing = np.zeros(0, np.int64)
    return Labelled(sample, nothing, nothing)


def _published(plan: Preset, source: Source, path: Path) -> Labelled:
    file, last = Galaxy10(path, source.verify, say), plan.stages[-1]
    say(f"{path}: {np.count_nonzero(file.labels >= 0)} labelled images")
    stamps = file.stamps(source.cache, last.size, last.pixel_scale, say)
    labels = _whole(stamps.labels[LABEL])
    return _divided(plan, source, stamps, _chosen(labels, source), KEPT, mock=False)


def _given(plan: Preset, source: Source, catalog: Path) -> Labelled:
    last = plan.stages[-1]
    columns = {LABEL: source.label_column}

    def labelled(labels: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        return _chosen(check_labels(labels[LABEL], f"{catalog}, column {source.label_column}"), source) >= 0

    with SurveyStamps(catalog, source.cutouts, columns, labelled, None, source.reading, "--label-column") as survey:
        stamps = survey.stamps(source.cache, fronts(FRONTS), last.size, last.pixel_scale, say, "dmagnet")
        mock = survey.catalog.mock
    labels = _whole(np.where(np.isfinite(stamps.labels[USABLE]), stamps.labels[LABEL], np.float32(np.nan)))
    say(f"{np.count_nonzero(labels >= 0)} of {len(labels)} galaxies with classes have pixels that the network can use")
    return _divided(plan, source, stamps, labels, 1.0, mock)


def _whole(labels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Classes as whole numbers, -1 where there is none."""
    return np.where(np.isfinite(labels), np.nan_to_num(labels), -1).astype(np.int64)


def _chosen(labels: NDArray[np.int64], source: Source) -> NDArray[np.int64]:
    """No more galaxies with a class than are asked for, drawn at random: surveys may be sorted by class."""
    rows = np.random.default_rng(source.seed).permutation(np.flatnonzero(labels >= 0))
    labels = labels.copy()
    labels[rows[source.objects :] if source.objects is not None else rows[:0]] = -1
    return labels


def _divided(
    plan: Preset, source: Source, stamps: Stamps, known: NDArray[np.int64], kept: float, mock: bool
) -> Labelled:
    """The published split of labelled galaxies with pixels; ``known`` (N,) is their class, -1 of others."""
    if not (known >= 0).any():
        raise InputError(
            f"none of the {len(known)} galaxies with classes has pixels that the network can use",
            "`galcli predict --model dmagnet` tells the reason for each",
        )
    parts = split(known, source.seed, kept)
    usable, held = np.zeros(len(known), np.bool_), np.zeros(len(known), np.bool_)
    usable[parts.training] = usable[parts.validation] = held[parts.validation] = True
    absent = [NAMES[number] for number in range(len(NAMES)) if not (known[parts.training] == number).any()]
    if absent:
        say(f"no training galaxy is {', '.join(absent)}: the network will not know that class")
    sample = Sample(_stages(plan, stamps, source.cache), held, known[:, None].astype(np.float32), usable, mock)
    return Labelled(sample, parts.test, parts.unused)


def _stages(plan: Preset, stamps: Stamps, cache: Path) -> list[Stamps]:
    """Stamps of every stage, out of those of the last."""
    stamps = replace(stamps, model_scale=plan.stages[-1].pixel_scale)
    factors = [stamps.size // stage.size for stage in plan.stages]
    return [stamps if factor == 1 else coarser(cache, stamps, factor, say, FRONTS.index(DISPLAY)) for factor in factors]


@dataclass(frozen=True)
class Unseen:
    """Galaxies that no training saw.

    Attributes
    ----------
    stamps : Stamps
        On the model's grid.
    target : ndarray (N, 1), float32
        Class of each row of the stamps.
    rows, calibration : ndarray, int64
        The unseen ones to measure on, and others to calibrate with, in random order.
    name : str
        What they are called in metrics and cards.
    """

    stamps: Stamps
    target: NDArray[np.float32]
    rows: NDArray[np.int64]
    calibration: NDArray[np.int64]
    name: str


def unseen(plan: Preset, source: Source, labelled: Labelled, fresh: int) -> Unseen:
    """The test galaxies of a survey, or as many mock galaxies drawn anew.

    What calibrates is never tested: galaxies that the published split leaves out, else those that validate, else half as
    many other mock galaxies.

    Parameters
    ----------
    plan, source
        Of the training.
    labelled : Labelled
        What ``gather`` gave for it.
    fresh : int
        Mock galaxies drawn, where it learned from the mock survey.
    """
    if source.name is None:
        seed, last = mix(source.seed, 1), replace(plan, stages=plan.stages[-1:])
        half = fresh // 2
        sample = _mock(last, replace(source, seed=seed, objects=half + fresh)).sample
        rows, calibration = np.arange(half, half + fresh), np.arange(half)
        name = f"unseen mock galaxies of plain class, R50 > {plan.smallest:g} arcsec (seed {seed % 10**6})"
        return Unseen(sample.stamps[-1], sample.target, rows, calibration, name)
    sample, draw = labelled.sample, np.random.default_rng(source.seed)
    other = labelled.unused if len(labelled.unused) else sample.rows(-1, held=True)
    rows, calibration = draw.permutation(labelled.test), draw.permutation(other)
    return Unseen(sample.stamps[-1], sample.target, rows, calibration, f"test galaxies of {source.name}")
