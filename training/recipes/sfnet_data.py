"""The galaxies SFNet learns from: mock or real, their stamps at every stage, split and targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galcli.errors import UsageError
from galcli.training.data import Stamps, split_by_seed, split_by_tile
from galcli.training.pixels import FRONTS
from galcli.training.progress import say
from galcli.training.recipes.fronts import fronts
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.sfnet_plan import TARGETS, Labels, Preset, Target
from galcli.training.sources import SHAPES, Choice, mock_labels, mock_stamps
from galcli.training.survey import Reading, SurveyStamps

Split = Literal["seed", "tile"]


@dataclass(frozen=True)
class Source:
    """Where the galaxies come from.

    Attributes
    ----------
    cache : Path
        Folder in which stamps are kept.
    seed : int
        Seed of the mock survey.
    objects : int or None
        Galaxies at most; None: as the preset or the catalogue has them.
    catalog, cutouts : Path or None
        A real survey; the mock survey without a catalogue.
    columns : tuple of str
        Catalogue columns that stand in for the target's label columns, in their order; () where the names are the
        same.
    reading : Reading
        How the survey is read.
    """

    cache: Path
    seed: int
    objects: int | None = None
    catalog: Path | None = None
    cutouts: Path | str | None = None
    columns: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)


def gather(target: Target, plan: Preset, source: Source, split: Split) -> Sample:
    """Stamps of every stage, from the survey given or from the mock survey.

    Raises
    ------
    UsageError
        If the label columns do not fit the target, or positions are missing for the split.
    InputError
        If the survey cannot be used.
    """
    stamps, mock = (_mock(plan, source), True) if source.catalog is None else _given(target, plan, source)
    return _divided(target, stamps, stamps[0].labels, stamps[0].healpix, split, mock)


def recall(target: Target, plan: Preset, source: Source, split: Split, count: int) -> Sample:
    """What ``gather`` gives, without the stamps of earlier stages and with no more than ``count`` of the last.

    For a training on the mock survey that ended long ago: its stamps need not be made again to know the split.
    """
    if source.catalog is not None:
        return gather(target, plan, source, split)
    n, last, choice = source.objects or plan.mock_objects, plan.stages[-1], _mock_choice()
    labels, healpix = mock_labels(n, source.seed, choice)
    count = min(count, int(n * last.objects))
    stamps = mock_stamps(source.cache, count, last.size, last.pixel_scale, source.seed, plan.fronts, choice, say)
    return _divided(target, [stamps], labels, healpix, split, mock=True)


def _divided(
    target: Target, stamps: list[Stamps], labels: Labels, healpix: NDArray[np.int64] | None, split: Split, mock: bool
) -> Sample:
    """Stamps with their split and targets; ``labels`` and ``healpix`` of all galaxies."""
    usable = target.select(labels)
    rows = np.flatnonzero(usable)
    held = np.zeros(len(usable), np.bool_)
    if split == "seed":
        held[rows] = split_by_seed(len(rows))
    elif healpix is None:
        raise UsageError("these galaxies have no positions to split by tile", "use --split seed")
    else:
        held[rows] = split_by_tile(healpix[rows])
    return Sample(stamps, held, target.values(labels).astype(np.float32), usable, mock)


def _carries_labels(labels: Labels) -> NDArray[np.bool_]:
    """Mock galaxies that serve some target, so that one set serves all."""
    chosen: NDArray[np.bool_] = np.any([target.select(labels) for target in TARGETS.values()], axis=0)
    return chosen


def _mock_choice() -> Choice:
    """Mock galaxies with the labels of every target and the shapes."""
    labels = tuple(dict.fromkeys(name for each in TARGETS.values() for name in each.labels))
    return Choice(labels + SHAPES, _carries_labels)


def _mock(plan: Preset, source: Source) -> list[Stamps]:
    choice, n = _mock_choice(), source.objects or plan.mock_objects
    return [
        mock_stamps(source.cache, int(n * stage.objects), stage.size, stage.pixel_scale, source.seed, plan.fronts,
                    choice, say)
        for stage in plan.stages
    ]  # fmt: skip


def _given(target: Target, plan: Preset, source: Source) -> tuple[list[Stamps], bool]:
    """Stamps of the catalogue, and whether it says itself that it is simulated."""
    assert source.catalog is not None
    given = source.columns or target.labels
    if len(given) not in (target.required, len(target.labels)):
        raise UsageError(
            f"--label-columns takes {target.required} or {len(target.labels)} columns, not {len(given)}",
            f"they stand for {', '.join(target.labels)}",
        )
    columns = dict(zip(target.labels, given, strict=False))
    known = fronts(FRONTS)
    with SurveyStamps(source.catalog, source.cutouts, columns, target.select, source.objects, source.reading) as survey:
        stamps = [
            survey.stamps(source.cache, known, stage.size, stage.pixel_scale, say, "sfnet") for stage in plan.stages
        ]
        return stamps, survey.catalog.mock
