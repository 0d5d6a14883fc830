"""The galaxies SFNet learns from: mock or real, their stamps at every stage, split and targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galcli.errors import UsageError
from galcli.training.data import Stamps, split_by_seed, split_by_tile
from galcli.training.pixels import DISPLAY, FRONTS
from galcli.training.progress import say
from galcli.training.recipes import sfnet_card
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.sfnet_plan import TARGETS, Labels, Preset, Target
from galcli.training.sources import SHAPES, mock_labels, mock_stamps
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


def fronts_of(sample: Sample, display: float) -> tuple[str, ...]:
    """Fronts that training galaxies are seen through, of which that part is shown as display images."""
    each = [stamps.front[sample.rows(stage, held=False)] for stage, stamps in enumerate(sample.stamps)]
    seen = {FRONTS[number] for number in np.unique(np.concatenate(each))} if display < 1 else {DISPLAY}
    return tuple(name for name in FRONTS if name in seen or (name == DISPLAY and display > 0))


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
    n, last, names = source.objects or plan.mock_objects, plan.stages[-1], _mock_columns()
    labels, healpix = mock_labels(n, source.seed, names, _carries_labels)
    count = min(count, int(n * last.objects))
    stamps = mock_stamps(
        source.cache, count, last.size, last.pixel_scale, source.seed, plan.fronts, names, _carries_labels, say
    )
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


def _mock_columns() -> tuple[str, ...]:
    """Columns that are kept of mock galaxies: the labels of every target and the shapes."""
    return tuple(dict.fromkeys(name for each in TARGETS.values() for name in each.labels)) + SHAPES


def _mock(plan: Preset, source: Source) -> list[Stamps]:
    names = _mock_columns()
    n = source.objects or plan.mock_objects
    return [
        mock_stamps(source.cache, int(n * stage.objects), stage.size, stage.pixel_scale, source.seed, plan.fronts,
                    names, _carries_labels, say)
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
    fronts = sfnet_card.fronts(FRONTS)
    with SurveyStamps(source.catalog, source.cutouts, columns, target.select, source.objects, source.reading) as survey:
        stamps = [
            survey.stamps(source.cache, fronts, stage.size, stage.pixel_scale, say, "sfnet") for stage in plan.stages
        ]
        return stamps, survey.catalog.mock
