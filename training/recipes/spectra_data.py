"""The galaxies that a network learns spectra from: images with the latents of their spectra, mock or real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galcli.errors import InputError, UsageError
from galcli.training.coarse import coarser
from galcli.training.data import Stamps, split_by_seed, split_by_tile
from galcli.training.progress import say
from galcli.training.recipes.sample import Sample
from galcli.training.recipes.spectra_plan import FRONT, FRONTS, SPLIT_SEED, Preset
from galcli.training.recipes.vae_coder import Coder
from galcli.training.sources import EVERY, bands_of, mock_stamps
from galcli.training.spectra.files import read_spectra, tell
from galcli.training.spectra.match import match_spectra
from galcli.training.spectra.mock import mock_spectra
from galcli.training.survey import USABLE, Reading, SurveyStamps, catalogue_rows

#: Surveys whose cutouts the front is made for.
_SURVEYS = ("ps1", "panstarrs", "pan-starrs")


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
    spectra : sequence of str or Path
        Files of its spectra, their folders, globs.
    reading : Reading
        How the survey is read.
    """

    cache: Path
    seed: int
    objects: int | None = None
    catalog: Path | None = None
    cutouts: Path | str | None = None
    spectra: Sequence[str | Path] = ()
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class Observed:
    """Images and spectra of the same galaxies.

    Attributes
    ----------
    sample : Sample
        Stamps, split, and the latents (N, K) as targets.
    flux : ndarray (N, 1000), float32
        Normalised spectra that predictions are held against: without noise where that is known.
    good : ndarray (N, 1000), bool
        Where they hold data.
    """

    sample: Sample
    flux: NDArray[np.float32]
    good: NDArray[np.bool_]


def fronts() -> list[dict[str, object]]:
    """The front of the card."""
    return [{"name": FRONT, "bands": tuple(bands_of(FRONT)), "surveys": _SURVEYS}]


def gather(plan: Preset, source: Source, coder: Coder, split: str = "seed") -> Observed:
    """Images and spectra of the survey given, or of the mock survey.

    Raises
    ------
    UsageError
        If a catalogue is given without spectra, or spectra without a catalogue.
    InputError
        If the survey cannot be used.
    """
    if (source.catalog is None) != (not source.spectra):
        raise UsageError(
            "a catalogue and its spectra are given together", "name both with --catalog and --spectra, or neither"
        )
    return _mock(plan, source, coder, split) if source.catalog is None else _given(plan, source, coder, split)


def _mock(plan: Preset, source: Source, coder: Coder, split: str) -> Observed:
    n, last = source.objects or plan.mock_objects, plan.stages[-1]
    stamps = mock_stamps(source.cache, n, last.size, last.pixel_scale, source.seed, FRONTS, EVERY, say, FRONTS)
    spectra, truth = mock_spectra(n, source.seed)
    filled, norm = coder.normalise(spectra)
    stages = _stages(plan, stamps, source.cache)
    sample = _divided(stages, coder.encode(filled), np.ones(n, np.bool_), split, mock=True)
    return Observed(sample, (truth / norm[:, None]).astype(np.float32), np.ones(truth.shape, np.bool_))


def _given(plan: Preset, source: Source, coder: Coder, split: str) -> Observed:
    assert source.catalog is not None
    spectra, problems = read_spectra(source.spectra)
    tell(problems, say)
    rows = catalogue_rows(source.catalog, source.reading)
    matched = match_spectra(rows["id"], rows["ra"], rows["dec"], spectra)
    say(f"{np.count_nonzero(matched >= 0)} of {len(matched)} rows have one of {len(spectra)} spectra")
    if not (matched >= 0).any():
        raise InputError(
            f"no row of {source.catalog} has a spectrum: neither identifiers nor positions within 1 arcsec agree",
            "check --ra-column, --dec-column and --id-column, or give the spectra of these galaxies",
        )
    with SurveyStamps(
        source.catalog, source.cutouts, {}, lambda _: matched >= 0, source.objects, source.reading
    ) as survey:
        last = plan.stages[-1]
        stamps = survey.stamps(source.cache, fronts(), last.size, last.pixel_scale, say, "spectra")
        mock, own = survey.catalog.mock, matched[survey.rows]
    spectra = spectra.take(own)
    filled, _ = coder.normalise(spectra)
    usable = np.isfinite(stamps.labels[USABLE])
    if not usable.any():
        raise InputError(
            f"none of the {len(usable)} galaxies with spectra has pixels that the network can use",
            f"it wants {last.size * last.pixel_scale:.0f} arcsec in {len(bands_of(FRONT))} bands; "
            "`galcli predict --model spectra` tells the reason for each",
        )
    sample = _divided(_stages(plan, stamps, source.cache), coder.encode(filled), usable, split, mock)
    return Observed(sample, filled, spectra.good)


def _stages(plan: Preset, stamps: Stamps, cache: Path) -> list[Stamps]:
    """Stamps of every stage, out of those of the last."""
    stamps = replace(stamps, model_scale=plan.stages[-1].pixel_scale)
    factors = [stamps.size // stage.size for stage in plan.stages]
    return [stamps if factor == 1 else coarser(cache, stamps, factor, say) for factor in factors]


def _divided(
    stamps: list[Stamps], target: NDArray[np.float32], usable: NDArray[np.bool_], split: str, mock: bool
) -> Sample:
    """Stamps with their split and targets."""
    rows = np.flatnonzero(usable)
    held = np.zeros(len(usable), np.bool_)
    healpix = stamps[0].healpix
    if split == "seed":
        held[rows] = split_by_seed(len(rows), SPLIT_SEED)
    elif healpix is None:
        raise UsageError("these galaxies have no positions to split by tile", "use --split seed")
    else:
        held[rows] = split_by_tile(healpix[rows])
    return Sample(stamps, held, target, usable, mock)
