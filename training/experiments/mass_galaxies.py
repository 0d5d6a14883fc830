"""Galaxies of experiments on stellar mass: mock ones, others for every seed, or those of a catalogue."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from galcli.training.experiments.experiment import Experiment
from galcli.training.experiments.mass_information import Sizes, measured_in
from galcli.training.interpret.information_pairs import parse_pair
from galcli.training.interpret.information_runs import gather_pairs, informed
from galcli.training.recipes.asked import lookup
from galcli.training.recipes.mass_data import TEST, TRAIN, Galaxies, Source


def on_galaxies(experiment: Experiment, out: Path, source: Source, preset: str) -> Experiment:
    """An experiment on the galaxies of a source, whose networks lie in its folder until a seed is done.

    Mock galaxies are others for every seed. Those of a catalogue are the same: seeds differ by the weights alone.

    Parameters
    ----------
    experiment : Experiment
        With `Sizes` as plans.
    out : Path
        Its folder.
    source : Source
        At most as many of its galaxies are taken as the preset says, by its seed.
    preset : str

    Raises
    ------
    UsageError
        For an unknown preset, or words on how to read a survey that is not given.
    InputError
        If the survey cannot be used.
    """
    source.check()
    measure = partial(measured_in, source=source, folder=out)
    if source.catalog is None:
        return replace(experiment, measure=measure)
    plan: Sizes = lookup(experiment.plans, preset, "preset")
    pairs = [parse_pair(words) for words in plan.pairs]
    galaxies = gather_pairs(pairs, replace(source, objects=plan.objects), informed("default"))
    plans = {**experiment.plans, preset: replace(plan, objects=len(galaxies))}
    stamps = None if galaxies.stamps is None else galaxies.stamps.key
    data = {"name": galaxies.name, "target": source.target, "reading": source.reading.told, "stamps": stamps,
            "galaxies": galaxies.digest(tuple(sorted(galaxies.columns)))}  # fmt: skip
    return replace(experiment, plans=plans, measure=measure, sample=_words(galaxies), data=data)


def facts(source: Source) -> dict[str, Any]:
    """JSON-able words of the user on a catalogue; none for mock galaxies."""
    if source.catalog is None:
        return {}
    return {
        "catalog": str(source.catalog.absolute()), "cutouts": source.cutouts and str(source.cutouts),
        "target": source.target, "mapped": [list(pair) for pair in source.mapped], "reading": source.reading.told,
    }  # fmt: skip


def _words(galaxies: Galaxies) -> str:
    """What the sample is, and that its galaxies are the same for every seed."""
    which = (
        f"MOCK galaxies of {galaxies.name}" if galaxies.mock else f"galaxies of {galaxies.name} (not marked as mock)"
    )
    return (
        f"{which}, {len(galaxies.rows(TRAIN)):,} to learn from and "
        f"{len(galaxies.rows(TEST)):,} held out: the same for every seed, so that errors are those of the trainings"
    )
